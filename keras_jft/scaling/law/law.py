"""`Law`: a fitted curve with its uncertainty.

A law holds many draws of curves that agree with the runs (`posterior.py`).
Every question is put to all of them; the result is the median of their answers
and the interval that holds 95% of them.

Shapes: m sizes, n draws.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from keras_jft import checks, text_files
from keras_jft.scaling.law.families import LAWS
from keras_jft.scaling.law.posterior import Posterior
from keras_jft.scaling.rows import table, units

LEVEL = 0.95
TURNS = 0.01  # p-value below which a fall after a peak is not noise,
JUMPS = 0.05  # and a jump at the largest size.
REJECTED = 0.05  # p-value below which a law does not describe its runs.
JUMP = 3  # A last step is a jump if it is this many times as steep as before.
FARTHEST = 1e6  # `images_for` looks up to this many times the largest size.


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Checked sizes and scores of the runs of one curve.

    Attributes:
        x: `(n,)` sizes, one per run, all above 0.
        y: `(n,)` scores of the runs.
        x_name: The column of `x`.
        y_name: The column of `y`.
        left_out: `{reason: number of rows}` for the rows left out.
        hours: `(n,)` device-hours of the runs; nan where a row does not say.
    """

    x: np.ndarray
    y: np.ndarray
    x_name: str
    y_name: str
    left_out: dict
    hours: np.ndarray

    @functools.cached_property
    def sizes(self):
        """`(m,)` distinct sizes in increasing order."""
        return np.unique(self.x)

    @functools.cached_property
    def counts(self):
        """`(m,)` number of runs at each size."""
        return np.unique(self.x, return_counts=True)[1]

    @functools.cached_property
    def means(self):
        """`(m,)` mean score at each size."""
        return np.array([self.y[self.x == size].mean() for size in self.sizes])

    @functools.cached_property
    def noise_df(self):
        """Degrees of freedom of `noise`: runs beyond the first at each size."""
        return len(self.x) - len(self.sizes)

    @functools.cached_property
    def noise(self):
        """Pooled variance of runs of one size; 0 with one run per size."""
        if self.noise_df == 0:
            return 0.0
        return float(self.within.sum() / self.noise_df)

    @functools.cached_property
    def within(self):
        """`(m,)` sum of squared deviations of runs from their size's mean."""
        place = np.searchsorted(self.sizes, self.x)
        return np.bincount(place, (self.y - self.means[place]) ** 2)

    def hours_at(self, size):
        """Return the device-hours of a run of a size; nan if unknown."""
        return table.hours_at(size, self.x, self.hours)


