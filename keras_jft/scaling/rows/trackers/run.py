"""One training as a tracker has recorded it, and the row that it becomes."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from keras_jft.scaling.rows import spreadsheet
from keras_jft.scaling.rows.table import Row

EPOCHS = ("last", "best")
MOST_BYTES = 2**28  # Of a file that must be read as a whole.


class TrackedRun(NamedTuple):
    """One training.

    Attributes:
        name: What the tracker calls it.
        settings: Its parameters by name, numbers or text.
        points: Its metrics, (name, step, value) each, in any order.
        fault: Why its scores do not count, such as "KILLED"; None: they do.
        place: Where it was read, for messages.
    """

    name: str
    settings: dict[str, Any]
    points: Iterable[tuple[str, float, float]]
    fault: str | None
    place: str


def row_of(
    run: TrackedRun,
    epoch: str = "last",
    y: str | None = None,
    direction: str | None = None,
) -> Row:
    """Return the row of a run: its settings, and one value of each metric.

    Args:
        run: The run.
        epoch: `"last"`: the value of the last step; `"best"`: of `y` the best
            value, of all other metrics the last.
        y: The metric to choose by.
        direction: `"max"` or `"min"`: which values of `y` are better.
    """
    last: dict[str, tuple[float, float]] = {}
    best = None
    for name, step, value in run.points:
        if name not in last or step >= last[name][0]:
            last[name] = step, value
        if name == y and math.isfinite(value):
            values = [value] if best is None else [value, best]
            best = min(values) if direction == "min" else max(values)
    scores = {name: value for name, (_, value) in last.items()}
    if epoch == "best" and best is not None and y is not None:
        scores[y] = best
    row = {"run": run.name, **run.settings, **scores}
    if run.fault is not None:
        row["error"] = run.fault
    return Row(row, place=run.place)


def setting(value):
    """Return a setting as rows hold it: a number where text is one."""
    if isinstance(value, str):
        found = spreadsheet.number(value.strip())
        return value if found is None else found
    return value if isinstance(value, (int, float, bool)) else None


def flat(settings, before=""):
    """Return nested settings with dotted names, those without a value left out.

    Example:

    >>> flat({"net": {"width": "16", "stages": [3, 4]}, "seed": 0})
    {'net.width': 16, 'seed': 0}
    """
    found = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{name}.")
        elif setting(value) is not None:
            found[f"{before}{name}"] = setting(value)
    return found


def check_size(path):
    """Raise a `ValueError` if a file is too large to be read as a whole."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(
            f"{str(path)!r} has {size / 2**20:,.0f} MiB, more than the "
            f"{MOST_BYTES / 2**20:,.0f} MiB that the record of a training may "
            "have. Is it one? Else give a table: a CSV with a line per run."
        )
