"""Posterior distribution of curves, as draws that agree with the runs.

`docs/forecasts.md` derives this; equation numbers below are those of that page.

Given the shape of a law, its other parameters are those of a regression line,
so they and the noise are integrated out in closed form. What is left is a sum
over families and shapes: an even grid, plus more shapes near the best one.

Two effects move the mean score of a size away from its law (equation 6): noise,
which is independent in every run (variance s), and the deviation of the curve
from the law, which all runs of one size share (variance s times a ratio, also
searched over a grid). More seeds at one size show how noisy a run is, but not
how the curve continues: a hundred seeds do not replace a hundred sizes.

Prior: a and b are uniform, with the basis scaled to rise by 1 over the observed
sizes; so is the logarithm of s; shapes are uniform on a logarithmic scale in
the ranges of their family; `LAWS` has the prior probabilities of the families.
A law that saturates must end within the bounds of the score. With the
log-linear law alone and one run per size, the interval is the textbook
prediction interval of linear regression.

Shapes: m sizes, k grid points (shape and ratio), n draws, q shape parameters.

References:
    Gelman et al. 2013, "Bayesian Data Analysis", sections 14.2 (regression
    with a uniform prior), 10.4 (importance sampling), 7.4 (Bayes factors).
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from keras_jft.scaling.law.families import LAWS

# Variance of the curve about its law, divided by the noise variance of a run.
RATIOS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3)
FLOOR = 0.003  # Residuals below this share of the rise favor no law.
DRAWS = 8_000
FLAT = 1e-6  # A basis that rises by less is flat over the sizes.


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Lines through the size means, one for each shape and ratio.

    Attributes:
        family: The `Family`.
        shapes: `(k, q)` shape parameters.
        first: `(k,)` value of the basis at the smallest size.
        rise: `(k,)` rise of the basis from the smallest size to the largest.
        ratio: `(k,)` variance of the deviation divided by that of the noise.
        log_evidence: `(k,)` log marginal likelihood, prior included.
        ab: `(k, 2)` intercept and slope of the line in z, the basis scaled to
            0..1 over the sizes.
        gram: `(k, 3)` sums over sizes of `w`, `w z` and `w z^2`.
        noise: `(k,)` estimate of the noise variance s.
        df: Degrees of freedom of that estimate.
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
    """Return the `Grid` of one family.

    Args:
        family: A value of `LAWS`.
        data: An `Evidence`.
        shown: Number of sizes, smallest first, that the fit sees; the basis is
            always scaled over all sizes. None means all.
    """
    # Step 1: an even grid over the whole range of shapes.
    box = family.box(data.sizes[-1] / data.sizes[0])
    shapes = family.shapes(box)
    grid = _grid(family, shapes, np.zeros(len(shapes)), data, shown)
    if not len(box):
        return grid
    # Step 2: half as many again, concentrated around the best fit.
    proposal = _about_best(grid, box, data, shown)
    rng = np.random.default_rng(0)
    logs = np.vstack(
        [
            np.log(shapes),
            proposal.rvs(len(shapes) // 2, rng).reshape(-1, len(box)),
        ]
    )
    # Step 3: weight each shape by prior density over sampling density, so that
    # sums over the shapes still average over the prior (equation 11).
    inside = ((logs >= box[:, 0]) & (logs <= box[:, 1])).all(axis=1)
    even = 1 / np.prod(np.ptp(box, axis=1))
    share = len(shapes) / len(logs)
    density = share * even + (1 - share) * proposal.pdf(logs)
    log_weights = np.where(inside, np.log(even / density), -np.inf)
    logs = np.clip(logs, box[:, 0], box[:, 1])
    return _grid(family, np.exp(logs), log_weights, data, shown)


def _about_best(grid, box, data, shown):
    """Return a t distribution around the least-squares shape.

    Precise data leave only a thin sheet of plausible shapes, which an even grid
    would miss.
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
    # Gauss-Newton: the precision of the log shape at the least-squares fit.
    noise = found.residuals @ found.residuals / len(sizes)
    noise = min(max(noise, 1e-12), grid.noise[best])
    precision = found.slopes.T @ found.slopes / noise
    # At most as wide as the box, even if the data say little about a shape.
    precision += np.diag(4 / np.ptp(box, axis=1) ** 2)
    return stats.multivariate_t(
        np.log(found.shape),
        2 * np.linalg.inv(precision),
        df=4,
        # Runs exactly on a law leave a sheet thinner than rounding errors.
        allow_singular=True,
    )


