"""`Law`: what the runs say of the curve, and how far to trust it.

A law is fitted as many draws of curves that agree with the runs
(`posterior.py`); whatever is asked of it is asked of all of them, and the
answers are their middle and their interval.

Shapes: m sizes, n draws.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from keras_jft import checks, text_files
from keras_jft.scaling.law.evidence import Evidence
from keras_jft.scaling.law.posterior import Posterior
from keras_jft.scaling.rows import units

LEVEL = 0.95
FARTHEST = 1e6  # Times the largest size that `images_for` looks.


class Estimate(NamedTuple):
    """A number and its 95% interval."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """One law in the choice.

    Attributes:
        more_sizes: How many sizes it lacks to be identifiable; 0 if it is
            fitted.
        parameters: `{name: value}` of least squares, as published.
        aicc: Akaike's criterion for few observations, of the size means;
            lower is better.
        held_out: Log density of the largest third of the sizes as foreseen
            from the smaller ones; higher is better.
        weight: Its part in all predictions; they sum to 1.
        theta: `(a, b, *shape)` of the same, in the basis of the law.
    """

    more_sizes: int = 0
    parameters: dict | None = None
    aicc: float = math.inf
    held_out: float = -math.inf
    weight: float = 0.0
    theta: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """Curves through scores, weighed by how well they agree with the runs.

    Attributes:
        name: The law of the largest weight.
        evidence: The runs it is fitted to.
        bounds: Lowest and highest score there can be; predictions are clipped.
        direction: `"max"` where higher scores are better, `"min"` where lower
            are; scores stay as they are given, gains are improvements.
        candidates: `{name: Candidate}`: all laws that were tried.
        posterior: Draws of curves, of all laws by weight.
    """

    name: str
    evidence: Evidence
    bounds: tuple[float, float]
    direction: str
    candidates: dict[str, Candidate]
    posterior: Posterior

    @property
    def parameters(self):
        """`{name: value}` of the law of the largest weight."""
        return self.candidates[self.name].parameters

    @property
    def points(self):
        """Factor from scores to points: 100 for fractions, else 1."""
        return units.points(self.bounds)

    @property
    def unit(self):
        """The `Unit` in which scores and gains are written."""
        data = self.evidence
        return units.unit_of(self.bounds, data.y, data.y_name)

    @property
    def sign(self):
        """1 where higher scores are better, -1 where lower are."""
        return 1 if self.direction == "max" else -1

    # === What it says ===

    def predict(self, x):
        """Scores at sizes `x`, within the bounds: the middle of all curves."""
        return self._shaped(x, np.median(self._curves(x), axis=1))

    def confidence_interval(self, x):
        """Low and high end of where the curve itself lies at `x`, at 95%."""
        return self._interval(x, self._curves(x))

    def prediction_interval(self, x):
        """Low and high end of where one new run at `x` will lie, at 95%."""
        return self._interval(x, self._runs(x))

    def gain_at(self, factor):
        """What `factor` times the largest size would add.

        Args:
            factor: More than 1.

        Returns:
            An `Estimate`: by how much the score of one new run there is better
            than the curve's at the largest size, and its 95% prediction
            interval. Positive is better in both directions.
        """
        curve, run = self._gains(factor)
        return Estimate(float(np.median(curve)), *_ends(run))

    def chance(self, factor, worth=0.0):
        """Probability that `factor` times the largest size gains a worth.

        Args:
            factor: More than 1.
            worth: A gain, in units of the score.

        Returns:
            The share of curves that improve by more than `worth`.
        """
        if not units.is_finite(worth):
            raise ValueError(
                "`worth` must be a gain, a finite number. Received: "
                f"worth={worth!r}."
            )
        return float((self._gains(factor)[0] > worth).mean())

    def images_for(self, target):
        """The size at which the curve reaches a score.

        Args:
            target: A score within the bounds.

        Returns:
            An `Estimate`: the size and its 95% interval, by the sizes at which
            the drawn curves reach it. The smallest size where that has reached
            it; infinity where a million times the largest does not.

        Raises:
            ValueError: If `target` is out of bounds.
        """
        low, high = self.bounds
        if not units.is_finite(target) or not low <= target <= high:
            raise ValueError(
                f"`target` must be a score within the bounds {self.bounds}. "
                f"Received: target={target!r}."
            )
        sizes = self.evidence.sizes
        powers = np.linspace(
            np.log10(sizes[0]), np.log10(sizes[-1] * FARTHEST), 150
        )
        curves = self.posterior.curves(10**powers)
        above = self.sign * curves >= self.sign * target
        first = above.argmax(axis=0)
        # On the logarithmic scale, straight between two sizes.
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

    # === How far to trust it ===

    @functools.cached_property
    def lack_of_fit(self):
        """Probability of means this far off the law by noise alone (F test).

        Of the law of the largest weight, by least squares. nan with one run a
        size, which cannot tell noise from a bend.
        """
        data = self.evidence
        residuals = data.means - self.curve(self.name, data.sizes)
        if data.noise_df == 0:
            return np.nan
        rounding = 1e-9 * np.abs(data.means).max()
        if data.noise <= rounding**2:
            # Without noise the test has no scale: all that is off is off.
            return 0.0 if np.abs(residuals).max() > rounding else np.nan
        df = len(data.sizes) - len(self.parameters)
        ratio = data.counts @ residuals**2 / df / data.noise
        return float(stats.f.sf(ratio, df, data.noise_df))

    def curve(self, name, x):
        """Scores at sizes `x` by one law alone, of least squares, not clipped.

        Args:
            name: A name in `candidates` that is fitted.
            x: Sizes.
        """
        from keras_jft.scaling.law.families import LAWS

        fitted = [n for n, c in self.candidates.items() if not c.more_sizes]
        checks.one_of("name", name, fitted)
        a, b, *shape = self.candidates[name].theta
        r = np.asarray(x, np.float64) / self.evidence.sizes[0]
        return a + b * LAWS[name].basis(r, *shape)

    def reaches_bound(self, x):
        """Whether the curve has run into the end of the scale at size `x`.

        There the law says no more of the score: it only says that it is wrong.
        """
        middle = float(np.median(self.posterior.curves(x)))
        return not self.bounds[0] < middle < self.bounds[1]

    def _curves(self, x):
        _check_sizes(x)
        return np.clip(self.posterior.curves(x), *self.bounds)

    def _runs(self, x):
        _check_sizes(x)
        return np.clip(self.posterior.runs(x), *self.bounds)

    def _gains(self, factor):
        """`(n,)` gains of the curves, and of one run each."""
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

    def _interval(self, x, scores):
        low, high = _quantiles(scores, _TAILS, axis=1)
        return self._shaped(x, low), self._shaped(x, high)

    def _shaped(self, x, values):
        """`values`, a number where `x` is one."""
        return values.reshape(np.shape(x))[()]


def _check_sizes(x):
    values = np.ravel(np.asarray(x, object))
    if not all(units.is_finite(value) and value > 0 for value in values):
        raise ValueError(
            "`x` must be sizes, finite numbers above 0. Received: "
            f"x={text_files.short(x)}."
        )


_TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def _ends(values):
    return _quantiles(values, _TAILS).tolist()


def _quantiles(values, at, axis=None):
    # Of draws as they are: between infinities nothing can be interpolated.
    return np.quantile(values, at, axis=axis, method="inverted_cdf")
