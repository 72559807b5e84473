"""The contract of a law: a curve through scores, with intervals that hold.

Seeds of one size say how noisy a run is; they do not say how the curve goes
on. Two things move a score from its law: noise, anew in every run (variance s),
and the deviation of the curve from the law, shared by all runs of one size
(variance d). So the sizes, not the runs, are the observations of the law:

    s is estimated by the pooled variance within sizes, with (runs - sizes)
    degrees of freedom; s + k d by the mean square of the size means about the
    law, weighted by their runs, with (sizes - parameters). k is the number of
    runs a size, where that is the same for all.

An interval takes its variance from those two, and its degrees of freedom from
both by Satterthwaite. With one run a size this is the textbook interval of a
regression; with many it does not shrink as if they were new sizes.

Shapes: m sizes, p parameters.

References:
    Draper and Smith 1998, "Applied Regression Analysis", sections 1.4 (the
    intervals) and 2.1 (lack of fit and pure error).
    Satterthwaite 1946, "An Approximate Distribution of Estimates of Variance
    Components", Biometrics Bulletin 2.
"""

import abc
import dataclasses
import functools
from typing import ClassVar, NamedTuple

import numpy as np
from scipy import optimize, stats

from keras_jft.scaling.evidence import Evidence

LEVEL = 0.95