def _grid(family, shapes, log_weights, data, shown):
    """Return the `Grid` of shapes whose prior weights are 1 on average."""
    r = data.sizes / data.sizes[0]
    count = len(shapes)
    basis = family.columns(r, shapes)
    # A shape that is flat over all sizes cannot explain any rise: drop it.
    rises = basis[:, -1] - basis[:, 0] > FLAT
    shapes, basis, log_weights = (
        array[rises] for array in (shapes, basis, log_weights)
    )
    # Scale the basis to 0..1 over the sizes; the prior is uniform on it.
    rise = basis[:, -1] - basis[:, 0]
    z = ((basis - basis[:, :1]) / rise[:, None])[:, :shown]
    means, counts = data.means[:shown], data.counts[:shown]
    runs = counts.sum()
    # With one run per size, noise and deviation cannot be told apart.
    ratios = RATIOS if runs > len(counts) else RATIOS[:1]
    parts = [_lines(z, means, counts, ratio) for ratio in ratios]
    ab, gram, squares, log_density = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    # Equation 9: residuals of the means, scatter within sizes, and the floor.
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
        # Equation 10; then the prior weight of each shape and ratio.
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
    """Fit a line to the size means for each row of `z` (equations 7 and 8).

    Returns:
        `ab`, `gram` and the weighted sum of squared residuals, and the part of
        the log likelihood that depends on the weights alone.
    """
    w = 1 / (ratio + 1 / counts)
    total, first, second = w.sum(), z @ w, z**2 @ w
    cross, mean = z @ (w * means), w @ means
    # Not below rounding errors: a shape may map two sizes to the same z.
    determinant = np.maximum(total * second - first**2, 1e-12 * total**2)
    b = (total * cross - first * mean) / determinant
    a = (mean - b * first) / total
    squares = (means - a[:, None] - b[:, None] * z) ** 2 @ w
    second = (determinant + first**2) / total
    gram = np.stack([np.full_like(first, total), first, second], axis=1)
    # The ratio only changes the variance of the mean, from s / n to s / w.
    log_density = np.full_like(first, 0.5 * np.log(w / counts).sum())
    return np.stack([a, b], axis=1), gram, squares, log_density


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Posterior:
    """Draws of curves, `score = a + b g(r; shape)` (equation 1).

    Attributes:
        smallest: The smallest size.
        ab: `(n, 2)` intercepts and slopes.
        members: `{law name: (places, shapes)}`: the positions `(n',)` of the
            draws from that family, and their shapes `(n', q)`.
        noise: `(n,)` variance of runs of one size.
        deviation: `(n,)` variance of sizes about the curve.
        standard: `(n,)` standard normal numbers, the noise of a new run.
    """

    smallest: float
    ab: np.ndarray
    members: dict
    noise: np.ndarray
    deviation: np.ndarray
    standard: np.ndarray

    def curves(self, x):
        """Return the `(sizes, n)` scores of the drawn curves at sizes `x`."""
        r = np.asarray(x, np.float64).reshape(-1, 1) / self.smallest
        basis = np.empty((len(r), len(self.ab)))
        for name, (places, shapes) in self.members.items():
            basis[:, places] = LAWS[name].basis(r, *shapes.T)
        return self.ab[:, 0] + self.ab[:, 1] * basis

    def runs(self, x):
        """Return `(sizes, n)` scores of one new run per curve (equation 15)."""
        return self.curves(x) + self.standard * np.sqrt(
            self.noise + self.deviation
        )


def draw(grids, log_weights, bounds, smallest, seed=0):
    """Draw curves from several families, each in proportion to its probability.

    Args:
        grids: `{law name: Grid}`.
        log_weights: `{law name: log probability}`, up to a constant, before
            curves that end out of bounds are taken off.
        bounds: Lowest and highest possible score.
        smallest: The smallest size.
        seed: Seed of the draws: the same evidence gives the same numbers.

    Returns:
        A `Posterior`, and `{law name: probability}`, which sum to 1.
    """
    rng = np.random.default_rng(seed)
    drawn = {name: _draw_one(grids[name], bounds, rng) for name in grids}
    # Equation 12: the share of curves within bounds belongs to the prior.
    logs = np.array([log_weights[n] + np.log(drawn[n].share) for n in drawn])
    weights = np.exp(logs - logs.max())
    weights = dict(zip(drawn, (weights / weights.sum()).tolist(), strict=True))
    # Put the first draws of each family one after another, as many as its
    # probability is worth.
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
    """`DRAWS` draws from one family, and the share that lies within bounds."""

    shapes: np.ndarray
    ab: np.ndarray
    noise: np.ndarray
    ratio: np.ndarray
    share: float


def _draw_one(grid, bounds, rng):
    """Return the `_Drawn` of one family, from the inside out."""
    # Step 1: shapes and ratios, by their posterior probability (equation 11).
    chance = np.exp(grid.log_evidence - grid.log_evidence.max())
    places = rng.choice(len(chance), size=2 * DRAWS, p=chance / chance.sum())
    # Step 2: the noise, scaled inverse chi-squared (equation 13).
    noise = grid.noise[places] * grid.df / rng.chisquare(grid.df, len(places))
    # Step 3: the slope of the line, then its start given that (equation 14).
    total, first, second = grid.gram[places].T
    start, rise = grid.ab[places].T
    off = rng.standard_normal(len(places))
    off *= np.sqrt(noise * total / (total * second - first**2))
    rise = rise + off
    start = start - first / total * off
    start += np.sqrt(noise / total) * rng.standard_normal(len(places))
    # Step 4: from the scaled basis back to that of equation 1.
    b = rise / grid.rise[places]
    a = start - b * grid.first[places]
    # Step 5: reject curves that would end out of bounds.
    kept = np.arange(len(a))
    if grid.family.saturates:
        out = abs(a - np.clip(a, *bounds))
        # If under 1% end within the bounds, keep those that miss them least.
        kept = np.flatnonzero(out <= np.quantile(out, 0.01))
    return _Drawn(
        shapes=grid.shapes[places][np.resize(kept, DRAWS)],
        ab=np.stack([a, b], axis=1)[np.resize(kept, DRAWS)],
        noise=noise[np.resize(kept, DRAWS)],
        ratio=grid.ratio[places][np.resize(kept, DRAWS)],
        share=len(kept) / len(places),
    )
