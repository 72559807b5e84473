"""Choose the next runs that narrow the forecast most for their cost.

The drawn curves of a law show how the gain varies together with the score at
any size, and so how much a run at that size tells about the gain. With both
taken as jointly normal, each run narrows the gain by the formula for a
conditional variance (equation 27 of `docs/forecasts.md`).
"""

import math
from typing import NamedTuple

import numpy as np

from keras_jft.scaling.law.law import Estimate, ends

PARTS = 4  # By noise, and each by what its size shares of it.


class NextRuns(NamedTuple):
    """Runs to add at one size, and their effect.

    Attributes:
        size: The size to run at.
        runs: Number of runs, with seeds not yet used at that size.
        half_width: Half the width of the gain's interval after these runs and
            the ones planned before them, if noise and deviation stay the same.
        hours: Device-hours that they take; nan if unknown.
    """

    size: float
    runs: int
    half_width: float
    hours: float


def plan(law, factor, steps=3):
    """Choose runs one after another so that the gain is known best.

    Each choice is the size that reduces the variance of the gain most per
    device-hour, or per run if the rows do not say what a run takes. It never
    exceeds the largest size, since data beyond it do not exist yet.

    Args:
        law: A `Law`.
        factor: How many times the largest size the forecast is for.
        steps: Number of choices. Each adds as many runs as the size with the
            most runs has.

    Returns:
        A tuple of `NextRuns`, each size once, in the order to run them: new
        sizes before more seeds of those there are.
    """
    # Candidates: the sizes there are, and one in the middle of each gap.
    data = law.evidence
    runs = int(data.counts.max())
    planned = dict(zip(data.sizes.tolist(), data.counts.tolist(), strict=True))
    sizes = sorted({*planned, *_between(sorted(planned))})
    # If the sizes span less than `factor`, a verdict needs a smaller one first.
    smallest = _rounded(max(planned) / factor, down=True)
    if all(float(size).is_integer() for size in planned):
        smallest = max(smallest, 1.0)  # Sizes that count images stay whole.
    reach = max(planned) / min(planned) >= factor or smallest in planned
    if not reach:
        sizes = [smallest, *sizes]
    # Greedy choice; each is treated as done before the next is made.
    outlook = _Outlook(law, sizes, _drawn(law, factor, sizes))
    wanted = {}
    # The first is a new size, where there is room for one: more seeds do not
    # show how the curve bends.
    among = [size for size in sizes if size not in planned] or sizes
    for _ in range(steps):
        if not reach:
            best, reach = smallest, True
        else:
            best = max(among, key=lambda s: outlook.worth(s, planned, runs))
        among = sizes
        outlook.add(best, planned, runs)
        planned[best] = planned.get(best, 0) + runs
        wanted[best] = wanted.get(best, 0) + runs
    # New sizes first: more seeds do not show how the curve continues.
    order = sorted(wanted, key=lambda size: size in data.sizes)
    wanted = {size: wanted[size] for size in order}
    return tuple(_widths(law, factor, sizes, wanted))


def choose(law, factor, left):
    """Return the size among those left whose next run tells most for its cost.

    A size without runs comes before more seeds of another, as in `plan`.

    Args:
        law: A `Law`.
        factor: How many times the largest size the forecast is for.
        left: `{size: number of runs left}`.
    """
    data = law.evidence
    done = dict(zip(data.sizes.tolist(), data.counts.tolist(), strict=True))
    outlook = _Outlook(law, [*left], _drawn(law, factor, [*left]))
    among = [size for size in left if size not in done] or [*left]
    return max(among, key=lambda size: outlook.worth(size, done, 1))


def outlooks(law, factor, left):
    """Yield the gain as the runs that are left would show it.

    They will show how noisy runs are and how much of that a size shares, which
    few runs leave open. So the draws are split by both: each part is one way in
    which these may turn out. Of what all runs show of them, the runs that are
    left show their share; but for that, they stay as open as now.

    Args:
        law: A `Law`.
        factor: How many times the largest size the forecast is for.
        left: `{size: number of runs left}`.

    Yields:
        For all draws, and for each part, its weight, an `Estimate` of the gain
        with the interval that it has after these runs, and the standard
        deviation of how far they move it (equation 30). Weights sum to 1.
    """
    data, drawn = law.evidence, _drawn(law, factor, [*left])
    runs_left = sum(left.values())
    share = runs_left / (runs_left + len(data.x))
    parts = [(1 - share, slice(None))]
    parts += [(share / PARTS**2, part) for part in _parts(drawn)]
    for weight, part in parts:
        done = dict(zip(data.sizes.tolist(), data.counts.tolist(), strict=True))
        outlook = _Outlook(law, [*left], drawn.of(part))
        before = outlook.variance
        for size, runs in left.items():
            outlook.add(size, done, runs)
        moves = np.sqrt(max(before - outlook.variance, 0.0))
        yield weight, outlook.estimate(), float(moves)


