"""Data against its alternatives, in one unit: gain per device-hour."""

import json
import warnings
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from keras_jft.scaling.law import evidence
from keras_jft.scaling.rows import cost, units


class Alternative(NamedTuple):
    """What one change of the base brings.

    Attributes:
        name: What is changed.
        start: Its value at the base.
        end: Its value after the change.
        gain: By how much the mean score there is better than at the base.
        low: Low end of its 95% interval (Welch's t); nan where one of the two
            has one run, or the runs of each are all alike.
        high: High end of it.
        hours: Device-hours that a run takes more; nan where rows do not tell.
        per_hour: Gain per device-hour; nan where a run takes no more.
        runs: Runs at the base and there.
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


def alternatives(rows, base, y=None, *, direction=None):
    """What each single change of a base would bring, and for how much.

    More data, more depth, more epochs, cleaner labels: whatever the rows vary.
    Only rows that equal the base in all but one setting count.

    Args:
        rows: Rows of one task and mode, of any arms, a list of dicts or a
            DataFrame.
        base: `{name: value}` of every setting that the rows vary but for the
            seed. A name is a column, or a dotted path into `config`, such as
            `"pretrain.epochs"`.
        y: The column of scores. None means `score` or the main number of the
            task.
        direction: `"max"` or `"min"`, as for `fit`.

    Returns:
        A list of `Alternative`, the most gain per device-hour first, then
        those that take no more hours, by their gain.

    Raises:
        ValueError: If rows of several curves are mixed, a setting or a score is
            missing, no run is at the base, runs differ in what `base` does not
            name, or the scores are called an error and `direction` is None.

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
    table = evidence.succeeded(rows)
    # What an arm is, its settings say.
    evidence.curves(table.drop(columns="arm", errors="ignore"))
    y = evidence.score_of(table, y)
    evidence.check_numbers(table, y)
    records = table.to_dict("records")
    settings = {n: [evidence.setting(r, n) for r in records] for n in base}
    same = {
        name: np.array([_same(value, base[name]) for value in values])
        for name, values in settings.items()
    }
    _check(settings, same, base, table)
    direction = units.direction_of(y, (), direction)
    scores = table[y].to_numpy(np.float64)
    scores = scores if direction == "max" else -scores
    hours = cost.hours_of(table)
    at_base = np.all(list(same.values()), axis=0)
    found = []
    for name, values in settings.items():
        others = [s for other, s in same.items() if other != name]
        alone = np.all([*others, ~same[name]], axis=0)
        ends = {json.dumps(values[i]): values[i] for i in np.flatnonzero(alone)}
        for end in ends.values():
            there = alone & np.array([_same(value, end) for value in values])
            found.append(
                Alternative(
                    name,
                    base[name],
                    end,
                    *_difference(scores[at_base], scores[there]),
                    *_price(scores, hours, at_base, there),
                    (int(at_base.sum()), int(there.sum())),
                )
            )
    return sorted(found, key=_order)


def _same(value, other):
    return value == (list(other) if isinstance(other, tuple) else other)


def _check(settings, same, base, table):
    for name, values in settings.items():
        if None in values:
            raise ValueError(
                f"Every run must say its `{name}`, in a column or in its "
                f"`config`. Received none in {values.count(None)} of "
                f"{len(values)} rows."
            )
        if not same[name].any():
            there = sorted({json.dumps(value) for value in values})
            raise ValueError(
                f"No run is at the base {name}={base[name]!r}. The rows have: "
                f"{', '.join(there)}."
            )
    if not np.all(list(same.values()), axis=0).any():
        raise ValueError(f"No run is at the whole base. Received: {base}.")
    seeds = table["seed"] if "seed" in table else range(len(table))
    seen = set()
    for run in zip(*settings.values(), seeds, strict=True):
        if repr(run) in seen:
            said = dict(zip([*settings, "seed"], run, strict=True))
            raise ValueError(
                f"Several runs are {said}. Name in `base` what they differ "
                "in, or leave out those that should not count."
            )
        seen.add(repr(run))


def _difference(before, after):
    """Gain, and the ends of its 95% interval."""
    gain = float(after.mean() - before.mean())
    alike = np.ptp(before) == 0 and np.ptp(after) == 0
    if min(len(before), len(after)) < 2 or alike:
        return gain, np.nan, np.nan
    with warnings.catch_warnings():  # Of one that is alike, to no harm.
        warnings.filterwarnings("ignore", "Precision loss")
        test = stats.ttest_ind(after, before, equal_var=False)
    return gain, *map(float, test.confidence_interval(0.95))


def _price(scores, hours, before, after):
    """Device-hours that a run takes more, and the gain for each."""
    more = float(hours[after].mean() - hours[before].mean())
    gain = float(scores[after].mean() - scores[before].mean())
    return more, gain / more if more > 0 else np.nan


def _order(alternative):
    free = not alternative.hours > 0
    return free, -(alternative.gain if free else alternative.per_hour)
