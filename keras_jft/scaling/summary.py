"""The rows of a study as text: scores by size, and what more would bring."""

from keras_jft.scaling import evidence, fitting
from keras_jft.scaling.decision import forecast


def table(rows, x="num_examples", factor=10):
    """Mean scores by size and the forecast of each curve, as text.

    Args:
        rows: Rows of tasks in `jft.metrics.METRICS`, a list of dicts or a
            DataFrame; `task` and `mode` tell the curves apart.
        x: The column of sizes.
        factor: How many times the largest size the forecast is for.

    Returns:
        A string: a block a task, with a line a mode. Scores are in points,
        the mean and, with several runs, their standard deviation.

    Raises:
        ValueError: If a task is unknown or a column is missing.

    Example:
        >>> scores = {0: 0.2, 300: 0.32, 1_000: 0.38, 3_000: 0.5, 10_000: 0.6}
        >>> rows = [
        ...     {
        ...         "task": "classification",
        ...         "mode": "frozen",
        ...         "num_examples": n,
        ...         "top1": scores[n],
        ...     }
        ...     for n in scores
        ... ]
        >>> print(table(rows))
        Classification: top1, points
                   0   300 1,000 3,000 10,000
        frozen  20.0  32.0  38.0  50.0   60.0
        frozen: 10x more: +19.0 [5.9, 29.2] points, collect
        4 sizes allow the log-linear law only.
    """
    data = evidence.succeeded(rows)
    if "task" not in data:
        raise ValueError(
            "The rows need a column `task`, one block each. They have: "
            f"{sorted(map(str, data.columns))}."
        )
    if "mode" not in data:
        data = data.assign(mode="all")
    blocks = []
    for task, part in data.groupby("task"):
        y = evidence.score_of(part)
        scale = 100 if fitting.natural_bounds(part[y]) == (0, 1) else 1
        blocks += [
            f"{task.capitalize()}: {y}, points",
            _means(part.assign(**{y: part[y] * scale}), x, y),
            *(
                f"{mode}: {_forecast(curve, x, y, factor)}"
                for mode, curve in part.groupby("mode")
            ),
        ]
    sizes = data.loc[~evidence.untrained(data), x].nunique()
    if sizes == fitting.FEWEST_SIZES:
        blocks.append(f"{sizes} sizes allow the log-linear law only.")
    return "\n".join(blocks)


def _means(part, x, y):
    """One line a mode, one column a size."""
    scores = part.groupby(["mode", x])[y].agg(["mean", "std"])
    cells = scores.apply(_cell, axis=1).unstack(fill_value="")
    cells.columns = [f"{size:,.0f}" for size in cells.columns]
    return cells.rename_axis(None).to_string()


def _cell(score):
    spread = f" ±{score['std']:.1f}" if score["std"] >= 0 else ""
    return f"{score['mean']:.1f}{spread}"


def _forecast(curve, x, y, factor):
    """The first line of a forecast and its verdict, or why there is none."""
    sizes = curve.loc[~evidence.untrained(curve), x].nunique()
    if sizes < fitting.FEWEST_SIZES:
        return f"{sizes} sizes, a forecast needs {fitting.FEWEST_SIZES}"
    sheet = forecast(fitting.fit(curve, x, y), factor=factor)
    return f"{sheet.headline}, {sheet.verdict}"
