"""Posterior distribution of a law of images, width and epochs.

As in `posterior.py`, with a column for the data and one for the net: given the
shape of the law, the scale on which its parts add up, and the kind of deviation
and noise, all else is normal. Equation numbers are those of
`docs/forecasts.md`.

Shapes: m cells (runs that differ only in their seed), k shapes, p columns,
n draws, q places.

References:
    McCullagh and Nelder 1989, "Generalized Linear Models", section 2.2 (link
    functions).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import linalg, special
from scipy.stats import qmc

from keras_jft.scaling.law.gaussian import symmetric_root
from keras_jft.scaling.law.law import Estimate

DRAWS = 2_000
SHAPES = 1_024  # A power of 2.
# Median, and standard deviation of the logarithm, of each shape: exponents of
# data and width as in `prior.json`; repeats by Muennighoff et al., section 6.
EXPONENT = (0.25, 1.2)
REPEATS = (15.0, 1.5)
# Variance of the deviation by that of a run, and decades over which it changes.
RATIOS = (0.0, 1.0, 10.0, 100.0)
LENGTHS = (4.0, 2.0, 2.0)
NOISE, DF = 0.03, 2.0  # Of a run, by the rise over the cells.
LAWS = ("sum", "product")
HIGHEST = 700.0  # The exponential of more overflows.


def seen(images, epochs, repeats):
    """Return how many new images are worth as much (equation 33).

    Args:
        images: Number of different images.
        epochs: Times that each is seen.
        repeats: Times after which another adds little: at first each counts
            as a new image, and all together for at most `repeats` of them.
    """
    return images * (1 + repeats * -np.expm1(-(epochs - 1) / repeats))


class _Link(NamedTuple):
    """A scale on which the parts of a law add up (equation 34).

    Attributes:
        forward: From scores to it.
        back: From it to scores.
        slope: The derivative of `forward`.
    """

    forward: Callable
    back: Callable
    slope: Callable


def _links(means, bounds):
    """Return the links of scores: none, and one that ends at the bounds."""
    low, high = bounds
    found = [_Link(lambda y: y, lambda z: z, np.ones_like)]
    if not low < means.min() <= means.max() < high or np.isinf(low):
        return found
    if np.isfinite(high):
        found.append(
            _Link(
                lambda y: np.log((y - low) / (high - y)),
                lambda z: low + (high - low) * special.expit(z),
                lambda y: 1 / (y - low) + 1 / (high - y),
            )
        )
    else:
        found.append(
            _Link(
                lambda y: np.log(y - low),
                lambda z: low + np.exp(np.minimum(z, HIGHEST)),
                lambda y: 1 / (y - low),
            )
        )
    return found


class _Scale(NamedTuple):
    """Mean scores on the scale of a link, in units of their rise there.

    Attributes:
        means: `(m,)` means.
        slopes: `(m,)` how fast these change with the scores, both in units of
            their rise.
        link: The `_Link`.
        center: The value that counts as 0.
        unit: The difference that counts as 1.
    """

    means: np.ndarray
    slopes: np.ndarray
    link: _Link
    center: float
    unit: float

    @classmethod
    def of(cls, link, means, rise):
        """Return the `_Scale` of mean scores `(m,)`, which rise by so much."""
        linked = link.forward(means)
        center, unit = linked.mean(), np.ptp(linked) or 1.0
        return cls(
            means=(linked - center) / unit,
            slopes=link.slope(means) * rise / unit,
            link=link,
            center=center,
            unit=unit,
        )

    def scores(self, heights):
        """Return scores from heights on this scale."""
        return self.link.back(heights * self.unit + self.center)


class JointPosterior:
    """Draws of laws over three axes.

    Args:
        cells: `(m, 3)` images, width and epochs.
        which: `(runs,)` the cell of each run.
        scores: `(runs,)` their scores.
        bounds: Lowest and highest possible score.

    Attributes:
        probabilities: `{law: probability}` of `"sum"` and `"product"`.
        repeats: `Estimate` of the repeats that count at most.
    """

    def __init__(self, cells, which, scores, bounds):
        self.cells = cells
        self.counts = np.bincount(which)
        means = np.bincount(which, scores) / self.counts
        within = ((scores - means[which]) ** 2).sum()
        self.rise = np.ptp(means) or 1.0
        self.within = within / self.rise**2
        self.scales = [
            _Scale.of(link, means, self.rise) for link in _links(means, bounds)
        ]
        self.shapes = _shapes()
        self.rng = np.random.default_rng(0)
        self.parts = {
            (scale, law, ratio): self._regress(scale, law, ratio)
            for scale in range(len(self.scales))
            for law in LAWS
            for ratio in RATIOS
        }
        self._draw()

    def _columns(self, law, cells, shapes):
        """Return `(k, m, p)` columns of a law, 0 to 1 over the cells."""
        data, net = _powers(cells, shapes)
        parts = [data, net] if law == "sum" else [-data * net]
        own = _powers(self.cells, shapes)
        mine = list(own) if law == "sum" else [-own[0] * own[1]]
        scaled = [
            (part - low) / np.maximum(high - low, 1e-9)
            for part, low, high in (
                (p, m.min(1, keepdims=True), m.max(1, keepdims=True))
                for p, m in zip(parts, mine, strict=True)
            )
        ]
        ones = np.ones_like(data)
        return np.stack([ones, *scaled], axis=2)

    def _regress(self, scale, law, ratio):
        """Return the regression of every shape (equations 11 to 13)."""
        scale = self.scales[scale]
        # Noise is the same for all scores, and so not on the scale of a link.
        covariance = np.diag(scale.slopes**2 / self.counts)
        covariance += ratio * _kernel(self.cells, self.cells)
        root = linalg.cholesky(covariance, lower=True)
        white = linalg.solve_triangular(root, np.eye(len(root)), lower=True)
        columns = white @ self._columns(law, self.cells, self.shapes)
        gram = columns.swapaxes(1, 2) @ columns
        # One axis may not vary: a faint prior keeps its coefficient finite.
        gram += 1e-6 * np.eye(gram.shape[1])
        means = white @ scale.means
        cross = columns.swapaxes(1, 2) @ means
        theta = np.linalg.solve(gram, cross[..., None])[..., 0]
        squares = ((means - (columns @ theta[..., None])[..., 0]) ** 2).sum(1)
        squares += self.within
        total = self.counts.sum() - gram.shape[1] + DF
        log_weight = (
            -np.log(np.diag(root)).sum()
            - np.linalg.slogdet(gram)[1] / 2
            - total / 2 * np.log(squares + DF * NOISE**2)
            + special.gammaln(total / 2)
            # Every coefficient is uniform, with density 1.
            + gram.shape[1] / 2 * np.log(np.pi)
            # From the density on the scale to that of the scores.
            + np.log(scale.slopes).sum()
        )
        return white, gram, theta, squares, total, log_weight

    def _draw(self):
        """Draw laws, shapes and coefficients by their probability."""
        keys = list(self.parts)
        logs = np.stack([self.parts[key][-1] for key in keys])
        chance = np.exp(logs - logs.max())
        chance /= chance.sum()
        picks = self.rng.choice(logs.size, size=DRAWS, p=chance.ravel())
        self.groups = []
        for place, key in enumerate(keys):
            shape = picks[picks // logs.shape[1] == place] % logs.shape[1]
            if len(shape):
                self.groups.append(
                    (key, shape, *self._coefficients(key, shape))
                )
        kinds = dict.fromkeys(LAWS, 0.0)
        for (_, law, _), part in zip(keys, chance, strict=True):
            kinds[law] += float(part.sum())
        self.probabilities = kinds
        repeats = np.concatenate([self.shapes[g[1], 2] for g in self.groups])
        self.repeats = Estimate(
            *np.quantile(repeats, (0.5, 0.025, 0.975)).tolist()
        )

    def _coefficients(self, key, shape):
        """Return variances `(n',)` and coefficients `(n', p)` (17 and 18)."""
        _, gram, theta, squares, total, _ = self.parts[key]
        variance = squares[shape] + DF * NOISE**2
        variance /= self.rng.chisquare(total, len(shape))
        root = np.linalg.cholesky(np.linalg.inv(gram[shape]))
        off = root @ self.rng.standard_normal((*theta[shape].shape, 1))
        return variance, theta[shape] + np.sqrt(variance)[:, None] * off[..., 0]

    def at(self, places):
        """Return `(q, n)` scores of curves at places, and of runs on them."""
        rng = np.random.default_rng(1)
        curves, runs = [], []
        for key, shape, variance, theta in self.groups:
            place, law, ratio = key
            scale = self.scales[place]
            distinct, which = np.unique(shape, return_inverse=True)
            shapes = self.shapes[distinct]
            there = self._columns(law, places, shapes)[which]
            here = self._columns(law, self.cells, shapes)[which]
            heights = np.einsum("nqp,np->qn", there, theta)
            if ratio:
                rest = scale.means[:, None] - np.einsum(
                    "nmp,np->mn", here, theta
                )
                heights += self._deviation(key, places, rest, variance, rng)
            scores = scale.scores(heights)
            own = np.sqrt(variance) * rng.standard_normal(scores.shape)
            curves.append(scores)
            runs.append(scores + own * self.rise)
        return np.concatenate(curves, axis=1), np.concatenate(runs, axis=1)

    def _deviation(self, key, places, rest, variance, rng):
        """Return `(q, n)` draws of the deviation at places (equation 19)."""
        ratio, white = key[2], self.parts[key][0]
        across = ratio * _kernel(places, self.cells) @ white.T
        spread = ratio * _kernel(places, places) - across @ across.T
        noise = rng.standard_normal((len(places), rest.shape[1]))
        noise = symmetric_root(spread) @ noise * np.sqrt(variance)
        return across @ (white @ rest) + noise


def _shapes():
    """Return `(k, 3)` exponents of data and net, and repeats (the prior)."""
    even = qmc.Sobol(3, rng=0).random(SHAPES)
    middle, spread = np.transpose([EXPONENT, EXPONENT, REPEATS])
    normal = special.ndtri(np.clip(even, 1e-9, 1 - 1e-9))
    return np.exp(np.log(middle) + spread * normal)


def _powers(cells, shapes):
    """Return `(k, m)` falling powers of data and of net (equation 34).

    They are turned round, so that they rise with the score.
    """
    images, width, epochs = cells.T
    data, net, repeats = shapes.T[..., None]
    return (
        -(seen(images, epochs, repeats) ** -data),
        -(width**-net),
    )


def _kernel(cells, others):
    """Return the covariance of a deviation of variance 1 (equation 7)."""
    scale = np.log10(cells)[:, None] - np.log10(others)
    away = np.sqrt(5 * ((scale / LENGTHS) ** 2).sum(axis=2))
    return (1 + away + away**2 / 3) * np.exp(-away)
