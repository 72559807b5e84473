"""Which runs would tell most about what more data brings, for what they cost.

The drawn curves of a law say how the gain and the score at any size vary
together: a run there shows the gain as far as they do. Taken as jointly
normal, each run narrows the gain by the formula of a conditional variance.
"""

import math
from typing import NamedTuple

import numpy as np


class NextRuns(NamedTuple):
    """Runs to add, and what they would do.

    Attributes:
        size: The size to run at.
        runs: How many runs, with seeds not used there yet.
        half_width: Half of the gain's interval after them and those before
            them, if noise and deviations stay as they are.
        hours: Device-hours that they take; nan where no row tells.
    """

    size: float
    runs: int
    half_width: float
    hours: float


def plan(law, factor, steps=3):
    """The runs after which a gain is known best, chosen one after another.

    Each is the one that takes most off the variance of the gain per
    device-hour; per run, where the rows do not tell what a run takes. No
    larger size is among them: what there would be is the question.

    Args:
        law: A `Law`.
        factor: How many times the largest size the gain is asked for.
        steps: How many times to choose a size, as many runs each as the size
            with the most runs has.

    Returns:
        `NextRuns`, each size once, in the order in which to do them.
    """
    data = law.evidence
    runs = int(data.counts.max())
    planned = dict(zip(data.sizes.tolist(), data.counts.tolist(), strict=True))
    sizes = sorted({*planned, *_between(sorted(planned))})
    smallest = _rounded(max(planned) / factor, down=True)
    if all(float(size).is_integer() for size in planned):
        smallest = max(smallest, 1.0)  # There is no part of an image.
    reach = max(planned) / min(planned) >= factor or smallest in planned
    if not reach:
        sizes = [smallest, *sizes]
    outlook = _Outlook(law, factor, sizes)
    wanted = {}
    for _ in range(steps):
        if not reach:
            best, reach = smallest, True
        else:
            best = max(sizes, key=lambda s: outlook.worth(s, planned, runs))
        outlook.add(best, planned, runs)
        planned[best] = planned.get(best, 0) + runs
        wanted[best] = wanted.get(best, 0) + runs
    return tuple(_widths(law, factor, sizes, wanted))


def _widths(law, factor, sizes, wanted):
    """`NextRuns` of the runs wanted at each size, one after another."""
    data = law.evidence
    outlook = _Outlook(law, factor, sizes)
    before = dict(zip(data.sizes.tolist(), data.counts.tolist(), strict=True))
    for size, runs in wanted.items():
        outlook.add(size, before, runs)
        hours = runs * data.hours_at(size)
        yield NextRuns(float(size), runs, outlook.half_width(), hours)


class _Outlook:
    """Covariances of the gain and of the scores at sizes, as runs come in."""

    def __init__(self, law, factor, sizes):
        data, draws = law.evidence, law.posterior
        gain = np.diff(
            draws.curves(data.sizes[-1] * np.array([1, factor])), 1, 0
        )
        self._covariance = np.cov(np.vstack([gain, draws.curves(sizes)]))
        self._place = {size: 1 + i for i, size in enumerate(sizes)}
        self._noise = float(draws.noise.mean())
        self._deviation = float(draws.deviation.mean())
        self._hours = {size: data.hours_at(size) for size in sizes}
        _, low, high = law.gain_at(factor)
        self._now = (high - low) / 2
        self._variance = self._total()

    def worth(self, size, planned, runs):
        """What runs at a size take off the variance of the gain, by cost."""
        hours = self._hours[size]
        taken = self._column(size)[0] ** 2 / self._seen(size, planned, runs)
        return taken / (runs * hours) if np.isfinite(hours) else taken

    def add(self, size, planned, runs):
        """Takes runs at a size for done."""
        column = self._column(size)
        self._covariance -= np.outer(column, column) / self._seen(
            size, planned, runs
        )

    def half_width(self):
        """Half of the gain's interval."""
        return float(self._now * np.sqrt(self._total() / self._variance))

    def _column(self, size):
        return self._covariance[:, self._place[size]].copy()

    def _seen(self, size, planned, runs):
        """Variance of what runs at a size would show."""
        before = planned.get(size, 0)
        # The deviation of a size is in its earlier runs already.
        precision = 1 / (self._deviation + self._noise / (before + runs))
        if before:
            precision -= 1 / (self._deviation + self._noise / before)
        place = self._place[size]
        return self._covariance[place, place] + 1 / max(precision, 1e-300)

    def _total(self):
        return self._covariance[0, 0] + self._noise + self._deviation


def _between(sizes):
    """A size in the middle of each gap, on the logarithmic scale."""
    for low, high in zip(sizes, sizes[1:], strict=False):
        middle = _rounded(np.sqrt(low * high))
        if low < middle < high:
            yield middle


def _rounded(size, down=False):
    """Two significant digits; a whole number, if it is 1 or more."""
    step = 10.0 ** (math.floor(math.log10(size)) - 1)
    steps = math.floor(size / step) if down else round(size / step)
    rounded = float(f"{steps * step:.2g}")
    if rounded < 1:
        return rounded
    return float(math.floor(rounded) if down else round(rounded))
