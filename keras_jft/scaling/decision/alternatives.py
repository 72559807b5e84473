"""Compare more data with its alternatives by their gain per device-hour.

The equation number is that of `docs/forecasts.md`.
"""

import json
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from keras_jft.scaling.rows import units
from keras_jft.scaling.rows.table import Rows, RowsLike


class Alternative(NamedTuple):
    """The effect of one change to the base setting.

    Attributes:
        name: The setting that is changed.
        start: Its value at the base.
        end: Its value after the change.
        gain: How much better the mean score is than at the base.
        low: Low end of the gain's 95% interval (Welch's t); nan if either side
            has a single run, or the runs of each side all have equal scores.
        high: High end of that interval.
        hours: Additional device-hours per run; nan if the rows do not say.
        per_hour: Gain per additional device-hour; nan if a run takes no more
            time than at the base.
        runs: Number of runs at the base and after the change.
    """

    name: str
    start: Any
    end: Any
    gain: float
    low: float
    high: float
    hours: float
    per_hour: float
    runs: tuple[int, int]


def alternatives(
    rows: RowsLike,
    base: Mapping[str, Any],
    y: str | None = None,
    *,
    direction: str | None = None,
) -> list[Alternative]:
    """Return the gain and the cost of each single change to a base setting.

    A change can be more data, a deeper net, more epochs, cleaner labels:
    whatever varies between the rows. Only rows that equal the base in all
    settings but one are used.

    Args:
        rows: Rows of one task and mode, of any arms, a list of dicts, a
            DataFrame or `Rows`.
        base: `{name: value}` for every setting that varies between the rows,
            except the seed. A name is a column, or a dotted path into
            `config`, such as `"pretrain.epochs"`.
        y: The column of scores. None: `score` or the main metric of the
            task.
        direction: `"max"` or `"min"`, as for `fit`.

    Returns:
        A list of `Alternative`, largest gain per device-hour first; then those
        that take no additional hours, largest gain first.

    Raises:
        ValueError: If rows of several curves are mixed, a setting or a score is
            missing, no run is at the base, runs differ in a setting that `base`
            does not name, or the column of scores is named like an error and
            `direction` is None.

    Example:
        >>> rows = [
        ...     {"num_examples": n, "depth": d, "score": s, "wall_seconds": t}
        ...     for n, d, s, t in (
        ...         (1_000, 50, 0.30, 3600),
        ...         (3_000, 50, 0.36, 3 * 3600),
        ...         (1_000, 101, 0.32, 2 * 3600),
        ...     )
        ... ]
        >>> found = alternatives(rows, {"num_examples": 1_000, "depth": 50})
        >>> for a in found:
        ...     print(f"{a.name} {a.end}: {a.gain:.2f}, {a.per_hour:.3f}/h")
        num_examples 3000: 0.06, 0.030/h
        depth 101: 0.02, 0.020/h
    """
    rows = Rows(rows).succeeded()
    # Arms may be mixed: their settings tell them apart.
    rows.check_one_curve(besides=["arm"])
    y = rows.score(y)
    rows.check_numbers(y)
    settings = {name: rows.settings(name) for name in base}
    same = {
        name: np.array([_same(value, base[name]) for value in values])
        for name, values in settings.items()
    }
    _check(settings, same, base, rows.table)
    direction = units.direction_of(y, (), direction)
    scores = rows.table[y].to_numpy(np.float64)
    scores = scores if direction == "max" else -scores
    at_base = np.all(list(same.values()), axis=0)
    found = []
    for name, values in settings.items():
        # Runs that equal the base in every setting but this one.
        others = [s for other, s in same.items() if other != name]
        alone = np.all([*others, ~same[name]], axis=0)
        ends = {json.dumps(values[i]): values[i] for i in np.flatnonzero(alone)}
        for end in ends.values():
            there = alone & np.array([_same(value, end) for value in values])
            gain, low, high = _difference(scores[at_base], scores[there])
            hours, per_hour = _price(scores, rows.hours, at_base, there)
            found.append(
                Alternative(
                    name=name,
                    start=base[name],
                    end=end,
                    gain=gain,
                    low=low,
                    high=high,
                    hours=hours,
                    per_hour=per_hour,
                    runs=(int(at_base.sum()), int(there.sum())),
                )
            )
    return sorted(found, key=_order)


def _same(value, other):
    return value == (list(other) if isinstance(other, tuple) else other)


def _check(settings, same, base, table):
    for name, values in settings.items():
        if None in values:
            raise ValueError(
                f"Every run must have a value for `{name}`, in a column or in "
                f"its `config`. Received: no value in {values.count(None)} of "
                f"{len(values)} rows."
            )
        if not same[name].any():
            there = sorted({json.dumps(value) for value in values})
            raise ValueError(
                f"No run is at the base {name}={base[name]!r}. The rows have: "
                f"{', '.join(there)}."
            )
    if not np.all(list(same.values()), axis=0).any():
        raise ValueError(
            "No run has all settings of the base at once. Received: "
            f"base={base}."
        )
    seeds = table["seed"] if "seed" in table else range(len(table))
    seen = set()
    for run in zip(*settings.values(), seeds, strict=True):
        if repr(run) in seen:
            said = dict(zip([*settings, "seed"], run, strict=True))
            raise ValueError(
                f"Several runs have the same settings {said}. Name in `base` "
                "the setting in which they differ, or leave out the runs that "
                "should not count."
            )
        seen.add(repr(run))


def _difference(before, after):
    """Return the gain and the ends of its 95% interval."""
    gain = float(after.mean() - before.mean())
    alike = np.ptp(before) == 0 and np.ptp(after) == 0
    if min(len(before), len(after)) < 2 or alike:
        return gain, np.nan, np.nan
    with warnings.catch_warnings():
        # SciPy warns if all runs on one side are equal; the test still holds.
        warnings.filterwarnings("ignore", "Precision loss")
        test = stats.ttest_ind(after, before, equal_var=False)
    return gain, *map(float, test.confidence_interval(0.95))


def _price(scores, hours, before, after):
    """Return additional hours per run, and gain per hour (equation 29)."""
    more = float(hours[after].mean() - hours[before].mean())
    gain = float(scores[after].mean() - scores[before].mean())
    return more, gain / more if more > 0 else np.nan


def _order(alternative):
    free = not alternative.hours > 0
    return free, -(alternative.gain if free else alternative.per_hour)
