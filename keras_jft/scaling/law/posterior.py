"""What the runs leave open: draws of curves that they agree with.

Given the shape of a law, its other numbers are those of a regression line, so
that they and the noise can be integrated out in closed form. What is left is a
sum over laws and over shapes: an even grid of them, and more about the best.

Two things move a size's mean score from its law: noise, anew in every run
(variance s), and the deviation of the curve from the law, shared by all runs of
one size (variance s times a ratio, searched over a grid as well). Seeds of one
size say how noisy a run is; they do not say how the curve goes on, and a
hundred of them are no hundred sizes.

Prior: a and b, in units of the rise over the observed sizes, are uniform; so is
the logarithm of s; shapes are uniform on the logarithmic scale in the ranges of
their law; laws weigh what `LAWS` says. A law that saturates ends within the
bounds of the score. With the log-linear law alone and one run a size this is
the textbook's interval of a regression.

Shapes: m sizes, k shapes, n draws.

References:
    Gelman et al. 2013, "Bayesian Data Analysis", sections 14.2 (regression
    with a uniform prior), 10.4 (importance sampling), 7.4 (Bayes factors).
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from keras_jft.scaling.law.families import LAWS

# Deviation of the curve from a law by the noise of a run, as variances.
RATIOS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3)
FLOOR = 0.003  # Of the rise: residuals below it tell no laws apart.
DRAWS = 8_000
FLAT = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Lines through the size means, one for each shape and ratio.

    Attributes:
        family: The law.
        shapes: `(k, q)`.
        first: `(k,)` the basis at the smallest size.
        rise: `(k,)` what the basis rises by from there to the largest.
        ratio: `(k,)`.
        log_evidence: `(k,)` log of the marginal likelihood.
        ab: `(k, 2)` the line in the basis scaled to 0..1 over the sizes.
        gram: `(k, 3)` `sum w, sum w z, sum w z^2` of the scaled basis z.
        noise: `(k,)` the estimate of s.
        df: Its degrees of freedom.
    """

    family: object
    shapes: np.ndarray
    first: np.ndarray
    rise: np.ndarray
    ratio: np.ndarray
    log_evidence: np.ndarray
    ab: np.ndarray
    gram: np.ndarray
    noise: np.ndarray
    df: float