class Estimate(NamedTuple):
    """A number and its 95% interval."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """One family that was considered for a curve.

    Attributes:
        parameters: `{name: value}` of the least-squares fit, named as in the
            publication.
        probability: Its probability given the runs, and so its share of every
            prediction; those of all candidates sum to 1.
        theta: `(a, b, *shape)` of the least-squares fit, in the basis of the
            family.
    """

    parameters: dict[str, float]
    probability: float
    theta: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """Fitted curve with its uncertainty.

    Attributes:
        name: The most probable family.
        evidence: The runs that the curve is fitted to.
        bounds: Lowest and highest possible score; predictions are clipped to
            them.
        direction: `"max"` if higher scores are better, `"min"` if lower
            scores are. Scores keep their sign; gains are improvements.
        candidates: `{name: Candidate}` for every family considered.
        posterior: Draws of curves from all fitted families, each in proportion
            to its probability.
    """

    name: str
    evidence: Evidence
    bounds: tuple[float, float]
    direction: str
    candidates: dict[str, Candidate]
    posterior: Posterior

    @property
    def parameters(self) -> dict[str, float]:
        """`{name: value}` of the most probable family."""
        return self.candidates[self.name].parameters

    @property
    def unit(self) -> units.Unit:
        """The `Unit` in which scores and gains are printed."""
        data = self.evidence
        return units.unit_of(self.bounds, data.y, data.y_name)

    @property
    def sign(self) -> int:
        """1 if higher scores are better, -1 if lower scores are."""
        return 1 if self.direction == "max" else -1

    # === Predictions ===

    def predict(self, x: ArrayLike) -> Any:
        """Return the median score of all curves at sizes `x`, within bounds."""
        return self._shaped(x, np.median(self._curves(x), axis=1))

    def confidence_interval(self, x: ArrayLike) -> tuple[Any, Any]:
        """Return both ends of the 95% interval of the curve itself at `x`."""
        return self._interval(x, self._curves(x))

    def prediction_interval(self, x: ArrayLike) -> tuple[Any, Any]:
        """Return both ends of the 95% interval of one new run at `x`."""
        return self._interval(x, self._runs(x))

    def gain_at(self, factor: float) -> Estimate:
        """Return the gain from `factor` times the largest size.

        Args:
            factor: More than 1.

        Returns:
            An `Estimate` of how much better the score of one new run at that
            size is than the curve at the largest size, with its 95% prediction
            interval. Positive is better in both directions.
        """
        curve, run = self.gains(factor)
        return Estimate(float(np.median(curve)), *ends(run))

    def gains(self, factor: float) -> tuple[Any, Any]:
        """Return the gains of the drawn curves, and of one run on each.

        Args:
            factor: How many times the largest size, more than 1.

        Returns:
            Two arrays of shape `(n,)`; positive is better (equation 21).
        """
        if not units.is_finite(factor) or factor <= 1:
            raise ValueError(
                "`factor` must be more than 1, and finite. Received: "
                f"factor={factor!r}."
            )
        largest = self.evidence.sizes[-1]
        now = self._curves(largest)[0]
        return (
            self.sign * (self._curves(factor * largest)[0] - now),
            self.sign * (self._runs(factor * largest)[0] - now),
        )

    def chance(self, factor: float, worth: float = 0.0) -> float:
        """Return the probability that the gain exceeds `worth`.

        Args:
            factor: How many times the largest size, more than 1.
            worth: A gain, in the unit of the score.

        Returns:
            The share of `gain_at` above `worth`, the noise of the run included:
            it is above 97.5% if all of the interval is above `worth`.
        """
        if not units.is_finite(worth):
            raise ValueError(
                "`worth` must be a gain, a finite number. Received: "
                f"worth={worth!r}."
            )
        return float((self.gains(factor)[1] > worth).mean())

    def images_for(self, target: float) -> Estimate:
        """Return the size at which the curve reaches a score.

        Args:
            target: A score within the bounds.

        Returns:
            An `Estimate` of the size with its 95% interval, taken over the
            sizes at which the drawn curves reach the target. A curve that has
            reached it at the smallest size counts as that size; one that does
            not reach it at a million times the largest size counts as
            infinity.

        Raises:
            ValueError: If `target` is out of bounds.
        """
        low, high = self.bounds
        if not units.is_finite(target) or not low <= target <= high:
            raise ValueError(
                f"`target` must be a score within the bounds {self.bounds}. "
                f"Received: target={target!r}."
            )
        return self._reached(target)

    def images_to_gain(self, gain: float) -> Estimate:
        """Return the size at which the curve has gained so much.

        Args:
            gain: More than 0, in the unit of the score.

        Returns:
            An `Estimate` of the size at which each curve is that much better
            than at the largest size, as of `images_for`.
        """
        checks.number("gain", gain, 0, above=True)
        now = self.posterior.curves(self.evidence.sizes[-1])[0]
        wanted = now + self.sign * gain
        low, high = self.bounds
        wanted = np.where((wanted < low) | (wanted > high), np.nan, wanted)
        return self._reached(wanted, self.evidence.sizes[-1])

    def _reached(self, target, start=None):
        """Return an `Estimate` of the size at which curves reach a score.

        Args:
            target: The score, or `(n,)` one for each drawn curve; nan is never
                reached.
            start: The smallest size that counts; None: that of the evidence.
        """
        sizes = self.evidence.sizes
        start = sizes[0] if start is None else start
        powers = np.linspace(
            np.log10(start), np.log10(sizes[-1] * FARTHEST), 150
        )
        curves = self.posterior.curves(10**powers)
        above = self.sign * curves >= self.sign * np.asarray(target)
        first = above.argmax(axis=0)
        # Linear interpolation in log size.
        left = np.maximum(first - 1, 0)
        draws = np.arange(curves.shape[1])
        step = curves[first, draws] - curves[left, draws]
        part = np.divide(
            target - curves[left, draws],
            step,
            out=np.zeros_like(step),
            where=first > 0,
        )
        reached = powers[left] + part * (powers[first] - powers[left])
        reached = np.where(above.any(axis=0), 10**reached, np.inf)
        return Estimate(*_quantiles(reached, (0.5, *_TAILS)).tolist())

    # === Goodness of fit ===

    @functools.cached_property
    def turns_after(self) -> float | None:
        """The size after which the score gets worse, beyond noise, or None.

        See equation 25. A curve that gets worse with every size has no peak.
        """
        data, means = self.evidence, self.sign * self.evidence.means
        peak = int(means.argmax())
        if peak in (0, len(means) - 1):
            return None
        noise, df = self._noise()
        # One-sided t tests; any but the last size could have been the peak.
        spread = noise * np.sqrt(1 / data.counts + 1 / data.counts[-1])
        drop = (means[peak] - means[-1]) / spread[peak]
        if stats.t.sf(drop, df) * (len(means) - 1) < TURNS:
            return float(data.sizes[peak])
        return None

    @functools.cached_property
    def jumps(self) -> bool:
        """Whether the last step is a jump, beyond noise (equation 26)."""
        data = self.evidence
        if len(data.sizes) < 3:
            return False
        steps = self.sign * np.diff(data.means)
        away = np.diff(np.log(data.sizes))
        before = max(steps[:-1].sum() / away[:-1].sum(), 0) * away[-1]
        noise, df = self._noise(without_last=True)
        spread = noise * np.sqrt(1 / data.counts[-2] + 1 / data.counts[-1])
        excess = steps[-1] - JUMP * before
        return bool(excess > 0 and stats.t.sf(excess / spread, df) < JUMPS)

    def _noise(self, without_last=False):
        """Return the standard deviation of a run, and its degrees of freedom.

        From seeds, or else from how far means lie off the line between their
        neighbors, which counts bends as noise.
        """
        data = self.evidence
        if data.noise_df:
            noise, df = data.noise, data.noise_df
        else:
            end = len(data.sizes) - (without_last and len(data.sizes) > 3)
            t, y = np.log(data.sizes[:end]), data.means[:end]
            part = (t[1:-1] - t[:-2]) / (t[2:] - t[:-2])
            off = y[1:-1] - (1 - part) * y[:-2] - part * y[2:]
            scale = 1 + (1 - part) ** 2 + part**2
            df = max(len(off), 1)
            noise = (off**2 / scale).sum() / df
        return max(noise**0.5, 1e-9 * np.abs(data.means).max(), 1e-300), df

    @functools.cached_property
    def lack_of_fit(self) -> float:
        """p-value of the lack-of-fit F test (equation 24).

        The probability that noise alone puts the size means this far from the
        least-squares fit of the most probable family. nan with one run per
        size, which cannot tell noise from a bend, and with no more sizes than
        the family has parameters.
        """
        data = self.evidence
        residuals = data.means - self.curve(self.name, data.sizes)
        df = len(data.sizes) - len(self.parameters)
        if data.noise_df == 0 or df < 1:
            return np.nan
        rounding = 1e-9 * np.abs(data.means).max()
        if data.noise <= rounding**2:
            # Without noise the test has no scale: any deviation is a misfit.
            return 0.0 if np.abs(residuals).max() > rounding else np.nan
        ratio = data.counts @ residuals**2 / df / data.noise
        return float(stats.f.sf(ratio, df, data.noise_df))

    @functools.cached_property
    def misfit(self) -> float:
        """How far a size mean lies off the curve at most, if noise does not do.

        The curve includes the smooth deviation from the law, so this is what
        the intervals do not allow for. 0 if `lack_of_fit` is not small.
        """
        if not self.lack_of_fit < REJECTED:
            return 0.0
        data = self.evidence
        return float(np.abs(data.means - self.predict(data.sizes)).max())

    def curve(self, name: str, x: ArrayLike) -> Any:
        """Return the least-squares curve of one family at `x`, not clipped.

        Args:
            name: The name of a fitted family in `candidates`.
            x: Sizes.
        """
        checks.one_of("name", name, self.candidates)
        a, b, *shape = self.candidates[name].theta
        r = np.asarray(x, np.float64) / self.evidence.sizes[0]
        return a + b * LAWS[name].basis(r, *shape)

    def reaches_bound(self, x: float) -> bool:
        """Return whether the curve leaves the scale of scores at size `x`.

        Beyond that size the law predicts impossible scores, so it is wrong
        there and says nothing about the true ones.
        """
        middle = float(np.median(self.posterior.curves(x)))
        return not self.bounds[0] < middle < self.bounds[1]

    def _curves(self, x):
        _check_sizes(x)
        return np.clip(self.posterior.curves(x), *self.bounds)

    def _runs(self, x):
        _check_sizes(x)
        return np.clip(self.posterior.runs(x), *self.bounds)

    def _interval(self, x, scores):
        low, high = _quantiles(scores, _TAILS, axis=1)
        return self._shaped(x, low), self._shaped(x, high)

    def _shaped(self, x, values):
        """Return `values` in the shape of `x`: a number if `x` is one."""
        return values.reshape(np.shape(x))[()]


def _check_sizes(x):
    values = np.ravel(np.asarray(x, object))
    if not all(units.is_finite(value) and value > 0 for value in values):
        raise ValueError(
            "`x` must be sizes, finite numbers above 0. Received: "
            f"x={text_files.short(x)}."
        )


_TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def ends(values):
    """Return both ends of the 95% interval of draws `(n,)`."""
    return _quantiles(values, _TAILS).tolist()


def _quantiles(values, at, axis=None):
    # No interpolation between draws: it would turn infinities into nan.
    return np.quantile(values, at, axis=axis, method="inverted_cdf")
