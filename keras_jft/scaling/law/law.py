"""`Law`: a fitted curve with its uncertainty.

A law holds many draws of curves that agree with the runs (`posterior.py`).
Every question is put to all of them; the result is the median of their answers
and the interval that holds 95% of them.

Shapes: m sizes, n draws.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from keras_jft import checks, text_files
from keras_jft.scaling.law.evidence import Evidence
from keras_jft.scaling.law.posterior import Posterior
from keras_jft.scaling.rows import units

LEVEL = 0.95
FARTHEST = 1e6  # `images_for` looks up to this many times the largest size.


class Estimate(NamedTuple):
    """A number and its 95% interval."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """One family that was considered for a curve.

    Attributes:
        more_sizes: Number of sizes missing before it is identifiable; 0 if it
            was fitted.
        parameters: `{name: value}` of the least-squares fit, named as in the
            publication.
        aicc: Akaike's information criterion, corrected for few observations,
            over the size means; lower is better.
        held_out: Log predictive density of the largest third of the sizes
            given the smaller ones; higher is better.
        probability: Its probability given the runs, and so its share of every
            prediction; those of all candidates sum to 1.
        theta: `(a, b, *shape)` of the least-squares fit, in the basis of the
            family.
    """

    more_sizes: int = 0
    parameters: dict[str, float] | None = None
    aicc: float = math.inf
    held_out: float = -math.inf
    probability: float = 0.0
    theta: tuple[float, ...] = ()


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
        return self.candidates[self.name].parameters or {}

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
        curve, run = self._gains(factor)
        return Estimate(float(np.median(curve)), *_ends(run))

    def chance(self, factor: float, worth: float = 0.0) -> float:
        """Return the probability that the gain exceeds `worth`.

        Args:
            factor: How many times the largest size, more than 1.
            worth: A gain, in the unit of the score.

        Returns:
            The share of curves that improve by more than `worth`.
        """
        if not units.is_finite(worth):
            raise ValueError(
                "`worth` must be a gain, a finite number. Received: "
                f"worth={worth!r}."
            )
        return float((self._gains(factor)[0] > worth).mean())

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
        sizes = self.evidence.sizes
        powers = np.linspace(
            np.log10(sizes[0]), np.log10(sizes[-1] * FARTHEST), 150
        )
        curves = self.posterior.curves(10**powers)
        above = self.sign * curves >= self.sign * target
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
    def lack_of_fit(self) -> float:
        """p-value of the lack-of-fit F test (equation 17).

        The probability that noise alone puts the size means this far from the
        least-squares fit of the most probable family. nan with one run per
        size, which cannot tell noise from a bend.
        """
        data = self.evidence
        residuals = data.means - self.curve(self.name, data.sizes)
        if data.noise_df == 0:
            return np.nan
        rounding = 1e-9 * np.abs(data.means).max()
        if data.noise <= rounding**2:
            # Without noise the test has no scale: any deviation is a misfit.
            return 0.0 if np.abs(residuals).max() > rounding else np.nan
        df = len(data.sizes) - len(self.parameters)
        ratio = data.counts @ residuals**2 / df / data.noise
        return float(stats.f.sf(ratio, df, data.noise_df))

    def curve(self, name: str, x: ArrayLike) -> Any:
        """Return the least-squares curve of one family at `x`, not clipped.

        Args:
            name: The name of a fitted family in `candidates`.
            x: Sizes.
        """
        from keras_jft.scaling.law.families import LAWS

        fitted = [n for n, c in self.candidates.items() if not c.more_sizes]
        checks.one_of("name", name, fitted)
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

    def _gains(self, factor):
        """Return `(n,)` gains of the curves, and of one run on each."""
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


def _ends(values):
    return _quantiles(values, _TAILS).tolist()


def _quantiles(values, at, axis=None):
    # No interpolation between draws: it would turn infinities into nan.
    return np.quantile(values, at, axis=axis, method="inverted_cdf")