def grid_of(family, data, shown=None):
    """The `Grid` of one law.

    Args:
        family: A value of `LAWS`.
        data: An `Evidence`.
        shown: How many sizes, from the smallest on, the fit sees; the scale
            of the basis is always that of all. None means all.
    """
    box = family.box(data.sizes[-1] / data.sizes[0])
    shapes = family.shapes(box)
    grid = _grid(family, shapes, np.zeros(len(shapes)), data, shown)
    if not len(box):
        return grid
    proposal = _about_best(grid, box, data, shown)
    rng = np.random.default_rng(0)
    logs = np.vstack(
        [
            np.log(shapes),
            proposal.rvs(len(shapes) // 2, rng).reshape(-1, len(box)),
        ]
    )
    inside = ((logs >= box[:, 0]) & (logs <= box[:, 1])).all(axis=1)
    even = 1 / np.prod(np.ptp(box, axis=1))
    share = len(shapes) / len(logs)
    density = share * even + (1 - share) * proposal.pdf(logs)
    log_weights = np.where(inside, np.log(even / density), -np.inf)
    logs = np.clip(logs, box[:, 0], box[:, 1])
    return _grid(family, np.exp(logs), log_weights, data, shown)


def _about_best(grid, box, data, shown):
    """Where else to look: a t distribution about the shape of least squares.

    Sharp data leave a thin sheet of shapes, which an even grid straddles.
    """
    best = int(grid.log_evidence.argmax())
    sizes, counts = data.sizes[:shown], data.counts[:shown]
    found = grid.family.refine(
        sizes / sizes[0],
        data.means[:shown],
        1 / (grid.ratio[best] + 1 / counts),
        grid.shapes[best],
        box,
    )
    noise = found.residuals @ found.residuals / len(sizes)
    noise = min(max(noise, 1e-12), grid.noise[best])
    precision = found.slopes.T @ found.slopes / noise
    # No wider than the box, however little a shape is known.
    precision += np.diag(4 / np.ptp(box, axis=1) ** 2)
    return stats.multivariate_t(
        np.log(found.shape),
        2 * np.linalg.inv(precision),
        df=4,
        # An exact law leaves a sheet that is thin beyond rounding.
        allow_singular=True,
    )


def _grid(family, shapes, log_weights, data, shown):
    """The `Grid` of shapes with their weights in the prior, 1 on average."""
    r = data.sizes / data.sizes[0]
    count = len(shapes)
    basis = family.columns(r, shapes)
    # Shapes that are flat over all sizes say nothing of them.
    rises = basis[:, -1] - basis[:, 0] > FLAT
    shapes, basis, log_weights = (
        array[rises] for array in (shapes, basis, log_weights)
    )
    rise = basis[:, -1] - basis[:, 0]
    z = ((basis - basis[:, :1]) / rise[:, None])[:, :shown]
    means, counts = data.means[:shown], data.counts[:shown]
    runs = counts.sum()
    ratios = RATIOS if runs > len(counts) else RATIOS[:1]
    parts = [_lines(z, means, counts, ratio) for ratio in ratios]
    ab, gram, squares, log_density = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    squares = squares + data.within[:shown].sum()
    scale = np.ptp(data.means) or np.abs(data.means).max() or 1.0
    squares = squares + (FLOOR * scale) ** 2
    df = float(runs - 2)
    determinant = gram[:, 0] * gram[:, 2] - gram[:, 1] ** 2
    times = len(ratios)
    return Grid(
        family=family,
        shapes=np.tile(shapes, (times, 1)),
        first=np.tile(basis[:, 0], times),
        rise=np.tile(rise, times),
        ratio=np.repeat(ratios, len(shapes)),
        log_evidence=(
            special.gammaln(df / 2)
            - df / 2 * np.log(np.pi * squares)
            - 0.5 * np.log(determinant)
            + log_density
            + np.tile(log_weights, times)
            - np.log(times * count)
        ),
        ab=ab,
        gram=gram,
        noise=squares / df,
        df=df,
    )


def _lines(z, means, counts, ratio):
    """Weighted least squares for each row of `z`: `(ab, gram, squares, ..)`."""
    w = 1 / (ratio + 1 / counts)
    total, first, second = w.sum(), z @ w, z**2 @ w
    cross, mean = z @ (w * means), w @ means
    # At least what rounding leaves: two sizes may look alike to a shape.
    determinant = np.maximum(total * second - first**2, 1e-12 * total**2)
    b = (total * cross - first * mean) / determinant
    a = (mean - b * first) / total
    squares = (means - a[:, None] - b[:, None] * z) ** 2 @ w
    second = (determinant + first**2) / total
    gram = np.stack([np.full_like(first, total), first, second], axis=1)
    # Runs of a size share the weight: that of the mean is all that moves.
    log_density = np.full_like(first, 0.5 * np.log(w / counts).sum())
    return np.stack([a, b], axis=1), gram, squares, log_density


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Posterior:
    """Draws of curves, `score = a + b g(r; shape)`.

    Attributes:
        smallest: The smallest size.
        ab: `(n, 2)`.
        members: `{law name: (places, shapes)}`: which draws are of the law,
            `(n',)`, and their shapes `(n', q)`.
        noise: `(n,)` variance of runs of one size.
        deviation: `(n,)` variance of sizes about the curve.
        standard: `(n,)` standard normal numbers, a run's luck.
    """

    smallest: float
    ab: np.ndarray
    members: dict
    noise: np.ndarray
    deviation: np.ndarray
    standard: np.ndarray

    def curves(self, x):
        """`(sizes, n)` scores of the drawn curves at sizes `x`."""
        r = np.asarray(x, np.float64).reshape(-1, 1) / self.smallest
        basis = np.empty((len(r), len(self.ab)))
        for name, (places, shapes) in self.members.items():
            basis[:, places] = LAWS[name].basis(r, *shapes.T)
        return self.ab[:, 0] + self.ab[:, 1] * basis

    def runs(self, x):
        """`(sizes, n)` scores of one new run of each drawn curve."""
        return self.curves(x) + self.standard * np.sqrt(
            self.noise + self.deviation
        )


def draw(grids, log_weights, bounds, smallest, seed=0):
    """Draws from several laws, and how much of each.

    Args:
        grids: `{law name: Grid}`.
        log_weights: `{law name: log of its weight}`, up to a constant. What a
            law says of curves that would end out of bounds is taken off.
        bounds: Lowest and highest score there can be.
        smallest: The smallest size.
        seed: Of the draws: the same evidence gives the same numbers.

    Returns:
        A `Posterior`, and `{law name: weight}`, which sum to 1.
    """
    rng = np.random.default_rng(seed)
    drawn = {name: _draw_one(grids[name], bounds, rng) for name in grids}
    logs = np.array([log_weights[n] + np.log(drawn[n].share) for n in drawn])
    weights = np.exp(logs - logs.max())
    weights = dict(zip(drawn, (weights / weights.sum()).tolist(), strict=True))
    parts, members, start = [], {}, 0
    for name, part in drawn.items():
        count = round(DRAWS * weights[name])
        if count:
            members[name] = np.arange(start, start + count), part.shapes[:count]
            parts.append((part.ab, part.noise, part.noise * part.ratio))
            parts[-1] = tuple(array[:count] for array in parts[-1])
            start += count
    ab, noise, deviation = (
        np.concatenate(arrays) for arrays in zip(*parts, strict=True)
    )
    posterior = Posterior(
        smallest=smallest,
        ab=ab,
        members=members,
        noise=noise,
        deviation=deviation,
        standard=rng.standard_normal(start),
    )
    return posterior, weights


class _Drawn(NamedTuple):
    """`DRAWS` draws of one law, and the share of all that is within bounds."""

    shapes: np.ndarray
    ab: np.ndarray
    noise: np.ndarray
    ratio: np.ndarray
    share: float


def _draw_one(grid, bounds, rng):
    chance = np.exp(grid.log_evidence - grid.log_evidence.max())
    places = rng.choice(len(chance), size=2 * DRAWS, p=chance / chance.sum())
    noise = grid.noise[places] * grid.df / rng.chisquare(grid.df, len(places))
    total, first, second = grid.gram[places].T
    start, rise = grid.ab[places].T
    # Of a line, the slope; then, given that, where it starts.
    off = rng.standard_normal(len(places))
    off *= np.sqrt(noise * total / (total * second - first**2))
    rise = rise + off
    start = start - first / total * off
    start += np.sqrt(noise / total) * rng.standard_normal(len(places))
    b = rise / grid.rise[places]
    a = start - b * grid.first[places]
    kept = np.arange(len(a))
    if grid.family.saturates:
        out = abs(a - np.clip(a, *bounds))
        # Where hardly any ends within the bounds, those that miss them least.
        kept = np.flatnonzero(out <= np.quantile(out, 0.01))
    return _Drawn(
        shapes=grid.shapes[places][np.resize(kept, DRAWS)],
        ab=np.stack([a, b], axis=1)[np.resize(kept, DRAWS)],
        noise=noise[np.resize(kept, DRAWS)],
        ratio=grid.ratio[places][np.resize(kept, DRAWS)],
        share=len(kept) / len(places),
    )
