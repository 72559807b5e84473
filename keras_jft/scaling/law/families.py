"""The families of scaling laws: how a score may rise with data.

Every family is a line in a basis function whose bend is set by its shape
parameters (equation 1 of `docs/forecasts.md`),

    score = a + b g(r; shape),    r = size / smallest size,

so `a` and `b` follow from the shape in closed form, and a fit only searches
over shapes. `published` converts the fitted numbers to the parameters of the
paper that introduced the law.

Shapes: m sizes, k shapes in a grid, q parameters per shape.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from scipy import optimize, special
from scipy.stats import qmc

EXPONENTS = (0.02, 2.0)  # Covers nearly all published power laws.
NEWTON_STEPS = 8


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Family:
    """One entry of `LAWS`.

    Attributes:
        title: Its name in text.
        basis: `basis(r, *shape)` rises with r; its arguments broadcast.
        ranges: Lowest and highest value of each shape parameter; all are
            searched on a logarithmic scale.
        grid_size: Number of shapes tried, a power of 2.
        saturates: Whether the basis never rises above 0, so that `a` is the
            score that the curve approaches.
        names: Names of the published parameters.
        published: `published(a, b, shape, smallest)` gives their values.
    """

    title: str
    basis: Callable
    ranges: tuple[tuple[float, float], ...]
    grid_size: int
    saturates: bool
    names: tuple[str, ...]
    published: Callable

    @functools.cached_property
    def box(self):
        """`(q, 2)` logarithms of the ranges."""
        return np.log(np.asarray(self.ranges, float).reshape(-1, 2))

    @functools.cached_property
    def shapes(self):
        """`(k, q)` shapes that cover the box evenly (a Sobol sequence)."""
        low, high = self.box.T
        if not len(low):
            return np.zeros((1, 0))
        even = qmc.Sobol(len(low), rng=0).random(self.grid_size)
        return np.exp(low + even * (high - low))

    def columns(self, r, shapes):
        """Return the `(k, m)` basis values at `(m,)` sizes, a row per shape."""
        values = self.basis(
            r, *(shapes[:, [i]] for i in range(shapes.shape[1]))
        )
        return np.broadcast_to(values, (len(shapes), len(r)))

    def refine(self, r, means, weights, shape):
        """Return the least-squares fit closest to a starting shape.

        Args:
            r: `(m,)` sizes divided by the smallest.
            means: `(m,)` mean scores.
            weights: `(m,)` weights of the means.
            shape: `(q,)` starting point.

        Returns:
            The `(q,)` shape, and the `(2,)` intercept and slope in its basis.
        """
        root = np.sqrt(weights)

        def line(logs):
            basis = self.basis(r, *np.exp(logs))
            design = np.stack([np.ones_like(basis), basis], axis=1)
            scaled = design * root[:, None]
            ab, *_ = np.linalg.lstsq(scaled, means * root)
            return ab, scaled @ ab - means * root

        logs = np.log(shape)
        if len(shape):
            low, high = self.box.T
            logs = optimize.least_squares(
                lambda logs: line(logs)[1],
                np.clip(logs, low + 1e-9, high - 1e-9),
                bounds=(low, high),
                max_nfev=60,
            ).x
        return np.exp(logs), line(logs)[0]


def log_linear(r):
    """Return `log10(r)` (equation 2)."""
    return np.log10(r)


def power(r, exponent):
    """Return `-r^-exponent` (equation 3)."""
    return -(r**-exponent)


def m4(r, exponent, alpha, scale):
    """Return `-u`, where `u / (1 - u)^alpha = scale r^-exponent` (equation 4).

    `u` is a sigmoid in log r: the part of the error that is left.
    """
    right = np.log(scale) - exponent * np.log(r)
    # The left side is a rising function of the logit of u, whose slope goes
    # from 1 to alpha: Newton's method converges from either asymptote.
    logit = np.where(right < 0, right, right / alpha)
    for _ in range(NEWTON_STEPS):
        left = alpha * np.logaddexp(0, logit) - np.logaddexp(0, -logit)
        u = special.expit(logit)
        logit = logit - (left - right) / (1 + (alpha - 1) * u)
    return -special.expit(logit)


def broken_power(r, before, after, place, sharpness):
    """Return `-r^-before`, with exponent `after` past `place` (equation 5)."""
    rise, turn = np.log(r), np.log(place)
    # 0 before the break, the log distance past it after; a smooth transition.
    beyond = sharpness * (
        np.logaddexp(0, (rise - turn) / sharpness)
        - np.logaddexp(0, -turn / sharpness)
    )
    return -np.exp(-before * rise - (after - before) * beyond)


LAWS = {
    # Sun et al. 2017, "Revisiting Unreasonable Effectiveness of Data in Deep
    # Learning Era", Figure 4: score = intercept + slope log10(x).
    "log_linear": Family(
        title="log-linear",
        basis=log_linear,
        ranges=(),
        grid_size=1,
        saturates=False,
        names=("intercept", "slope"),
        published=lambda a, b, shape, smallest: (
            a - b * np.log10(smallest),
            b,
        ),
    ),
    # Hestness et al. 2017, "Deep Learning Scaling is Predictable", Equation 1
    # with a floor: score = limit - coefficient x^-exponent.
    "power": Family(
        title="power law with floor",
        basis=power,
        ranges=(EXPONENTS,),
        grid_size=128,
        saturates=True,
        names=("limit", "coefficient", "exponent"),
        published=lambda a, b, shape, smallest: (
            a,
            b * smallest ** shape[0],
            shape[0],
        ),
    ),
    # Alabdulmohsin et al. 2022, "Revisiting Neural Scaling Laws in Language
    # and Vision", M4: (e - floor) / (start - e)^alpha = scale x^-exponent for
    # an error e. Here u = (e - floor) / (start - floor), so that
    # score = limit - (limit - start) u.
    "m4": Family(
        title="M4",
        basis=m4,
        ranges=(EXPONENTS, (0.05, 4.0), (0.1, 1e4)),
        grid_size=512,
        saturates=True,
        names=("limit", "start", "exponent", "alpha", "scale"),
        published=lambda a, b, shape, smallest: (
            a,
            a - b,
            shape[0],
            shape[1],
            shape[2] * smallest ** shape[0],
        ),
    ),
    # Caballero et al. 2023, "Broken Neural Scaling Laws", Equation 1 with one
    # break: score = limit - coefficient x^-before (1 + (x / break)^(1 /
    # sharpness))^(-(after - before) sharpness).
    "broken_power": Family(
        title="broken power law",
        basis=broken_power,
        # The break may lie beyond the sizes.
        ranges=(EXPONENTS, EXPONENTS, (1.0, 1e5), (0.1, 1.0)),
        grid_size=512,
        saturates=True,
        names=(
            "limit",
            "coefficient",
            "before",
            "after",
            "break",
            "sharpness",
        ),
        published=lambda a, b, shape, smallest: (
            a,
            b
            * smallest ** shape[0]
            * (1 + shape[2] ** (-1 / shape[3]))
            ** ((shape[1] - shape[0]) * shape[3]),
            shape[0],
            shape[1],
            shape[2] * smallest,
            shape[3],
        ),
    ),
}
