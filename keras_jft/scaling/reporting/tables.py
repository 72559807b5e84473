"""Text tables of a study: scores by size, and the forecast of each curve."""

from keras_jft.scaling.decision.forecast import forecasts
from keras_jft.scaling.rows import units
from keras_jft.scaling.rows.table import Rows, RowsLike


def table(rows: RowsLike, x: str = "num_examples", factor: float = 10) -> str:
    """Return the mean scores by size and the forecast of each curve, as text.

    Args:
        rows: Rows of tasks in `jft.metrics.METRICS`, a list of dicts, a
            DataFrame or `Rows`; `task` and `mode` tell the curves apart.
        x: The column of sizes.
        factor: How many times the largest size the forecast is for.

    Returns:
        A string with a block per task and a line per mode. Scores are in
        percent points: the mean and, with several runs, the standard deviation.

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
        frozen: 10x more: +6.7 [0.0, 20.3] points, not enough evidence
    """
    rows = Rows(rows).succeeded()
    if "task" not in rows:
        raise ValueError(
            "The rows need a column `task`, since each task is a block. They "
            f"have: {sorted(map(str, rows.table.columns))}."
        )
    if "mode" not in rows:
        rows = rows.assign(mode="all")
    blocks = []
    for (task,), part in rows.panels(["task"]).items():
        scores = part.scores()
        found = forecasts(part, x, scores.name, by=["mode"], factor=factor)
        blocks += [
            f"{units.titled(task)}: {scores.name}, points",
            means(part, ["mode"], x, scores).rename_axis(None).to_string(),
            *(f"{mode}: {_line(sheet)}" for (mode,), sheet in found.items()),
        ]
    return "\n".join(blocks)


def means(rows, by, x, scores):
    """Return means and standard deviations as text.

    Args:
        rows: The `Rows` of one task.
        by: A list of at most one column, which tells its curves apart.
        x: The column of sizes.
        scores: Their `Scores`, whose unit is printed.

    Returns:
        A DataFrame of strings with a row per curve and a column per size.
    """
    y, unit = scores.name, scores.unit
    table = rows.scaled(y, unit.factor).table
    found = table.groupby([*by, x])[y].agg(["mean", "std"])
    cells = found.apply(units.mean_and_spread, axis=1, digits=unit.digits)
    # A single curve is a row, too.
    cells = cells.unstack(fill_value="") if by else cells.to_frame("runs").T
    cells.columns = list(map(units.sized, cells.columns))
    return cells


def _line(found):
    """Return a forecast's headline and verdict, or why there is none."""
    if isinstance(found, str):
        return found
    return f"{found.headline}, {found.verdict}"
