"""Text tables of a study: scores by size, and the forecast of each curve."""

import pandas as pd

from keras_jft.scaling.decision.forecast import forecast
from keras_jft.scaling.law import evidence, fitting
from keras_jft.scaling.rows import units

BY = ("task", "mode", "arm")


def forecasts(
    rows,
    x="num_examples",
    y=None,
    by=None,
    *,
    bounds=None,
    direction=None,
    **options,
):
    """Return the forecast of each curve of a study.

    Args:
        rows: Rows, a list of dicts or a DataFrame.
        x: The column of sizes.
        y: The column of scores. None means `score` or the main metric of the
            task.
        by: Columns that tell curves apart; None means those of `task`, `mode`
            and `arm` that the rows have.
        bounds: Lowest and highest possible score. None infers them from the
            scores of all modes of a task together, as `fit` does.
        direction: `"max"` or `"min"`, as for `fit`.
        **options: `factor` and `worth`, as for `forecast`.

    Returns:
        `{name: Forecast}`; each name is a tuple of the values of `by`. A curve
        with too few sizes, or without a successful run, has a string that says
        so in place of the `Forecast`.

    Raises:
        ValueError: As for `fit` and `forecast`, except for too few sizes.

    Example:
        >>> scores = {300: 0.32, 1_000: 0.38, 3_000: 0.5, 10_000: 0.6}
        >>> rows = [
        ...     {"mode": "frozen", "num_examples": n, "score": scores[n]}
        ...     for n in scores
        ... ]
        >>> rows.append({"mode": "tuned", "num_examples": 300, "score": 0.4})
        >>> found = forecasts(rows)
        >>> print(found["frozen",].headline)
        10x more: +19.0 [5.9, 29.2] points
        >>> found["tuned",]
        '1 size, a forecast needs 4'
    """
    evidence.check_columns(evidence.table_of(rows), [x])
    by = curve_columns(rows, by)
    curves = evidence.curves(rows, by or None)
    panels = {}
    for name, curve in curves.items():
        panels.setdefault(_panel(by, name), []).append(curve)
    direction = _direction(curves.values(), x, y, direction)
    bounds_of = {
        panel: _bounds(parts, y, bounds, direction)
        for panel, parts in panels.items()
    }
    return {
        name or (): _forecast(
            curve, x, y, bounds_of[_panel(by, name)], direction, options
        )
        for name, curve in curves.items()
    }


def curve_columns(rows, by=None):
    """Return a list of the columns that tell the curves of rows apart.

    Args:
        rows: Rows, a list of dicts or a DataFrame.
        by: Those columns, or None for those of `task`, `mode` and `arm` that
            the rows have.
    """
    if by is None:
        return [column for column in BY if column in evidence.table_of(rows)]
    return evidence.columns_of(by) if by != [] else []


def table(rows, x="num_examples", factor=10):
    """Return the mean scores by size and the forecast of each curve, as text.

    Args:
        rows: Rows of tasks in `jft.metrics.METRICS`, a list of dicts or a
            DataFrame; `task` and `mode` tell the curves apart.
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
        frozen: 10x more: +19.0 [5.9, 29.2] points, collect
        4 sizes only allow the log-linear law.
    """
    data = evidence.succeeded(rows)
    if "task" not in data:
        raise ValueError(
            "The rows need a column `task`, since each task is a block. They "
            f"have: {sorted(map(str, data.columns))}."
        )
    if "mode" not in data:
        data = data.assign(mode="all")
    blocks = []
    for task, part in data.groupby("task"):
        y = evidence.score_of(part)
        evidence.check_numbers(part, y)
        scale = units.points(units.bounds_of(part[y], None, y))
        blocks += [
            f"{units.titled(task)}: {y}, points",
            means(part.assign(**{y: part[y] * scale}), ["mode"], x, y)
            .rename_axis(None)
            .to_string(),
            *(
                f"{mode}: {_line(found)}"
                for (mode,), found in forecasts(
                    part, x, y, by=["mode"], factor=factor
                ).items()
            ),
        ]
    sizes = data.loc[~evidence.untrained(data), x].nunique()
    if sizes == fitting.FEWEST_SIZES:
        blocks.append(f"{sizes} sizes only allow the log-linear law.")
    return "\n".join(blocks)


def means(table, by, x, y, digits=1):
    """Return means and standard deviations as text.

    Args:
        table: A DataFrame of rows of one task.
        by: A list of at most one column, which tells its curves apart.
        x: The column of sizes.
        y: The column of scores.
        digits: Number of digits after the decimal point.

    Returns:
        A DataFrame of strings with a row per curve and a column per size.
    """
    scores = table.groupby([*by, x])[y].agg(["mean", "std"])
    cells = scores.apply(units.mean_and_spread, axis=1, digits=digits)
    # A single curve is a row, too.
    cells = cells.unstack(fill_value="") if by else cells.to_frame("runs").T
    cells.columns = list(map(units.sized, cells.columns))
    return cells


def _panel(by, name):
    """Return the name of a curve's panel: all columns but the mode."""
    values = zip(by, name or (), strict=True)
    return tuple(value for column, value in values if column != "mode")


def _bounds(curves, y, bounds, direction):
    """Return the bounds of the scores of a panel; None if no run succeeded."""
    table = pd.concat(curves)
    table = table[~evidence.failed(table)]
    if table.empty:
        return None
    y = evidence.score_of(table, y)
    evidence.check_numbers(table, y)
    return units.bounds_of(table[y], bounds, y, direction)


def _direction(curves, x, y, direction):
    """Return the direction of all curves, judging each task by its column."""
    done = [c[~evidence.failed(c)] for c in curves]
    columns = {}
    for curve in done:
        if len(curve):
            data = evidence.gather(curve, x, evidence.score_of(curve, y))
            columns.setdefault(data.y_name, []).append((data.x, data.y))
    metrics = evidence.metrics_of(pd.concat(done)) if done else ()
    found = {
        units.direction_of(name, parts, direction, metrics)
        for name, parts in columns.items()
    }
    return found.pop() if found else direction


def _forecast(curve, x, y, bounds, direction, options):
    """Return a `Forecast`, or a string that says why there is none."""
    if evidence.failed(curve).all():
        return "no run succeeded"
    y = evidence.score_of(evidence.succeeded(curve), y)
    sizes = len(evidence.gather(curve, x, y).sizes)
    if sizes < fitting.FEWEST_SIZES:
        plural = "s" * (sizes != 1)
        return f"{sizes} size{plural}, a forecast needs {fitting.FEWEST_SIZES}"
    law = fitting.fit(curve, x, y, bounds=bounds, direction=direction)
    return forecast(law, **options)


def _line(found):
    """Return a forecast's headline and verdict, or why there is none."""
    if isinstance(found, str):
        return found
    return f"{found.headline}, {found.verdict}"
