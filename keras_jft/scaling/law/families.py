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
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import optimize, special
from scipy.stats import qmc

EXPONENTS = (0.02, 1.0)  # Covers nearly all published power laws.


class Refined(NamedTuple):
    """A least-squares fit of one family.

    Attributes:
        shape: `(q,)` shape parameters.
        ab: `(2,)` intercept and slope in the basis.
        residuals: `(m,)` weighted residuals.
        slopes: `(m, q)` derivatives of the residuals with respect to the
            logarithms of the shape parameters.
    """

    shape: np.ndarray
    ab: np.ndarray
    residuals: np.ndarray
    slopes: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Family:
    """One entry of `LAWS`.

    Attributes:
        title: Its name in text.
        basis: `basis(r, *shape)` rises with r; its arguments broadcast.
        ranges: `ranges(span)` gives the `(q, 2)` lowest and highest shape
            parameters for sizes that span a factor of `span`; all are
            searched on a logarithmic scale.
        grid_size: Number of shapes tried, a power of 2.
        saturates: Whether the basis never rises above 0, so that `a` is the
            score that the curve approaches.
        names: Names of the published parameters.
        published: `published(a, b, shape, smallest)` gives their values.
        prior: Its probability before any run is seen. The simple laws are
            special cases of the flexible ones, so they start low and gain
            quickly when the data are precise. Chosen on every second curve of
            `benchmarks/backtest.py` and confirmed on the others.
    """

    title: str
    basis: Callable
    ranges: Callable
    grid_size: int
    saturates: bool
    names: tuple[str, ...]
    published: Callable
    prior: float

    @property
    def num_parameters(self):
        """Number of parameters, a and b included."""
        return len(self.names)

    @property
    def fewest_sizes(self):
        """Number of sizes that a fit needs: two more than parameters."""
        return self.num_parameters + 2

    def box(self, span):
        """Return the `(q, 2)` logarithms of the ranges."""
        return np.log(np.asarray(self.ranges(span), float).reshape(-1, 2))

    def shapes(self, box):
        """Return `(k, q)` shapes that cover a log-scale box evenly (Sobol)."""
        if not len(box):
            return np.zeros((1, 0))
        even = qmc.Sobol(len(box), rng=0).random(self.grid_size)
        return np.exp(box[:, 0] + even * (box[:, 1] - box[:, 0]))

    def columns(self, r, shapes):
        """Return the `(k, m)` basis values at `(m,)` sizes, a row per shape."""
        values = self.basis(
            r, *(shapes[:, [i]] for i in range(shapes.shape[1]))
        )
        return np.broadcast_to(values, (len(shapes), len(r)))

    def refine(self, r, means, weights, shape, box):
        """Return the least-squares fit closest to a starting shape.

        Args:
            r: `(m,)` sizes divided by the smallest.
            means: `(m,)` mean scores.
            weights: `(m,)` weights of the means.
            shape: `(q,)` starting point.
            box: `(q, 2)` logarithms of the lowest and highest shape.

        Returns:
            A `Refined`.
        """
        root = np.sqrt(weights)

        def line(logs):
            basis = self.basis(r, *np.exp(logs))
            design = np.stack([np.ones_like(basis), basis], axis=1)
            scaled = design * root[:, None]
            ab, *_ = np.linalg.lstsq(scaled, means * root)
            return ab, scaled @ ab - means * root

        logs, slopes = np.log(shape), np.zeros((len(r), 0))
        if len(shape):
            low, high = box.T
            found = optimize.least_squares(
                lambda logs: line(logs)[1],
                np.clip(logs, low + 1e-9, high - 1e-9),
                bounds=(low, high),
                max_nfev=60,
            )
            logs, slopes = found.x, found.jac
        ab, residuals = line(logs)
        return Refined(np.exp(logs), ab, residuals, slopes)


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
    low = np.full(np.broadcast_shapes(right.shape, np.shape(alpha)), -80.0)
    high = -low
    # The left side rises with u, so bisect on the logit of u.
    for _ in range(45):
        middle = (low + high) / 2
        left = alpha * np.logaddexp(0, middle) - np.logaddexp(0, -middle)
        above = left > right
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return -special.expit(middle)


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
        ranges=lambda span: (),
        grid_size=1,
        saturates=False,
        names=("intercept", "slope"),
        published=lambda a, b, shape, smallest: (
            a - b * np.log10(smallest),
            b,
        ),
        prior=0.01,
    ),
    # Hestness et al. 2017, "Deep Learning Scaling is Predictable", Equation 1
    # with a floor: score = limit - coefficient x^-exponent.
    "power": Family(
        title="power law with floor",
        basis=power,
        ranges=lambda span: (EXPONENTS,),
        grid_size=128,
        saturates=True,
        names=("limit", "coefficient", "exponent"),
        published=lambda a, b, shape, smallest: (
            a,
            b * smallest ** shape[0],
            shape[0],
        ),
        prior=0.04,
    ),
    # Alabdulmohsin et al. 2022, "Revisiting Neural Scaling Laws in Language
    # and Vision", M4: (e - floor) / (start - e)^alpha = scale x^-exponent for
    # an error e. Here u = (e - floor) / (start - floor), so that
    # score = limit - (limit - start) u.
    "m4": Family(
        title="M4",
        basis=m4,
        ranges=lambda span: (EXPONENTS, (0.05, 4.0), (0.1, 100.0)),
        grid_size=2048,
        saturates=True,
        names=("limit", "start", "exponent", "alpha", "scale"),
        published=lambda a, b, shape, smallest: (
            a,
            a - b,
            shape[0],
            shape[1],
            shape[2] * smallest ** shape[0],
        ),
        prior=0.475,
    ),
    # Caballero et al. 2023, "Broken Neural Scaling Laws", Equation 1 with one
    # break: score = limit - coefficient x^-before (1 + (x / break)^(1 /
    # sharpness))^(-(after - before) sharpness).
    "broken_power": Family(
        title="broken power law",
        basis=broken_power,
        ranges=lambda span: (EXPONENTS, EXPONENTS, (1.0, span), (0.1, 1.0)),
        grid_size=4096,
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
        prior=0.475,
    ),
}