def _parts(drawn):
    """Yield positions of draws that are alike in noise and in deviation."""
    order = np.argsort(drawn.noise, kind="stable")
    for alike in np.array_split(order, PARTS):
        within = np.argsort(drawn.deviation[alike], kind="stable")
        yield from np.array_split(alike[within], PARTS)


def _widths(law, factor, sizes, wanted):
    """Yield the `NextRuns` of each size, with the width after all so far."""
    data = law.evidence
    outlook = _Outlook(law, sizes, _drawn(law, factor, sizes))
    before = dict(zip(data.sizes.tolist(), data.counts.tolist(), strict=True))
    for size, runs in wanted.items():
        outlook.add(size, before, runs)
        hours = runs * data.hours_at(size)
        yield NextRuns(float(size), runs, outlook.half_width(), hours)


class _Drawn(NamedTuple):
    """Draws of a law; the last axis is that of the draws.

    Attributes:
        values: `(1 + sizes, n)` gain of the curve, and its scores at sizes.
        runs: `(n,)` gain of a run.
        noise: `(n,)` variance of a run, at the largest size.
        deviation: `(n,)` variance that runs of a size share, there.
    """

    values: np.ndarray
    runs: np.ndarray
    noise: np.ndarray
    deviation: np.ndarray

    def of(self, part):
        """Return the draws at some positions."""
        return _Drawn(*(values[..., part] for values in self))


def _drawn(law, factor, sizes):
    """Return the `_Drawn` of a law."""
    curves, runs = law.gains(factor)
    draws = law.posterior
    there = draws.scatter(law.evidence.sizes[-1])[0]
    return _Drawn(
        values=np.vstack([curves, draws.curves(sizes)]),
        runs=runs,
        noise=draws.noise * there,
        deviation=draws.deviation * there,
    )


class _Outlook:
    """Covariance of the gain and the scores at sizes, updated by each run.

    Row and column 0 are the gain of the curve, the others the scores.
    """

    def __init__(self, law, sizes, drawn):
        self._covariance = np.cov(drawn.values)
        self._place = {size: 1 + i for i, size in enumerate(sizes)}
        # Medians: the tails of a variance that few runs show are long.
        self._noise = float(np.median(drawn.noise))
        self._deviation = float(np.median(drawn.deviation))
        self._hours = {size: law.evidence.hours_at(size) for size in sizes}
        self._now = Estimate(
            float(np.median(drawn.values[0])), *ends(drawn.runs)
        )
        self._variance = self._total()

    def worth(self, size, planned, runs):
        """Return how much runs reduce the gain's variance, by cost (eq. 27)."""
        hours = self._hours[size]
        taken = self._column(size)[0] ** 2 / self._seen(size, planned, runs)
        return taken / (runs * hours) if np.isfinite(hours) else taken

    def add(self, size, planned, runs):
        """Condition on runs at a size, as if they were done (equation 27)."""
        column = self._column(size)
        self._covariance -= np.outer(column, column) / self._seen(
            size, planned, runs
        )

    @property
    def variance(self):
        """Variance of the gain of the curve."""
        return float(self._covariance[0, 0])

    def half_width(self):
        """Return half the width of the gain's interval."""
        _, low, high = self.estimate()
        return (high - low) / 2

    def estimate(self):
        """Return an `Estimate` of the gain, narrowed about its middle."""
        middle, *both = self._now
        ratio = np.sqrt(self._total() / self._variance)
        low, high = (float(middle + ratio * (end - middle)) for end in both)
        return Estimate(middle, low, high)

    def _column(self, size):
        return self._covariance[:, self._place[size]].copy()

    def _seen(self, size, planned, runs):
        """Return the variance of the evidence that runs at a size would add."""
        before = planned.get(size, 0)
        # Runs of one size share its deviation: more of them average the noise
        # only, so they add the difference of two precisions.
        precision = 1 / (self._deviation + self._noise / (before + runs))
        if before:
            precision -= 1 / (self._deviation + self._noise / before)
        place = self._place[size]
        return self._covariance[place, place] + 1 / max(precision, 1e-300)

    def _total(self):
        return self._covariance[0, 0] + self._noise + self._deviation


def _between(sizes):
    """Yield a size in the middle of each gap, on a logarithmic scale."""
    for low, high in zip(sizes, sizes[1:], strict=False):
        middle = _rounded(np.sqrt(low * high))
        if low < middle < high:
            yield middle


def _rounded(size, down=False):
    """Round to two significant digits, and to a whole number from 1 on."""
    step = 10.0 ** (math.floor(math.log10(size)) - 1)
    steps = math.floor(size / step) if down else round(size / step)
    rounded = float(f"{steps * step:.2g}")
    if rounded < 1:
        return rounded
    return float(math.floor(rounded) if down else round(rounded))
