"""The laws: how a score may rise with data.

Every law is a line in a basis that bends as its shape says,

    score = a + b g(r; shape),    r = size / smallest size,

so that `a` and `b` follow from the shape in closed form, and a fit searches
shapes alone. `published` turns the numbers into those of the paper the law is
from.

Shapes: m sizes, k shapes of a grid, q numbers a shape has.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import optimize, special
from scipy.stats import qmc

EXPONENTS = (0.02, 1.0)  # Of power laws; nearly all published ones.


class Refined(NamedTuple):
    """A law of least squares.

    Attributes:
        shape: `(q,)`.
        ab: `(2,)`.
        residuals: `(m,)`, weighted.
        slopes: `(m, q)` their derivatives by the logarithms of the shape.
    """

    shape: np.ndarray
    ab: np.ndarray
    residuals: np.ndarray
    slopes: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Family:
    """One row of `LAWS`.

    Attributes:
        title: What it is called in text.
        basis: `basis(r, *shape)` rises with r; its arguments broadcast.
        ranges: `ranges(span)` gives the `(q, 2)` lowest and highest shape for
            sizes that span a factor of `span`; all are searched on the
            logarithmic scale.
        grid_size: How many shapes are tried, a power of 2.
        saturates: Whether the basis rises to 0 and no higher, so that `a` is
            where the score ends.
        names: Names of the published parameters.
        published: `published(a, b, shape, smallest)` gives their values.
        prior: Its weight before any run is seen. The simple laws are special
            cases of the flexible ones: they get little, and with sharp data
            soon much. Chosen on every second curve of
            `benchmarks/backtest.py`, and right on the others too.
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
        """How many numbers it has, a and b among them."""
        return len(self.names)

    @property
    def fewest_sizes(self):
        """How many sizes it takes: two more than parameters."""
        return self.num_parameters + 2

    def box(self, span):
        """`(q, 2)` logarithms of the ranges."""
        return np.log(np.asarray(self.ranges(span), float).reshape(-1, 2))

    def shapes(self, box):
        """`(k, q)` shapes that cover a box of logarithms evenly (Sobol)."""
        if not len(box):
            return np.zeros((1, 0))
        even = qmc.Sobol(len(box), rng=0).random(self.grid_size)
        return np.exp(box[:, 0] + even * (box[:, 1] - box[:, 0]))

    def columns(self, r, shapes):
        """`(k, m)` values of the basis at `(m,)` sizes, one row a shape."""
        values = self.basis(
            r, *(shapes[:, [i]] for i in range(shapes.shape[1]))
        )
        return np.broadcast_to(values, (len(shapes), len(r)))

    def refine(self, r, means, weights, shape, box):
        """The law of least squares near a good shape.

        Args:
            r: `(m,)` sizes by the smallest.
            means: `(m,)` mean scores.
            weights: `(m,)` weights of them.
            shape: `(q,)` where to start.
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
    """`log10(r)`."""
    return np.log10(r)


def power(r, exponent):
    """`-r^-exponent`."""
    return -(r**-exponent)


def m4(r, exponent, alpha, scale):
    """`-u` of the sigmoid `u / (1 - u)^alpha = scale r^-exponent`."""
    right = np.log(scale) - exponent * np.log(r)
    low = np.full(np.broadcast_shapes(right.shape, np.shape(alpha)), -80.0)
    high = -low
    # Bisection on the logit of u, which the left side rises with.
    for _ in range(45):
        middle = (low + high) / 2
        left = alpha * np.logaddexp(0, middle) - np.logaddexp(0, -middle)
        above = left > right
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return -special.expit(middle)


def broken_power(r, before, after, place, sharpness):
    """`-r^-before`, from `place` on with the exponent `after`."""
    rise, turn = np.log(r), np.log(place)
    # From 0 to the distance beyond the break, around it smoothly.
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
    # an error e; here in parts of the way u from floor to start, and scores.
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