class Estimate(NamedTuple):
    """A number and its 95% interval."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Law(abc.ABC):
    """A curve through scores, and how far to trust it.

    A subclass gives `name`, `names`, `curve` and `gradient`.

    Attributes:
        evidence: The runs it is fitted to.
        bounds: Lowest and highest score there can be; predictions are clipped.
        theta: `(p,)` the fitted parameters, in the order of `names`.
    """

    name: ClassVar[str]
    names: ClassVar[tuple[str, ...]]

    evidence: Evidence
    bounds: tuple[float, float]
    theta: np.ndarray

    @abc.abstractmethod
    def curve(self, x):
        """Scores at sizes `x`, not clipped."""

    @abc.abstractmethod
    def gradient(self, x):
        """`(..., p)` derivatives of `curve` by the parameters."""

    @property
    def parameters(self):
        """`{name: value}`."""
        return dict(zip(self.names, self.theta.tolist(), strict=True))

    @property
    def points(self):
        """Factor from scores to points: 100 for fractions, else 1."""
        return 100 if self.bounds == (0, 1) else 1

    # === What it says ===

    def predict(self, x):
        """Scores at sizes `x`, within the bounds."""
        return np.clip(self.curve(np.asarray(x, np.float64)), *self.bounds)

    def confidence_interval(self, x):
        """Low and high end of where the law itself lies at `x`, at 95%."""
        return self._interval(x, new_run=False)

    def prediction_interval(self, x):
        """Low and high end of where one new run at `x` will lie, at 95%."""
        return self._interval(x, new_run=True)

    def gain_at(self, factor):
        """What `factor` times the largest size would add.

        Args:
            factor: More than 1.

        Returns:
            An `Estimate`: the score of one new run there less the law's score
            at the largest size, and its 95% prediction interval.
        """
        if not factor > 1:
            raise ValueError(
                f"`factor` must be more than 1. Received: factor={factor}"
            )
        largest = self.evidence.sizes[-1]
        now, then = self.curve(largest), self.curve(factor * largest)
        half = self.design.half_widths(
            self.gradient(factor * largest) - self.gradient(largest),
            self.mean_square,
            self.evidence.noise,
            new_run=True,
        )
        # The score there cannot leave the bounds, nor can the one of now.
        ends = np.clip([then, then - half, then + half], *self.bounds)
        return Estimate(*(ends - np.clip(now, *self.bounds)).tolist())

    def images_for(self, target):
        """The size at which the law reaches a score.

        Args:
            target: A score within the bounds.

        Returns:
            An `Estimate`: the size, and those at which the upper and the lower
            end of the confidence interval reach the target. The smallest size
            where that has reached it; infinity where a million times the
            largest does not.
        """
        low, high = self.bounds
        if not low <= target <= high:
            raise ValueError(
                f"`target` must be a score within the bounds {self.bounds}. "
                f"Received: target={target}"
            )
        return Estimate(
            self._reaches(target, self.curve),
            self._reaches(target, lambda x: self._ends(x, False)[1]),
            self._reaches(target, lambda x: self._ends(x, False)[0]),
        )

    # === How far to trust it ===

    @functools.cached_property
    def design(self):
        """The `Design` of the runs it is fitted to."""
        data = self.evidence
        return Design(gradient=self.gradient(data.sizes), counts=data.counts)

    @functools.cached_property
    def mean_square(self):
        """Mean square of the size means about the law: s + k d."""
        data = self.evidence
        residuals = data.means - self.curve(data.sizes)
        return float(data.counts @ residuals**2 / self.design.df)

    @property
    def lack_of_fit(self):
        """Probability of means this far off the law by noise alone (F test).

        nan with one run a size, which cannot tell noise from a bend.
        """
        noise = self.evidence.noise
        if noise == 0:
            return np.nan
        ratio = self.mean_square / noise
        return float(stats.f.sf(ratio, self.design.df, self.design.noise_df))

    def _ends(self, x, new_run):
        x = np.asarray(x, np.float64)
        half = self.design.half_widths(
            self.gradient(x), self.mean_square, self.evidence.noise, new_run
        )
        return self.curve(x) - half, self.curve(x) + half

    def _interval(self, x, new_run):
        low, high = self._ends(x, new_run)
        return np.clip(low, *self.bounds), np.clip(high, *self.bounds)

    def _reaches(self, target, curve):
        """The first size, from the smallest on, at which `curve` reaches it."""
        sizes = self.evidence.sizes
        grid = np.linspace(np.log10(sizes[0]), np.log10(sizes[-1]) + 6, 1_000)
        above = curve(10**grid) >= target
        if not above.any():
            return np.inf
        first = int(above.argmax())
        if first == 0:
            return float(sizes[0])
        root = optimize.brentq(
            lambda power: float(curve(10**power)) - target,
            *grid[first - 1 : first + 1],
        )
        return float(10**root)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Design:
    """Which sizes were run how often, as a law sees them.

    Attributes:
        gradient: `(m, p)` derivatives of the law at the sizes.
        counts: `(m,)` runs of each size.
    """

    gradient: np.ndarray
    counts: np.ndarray

    @property
    def df(self):
        """Degrees of freedom of the mean square about the law."""
        sizes, parameters = self.gradient.shape
        return sizes - parameters

    @property
    def noise_df(self):
        """Degrees of freedom of the noise."""
        return int(self.counts.sum()) - len(self.counts)

    @functools.cached_property
    def shares(self):
        """`(m, p)`: how much of each size's mean is in each parameter."""
        weighted = self.gradient * self.counts[:, None]
        return weighted @ np.linalg.inv(self.gradient.T @ weighted)

    @functools.cached_property
    def runs_a_size(self):
        """k: the runs of a size, as far as the mean square goes."""
        leverage = (self.gradient * self.shares).sum(axis=1)
        return float(self.counts @ (1 - leverage) / self.df)

    def half_widths(self, directions, mean_square, noise, new_run):
        """`(...)`: half of the 95% intervals of `directions @ theta`.

        Args:
            directions: `(..., p)`, such as the gradient for the score itself.
            mean_square: The estimate of s + k d.
            noise: The estimate of s.
            new_run: Whether to add what one new run scatters by.
        """
        shares = directions @ self.shares.T  # (..., m)
        # A mean of n runs has the variance d + s / n, a new run d + s.
        of_d = new_run + (shares**2).sum(axis=-1)
        of_s = new_run + (shares**2 / self.counts).sum(axis=-1)
        if mean_square == noise == 0:
            return np.zeros_like(of_d)
        # With d = (mean_square - s) / k, the variance of two parts.
        from_law = of_d / self.runs_a_size * mean_square
        from_noise = np.maximum(of_s - of_d / self.runs_a_size, 0) * noise
        total = from_law + from_noise
        inverse_df = (from_law / total) ** 2 / self.df
        if self.noise_df:
            inverse_df += (from_noise / total) ** 2 / self.noise_df
        return stats.t.ppf((1 + LEVEL) / 2, 1 / inverse_df) * np.sqrt(total)
