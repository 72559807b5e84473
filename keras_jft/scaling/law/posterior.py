"""Posterior distribution of curves, as draws that agree with the runs.

`docs/forecasts.md` derives this; equation numbers below are those of that page.

A score is a law, plus a smooth deviation from it, plus the noise of a run
(equation 1). Given the shape of the law and the kind of deviation and noise,
everything else is normal, so it is integrated out in closed form: the
intercept and slope of the law, the deviation and the variance of the noise.
What is left is a sum over families, shapes and kinds, each weighed by the prior
(`prior.py`) and by how likely it makes the runs.

Everything is computed in units of the rise over the sizes, so that neither the
unit of the scores nor that of the sizes matters.

Shapes: m sizes, k shapes of a family, q parameters per shape, s kinds of noise
and deviation ("structures"), c cells of the prior, n draws, p places.

References:
    Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning",
    section 2.7 (a process plus a parametric mean).
    Gelman et al. 2013, "Bayesian Data Analysis", sections 14.2 (regression
    with a uniform prior), 10.4 (importance sampling), 7.4 (Bayes factors).
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from scipy import linalg, special, stats

from keras_jft.scaling.law.families import LAWS
from keras_jft.scaling.law.gaussian import symmetric_root

DRAWS = 4_000
LENGTH = 4.0  # Decades over which a deviation changes.
FLAT = 1e-6  # A basis that rises by less is flat over the sizes.
REACH = 10.0  # Curves stay within bounds up to this many times the largest.
# Places at which deviations are drawn, in decades from the ends of the sizes.
KNOTS_BELOW, KNOTS_ABOVE, KNOTS_STEP = 2.0, 6.0, 0.25


class Scaled(NamedTuple):
    """Runs of one curve, in units of the rise over the sizes.

    Attributes:
        smallest: The smallest size.
        decades: `(m,)` log10 of size / smallest.
        means: `(m,)` mean scores.
        counts: `(m,)` number of runs.
        within: `(m,)` squared deviations of runs from their means, summed.
        shown: Number of sizes, smallest first, that set the unit.
        center: The score that counts as 0.
        unit: The difference of scores that counts as 1.
        others: `(decades, counts, within)` of other curves with the same noise.
    """

    smallest: float
    decades: np.ndarray
    means: np.ndarray
    counts: np.ndarray
    within: np.ndarray
    shown: int
    center: float
    unit: float
    others: tuple = ()


class Structures(NamedTuple):
    """Kinds of noise and deviation, and what they make of the runs.

    Attributes:
        ratio: `(s,)` variance of the deviation by that of a run.
        shared: `(s,)` part of a run's variance that its size shares.
        falls: `(s,)` exponent by which the variance falls with size.
        whiten: `(s, m, m)` inverse Cholesky factors of the covariance of the
            means, in units of the variance of a run at the smallest size.
        log_density: `(s,)` part of the log likelihood that neither the law
            nor the variance changes.
        within: `(s,)` weighed sum of squares within sizes.
    """

    ratio: np.ndarray
    shared: np.ndarray
    falls: np.ndarray
    whiten: np.ndarray
    log_density: np.ndarray
    within: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Lines:
    """Lines through the means of one family, by structure and shape.

    Attributes:
        shapes: `(k, q)` shape parameters.
        log_measure: `(k,)` minus the log density with which they were chosen,
            and the log of their number.
        first: `(k,)` value of the basis at the smallest size.
        rise: `(k,)` rise of the basis over the sizes.
        a: `(s, k)` intercept of the line in z, the basis scaled to 0..1.
        b: `(s, k)` slope of that line.
        gram: `(s, 3, k)` elements of its 2 x 2 precision matrix.
        squares: `(s, k)` weighed sum of squared residuals.
        log_density: `(s, k)` log likelihood but for the squares.
    """

    shapes: np.ndarray
    log_measure: np.ndarray
    first: np.ndarray
    rise: np.ndarray
    a: np.ndarray
    b: np.ndarray
    gram: np.ndarray
    squares: np.ndarray
    log_density: np.ndarray

    @property
    def determinant(self):
        """`(s, k)` determinants of the precision matrices."""
        total, first, second = self.gram.swapaxes(0, 1)
        return total * second - first**2


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Integrals:
    """The closed-form part of the posterior.

    Attributes:
        runs: The `Scaled` runs.
        structures: The `Structures`.
        lines: `{law name: Lines}`.
        prior: The `Prior`.
    """

    runs: Scaled
    structures: Structures
    lines: dict
    prior: object

    def cells(self):
        """Return the structures of each cell of the prior, and their odds.

        Returns:
            Two arrays of shape (c, s / number of ratios): positions in
            `structures`, and log prior probabilities.
        """
        prior, kinds = self.prior, self.structures
        places = np.stack(
            [np.flatnonzero(kinds.ratio == ratio) for ratio in prior.ratio]
        )
        odds = np.array([prior.falls[value] for value in kinds.falls])
        # With one run per size, noise that a size shares cannot be told apart.
        if (self.runs.counts > 1).any():
            odds = odds * [prior.shared[value] for value in kinds.shared]
        return places, np.log(odds)[places] + np.log(prior.cells)[:, None]

    def log_weights(self, name):
        """Return the log joint probabilities of one family (equation 14).

        Returns:
            An array `(c, s / number of ratios, k)`.
        """
        lines, prior = self.lines[name], self.prior
        places, log_prior = self.cells()
        df, guess = (v[:, None, None] for v in (prior.df, self.guess))
        total = df + self.freedom
        return (
            lines.log_density[places]
            + log_prior[..., None]
            + lines.log_measure
            + prior.log_density(name, lines.shapes)
            + np.log(prior.families[name])
            + special.gammaln(total / 2)
            - special.gammaln(df / 2)
            + df / 2 * np.log(guess)
            - total / 2 * np.log(lines.squares[places] + guess)
        )

    @property
    def guess(self):
        """`(c,)` sum of squares that the prior adds (equation 9)."""
        return self.prior.df * self.prior.noise**2

    @property
    def freedom(self):
        """Degrees of freedom of the runs themselves."""
        others = sum((counts - 1).sum() for _, counts, _ in self.runs.others)
        return float(self.runs.counts.sum() - 2 + others)


def scaled(data, shown=None, others=()):
    """Return the `Scaled` runs of an `Evidence`.

    Args:
        data: An `Evidence`.
        shown: Number of sizes, smallest first, that set the unit; None for
            all.
        others: `Evidence` of other curves with the same noise.
    """
    shown = len(data.sizes) if shown is None else shown
    center = float(data.means[:shown].mean())
    unit = np.ptp(data.means[:shown])
    if not unit:  # All scores are equal: any small unit will do.
        unit = 1e-3 * abs(center) or 1.0
    return Scaled(
        smallest=float(data.sizes[0]),
        decades=np.log10(data.sizes / data.sizes[0]),
        means=(data.means - center) / unit,
        counts=data.counts,
        within=data.within / unit**2,
        shown=shown,
        center=center,
        unit=float(unit),
        others=tuple(
            (np.log10(o.sizes / data.sizes[0]), o.counts, o.within / unit**2)
            for o in others
        ),
    )


def integrate(runs, names, prior, focus=True):
    """Return the `Integrals` over all but families, shapes and structures.

    Args:
        runs: `Scaled` runs.
        names: Names in `LAWS`.
        prior: A `Prior`.
        focus: Whether to add shapes where the posterior is large.
    """
    structures = _structures(runs, prior)
    lines = {}
    for name in names:
        family = LAWS[name]
        even = family.shapes
        density = np.full(len(even), -np.log(np.ptp(family.box, axis=1)).sum())
        lines[name] = _lines(name, even, density, runs, structures)
    found = Integrals(
        runs=runs, structures=structures, lines=lines, prior=prior
    )
    if focus:
        for name in names:
            if len(LAWS[name].box):
                shapes, density = _focused(name, found)
                lines[name] = _lines(name, shapes, density, runs, structures)
    return found


def kernel(decades, others):
    """Return the covariance of a deviation of variance 1 (equation 7).

    Matern's, of smoothness 5/2: the deviation bends, without kinks.
    """
    away = np.abs(decades[:, None] - others) * np.sqrt(5) / LENGTH
    return (1 + away + away**2 / 3) * np.exp(-away)


def _structures(runs, prior):
    """Return the `Structures` of a prior for some runs."""
    shares = prior.shared if (runs.counts > 1).any() else (0.0,)
    found = []
    smooth = kernel(runs.decades, runs.decades)
    # What seeds say of the noise, those of other curves included.
    seeds = (runs.decades, runs.counts, runs.within), *runs.others
    decades, counts, within = map(np.concatenate, zip(*seeds, strict=True))
    for ratio in np.unique(prior.ratio):
        for shared in shares:
            for falls in prior.falls:
                # Equations 6 and 10: the covariance of the means.
                run = 10 ** (-falls * runs.decades)
                own, count = 1 - shared, runs.counts
                root = linalg.cholesky(
                    np.diag(run * (own / count + shared)) + ratio * smooth,
                    lower=True,
                )
                each = 10 ** (-falls * decades)
                scatter = (counts - 1) * np.log(own * each)
                found.append(
                    (
                        ratio,
                        shared,
                        falls,
                        linalg.solve_triangular(
                            root, np.eye(len(root)), lower=True
                        ),
                        -np.log(np.diag(root)).sum() - scatter.sum() / 2,
                        (within / each).sum() / own,
                    )
                )
    return Structures(*map(np.array, zip(*found, strict=True)))


def _lines(name, shapes, density, runs, structures):
    """Return the `Lines` of shapes drawn with some log density (`(k,)`)."""
    family, last = LAWS[name], runs.shown - 1
    r = 10**runs.decades
    basis = family.columns(r, shapes)
    # A shape that is flat over the sizes cannot explain any rise: drop it.
    if len(family.box):
        flat = FLAT * min(1.0, runs.decades[last])
        rises = basis[:, last] - basis[:, 0] > flat
        shapes, basis, density = (
            array[rises]
            for array in (shapes, basis, density + np.log(len(rises)))
        )
    rise = basis[:, last] - basis[:, 0]
    z = ((basis - basis[:, :1]) / rise[:, None]).T
    ones = structures.whiten.sum(axis=2)
    means = structures.whiten @ runs.means
    total = np.broadcast_to((ones**2).sum(1)[:, None], (len(ones), len(rise)))
    first, second, cross = np.empty((3, *total.shape))
    for place, whiten in enumerate(structures.whiten):
        white = whiten @ z
        first[place] = ones[place] @ white
        cross[place] = means[place] @ white
        second[place] = np.einsum("mk,mk->k", white, white)
    # Equations 11 and 12: weighted least squares.
    mean = (ones * means).sum(1)[:, None]
    determinant = total * second - first**2
    # Not below rounding errors: a shape may map two sizes to the same z.
    determinant = np.maximum(determinant, 1e-12 * total * second)
    b = (total * cross - first * mean) / determinant
    a = (mean - b * first) / total
    squares = (means**2).sum(1)[:, None] - a * mean - b * cross
    return Lines(
        shapes=shapes,
        log_measure=-density,
        first=basis[:, 0],
        rise=rise,
        a=a,
        b=b,
        gram=np.stack([total, first, (determinant + first**2) / total], axis=1),
        squares=np.maximum(squares, 0) + structures.within[:, None],
        log_density=(structures.log_density[:, None] - np.log(determinant) / 2),
    )


def _focused(name, found):
    """Return shapes, half of them where the posterior is large.

    Precise runs leave only a thin sheet of plausible shapes, which an even grid
    would miss (equation 15).

    Returns:
        `(k, q)` shapes and the `(k,)` log density with which they were drawn.
    """
    family, lines = LAWS[name], found.lines[name]
    low, high = family.box.T
    log_weights = special.logsumexp(found.log_weights(name), axis=(0, 1))
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    logs = np.log(lines.shapes)
    middle = weights @ logs
    spread = (logs - middle).T * weights @ (logs - middle)
    # Not a point, where one shape of the grid has all the weight.
    spread += np.diag(((high - low) / len(logs) ** (1 / len(low))) ** 2)
    proposal = stats.multivariate_t(middle, spread, df=4)
    rng = np.random.default_rng(0)
    even = np.log(family.shapes)
    far = np.sqrt(rng.chisquare(4, (len(even), 1)) / 4)
    more = rng.standard_normal((len(even), len(low))) @ symmetric_root(spread)
    more = middle + more / far
    more = more[((more >= low) & (more <= high)).all(axis=1)]
    # Draws that leave the ranges are dropped: the others are that much denser.
    inside = max(len(more), 1) / len(even)
    logs = np.vstack([even, more])
    share = len(even) / len(logs)
    density = np.log(
        share / np.prod(high - low)
        + (1 - share) / inside * np.atleast_1d(proposal.pdf(logs))
    )
    return np.exp(logs), density


# === Draws ===


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Posterior:
    """Draws of curves, a law and a deviation from it (equation 1).

    Attributes:
        smallest: The smallest size.
        ab: `(n, 2)` intercepts and slopes.
        members: `{law name: (places, shapes, which)}`: the positions `(n',)`
            of the draws from that family, its distinct shapes, and which of
            them each draw has.
        knots: `(p,)` places of the deviations, log10 of size / smallest.
        bends: `(p, n)` deviations there; constant beyond them.
        noise: `(n,)` variance of runs of the smallest size.
        deviation: `(n,)` variance that all runs of a size share, there.
        falls: `(n,)` both are proportional to size^-falls.
        standard: `(n,)` standard normal numbers, the noise of a new run.
    """

    smallest: float
    ab: np.ndarray
    members: dict
    knots: np.ndarray
    bends: np.ndarray
    noise: np.ndarray
    deviation: np.ndarray
    falls: np.ndarray
    standard: np.ndarray

    def curves(self, x):
        """Return the `(sizes, n)` scores of the drawn curves at sizes `x`."""
        r = np.asarray(x, np.float64).reshape(-1, 1) / self.smallest
        basis = np.empty((len(r), len(self.ab)))
        for name, (places, shapes, which) in self.members.items():
            basis[:, places] = LAWS[name].basis(r, *shapes.T)[:, which]
        decades = np.log10(r[:, 0])
        bend = _between(self.knots, self.bends, decades)
        return self.ab[:, 0] + self.ab[:, 1] * basis + bend

    def runs(self, x):
        """Return `(sizes, n)` scores of one new run per curve (equation 20)."""
        return self.curves(x) + self.standard * np.sqrt(
            (self.noise + self.deviation) * self.scatter(x)
        )

    def scatter(self, x):
        """Return `(sizes, n)` variances at `x` by those at the smallest."""
        r = np.asarray(x, np.float64).reshape(-1, 1) / self.smallest
        return r**-self.falls


def draw(found, bounds, seed=0):
    """Draw curves from all families, each in proportion to its probability.

    Args:
        found: The `Integrals`.
        bounds: Lowest and highest possible score.
        seed: Seed of the draws: the same runs give the same numbers.

    Returns:
        A `Posterior`, and `{law name: probability}`, which sum to 1.
    """
    rng = np.random.default_rng(seed)
    names = list(found.lines)
    weights = {name: found.log_weights(name) for name in names}
    flat = np.concatenate([weights[name].ravel() for name in names])
    chance = np.exp(flat - flat.max())
    ends = np.cumsum([weights[name].size for name in names])
    limits = (np.array(bounds) - found.runs.center) / found.runs.unit
    parts = []
    # Reject curves that leave the bounds, and draw again until enough are kept
    # (equation 16); if next to none stays within, keep those that miss least.
    for _ in range(4):
        picks = rng.choice(len(flat), size=2 * DRAWS, p=chance / chance.sum())
        family = np.searchsorted(ends, picks, side="right")
        for place, name in enumerate(names):
            own = picks[family == place] - (ends[place] - weights[name].size)
            if len(own):
                where = np.unravel_index(own, weights[name].shape)
                part = _drawn(found, name, *where, limits, rng)
                parts.append(part._replace(family=np.full(len(own), place)))
        drawn = Drawn(
            *(np.concatenate(v, axis=-1) for v in zip(*parts, strict=True))
        )
        kept = np.flatnonzero(drawn.misses <= 0)
        if len(kept) >= DRAWS:
            break
    if len(kept) < DRAWS / 10:
        kept = np.argsort(drawn.misses, kind="stable")[:DRAWS]
    # Families follow each other: take some of each, none twice if possible.
    kept = np.sort(np.resize(rng.permutation(kept), DRAWS))
    return _posterior(found, names, drawn, kept, rng)


class Drawn(NamedTuple):
    """Drawn curves, in scaled units; the last axis is that of the draws."""

    family: np.ndarray
    cell: np.ndarray
    structure: np.ndarray
    shape: np.ndarray
    a: np.ndarray
    b: np.ndarray
    variance: np.ndarray
    bends: np.ndarray
    misses: np.ndarray


def _drawn(found, name, cell, kind, shape, limits, rng):
    """Return the `Drawn` curves of one family, from the outside in.

    Args:
        found: The `Integrals`.
        name: The family.
        cell: `(n,)` cells of the prior.
        kind: `(n,)` which of a cell's structures.
        shape: `(n,)` which of the family's shapes.
        limits: Lowest and highest possible score.
        rng: NumPy's generator.
    """
    lines, runs = found.lines[name], found.runs
    structure = found.cells()[0][cell, kind]
    total, first, _ = lines.gram[structure, :, shape].T
    determinant = lines.determinant[structure, shape]
    # The variance of a run, scaled inverse chi-squared (equation 17).
    variance = lines.squares[structure, shape] + found.guess[cell]
    variance /= rng.chisquare(found.prior.df[cell] + found.freedom)
    # The slope of the line, then its start given that (equation 18).
    off = rng.standard_normal(len(cell)) * np.sqrt(
        variance * total / determinant
    )
    b = lines.b[structure, shape] + off
    a = lines.a[structure, shape] - first / total * off
    a += np.sqrt(variance / total) * rng.standard_normal(len(cell))
    # From the scaled basis back to that of equation 1.
    b = b / lines.rise[shape]
    a = a - b * lines.first[shape]
    # What the sizes say of the deviation, and its draws (equation 19).
    basis = LAWS[name].columns(10**runs.decades, lines.shapes)[shape]
    rest = runs.means - a[:, None] - b[:, None] * basis
    bends = np.zeros((len(_knots(runs)), len(cell)))
    for place in np.unique(structure):
        own = structure == place
        bends[:, own] = _bends(
            found, place, rest[own], np.sqrt(variance[own]), rng
        )
    # How far the curve leaves the bounds: where it ends, and at ten times.
    at = runs.decades[runs.shown - 1] + np.log10(REACH)
    there = LAWS[name].columns(np.array([10**at]), lines.shapes)[shape, 0]
    ten = a + b * there + _between(_knots(runs), bends, np.array([at]))[0]
    checked = [ten, a] if LAWS[name].saturates else [ten]
    misses = [np.abs(v - np.clip(v, *limits)) for v in checked]
    return Drawn(
        family=None,
        cell=cell,
        structure=structure,
        shape=shape,
        a=a,
        b=b,
        variance=variance,
        bends=bends,
        misses=np.max(misses, axis=0),
    )


def _bends(found, structure, rest, deviation, rng):
    """Return `(p, n)` deviations at the knots, given residuals `(n, m)`."""
    knots = _knots(found.runs)
    ratio = found.structures.ratio[structure]
    if not ratio:
        return np.zeros((len(knots), len(rest)))
    whiten = found.structures.whiten[structure]
    across = ratio * kernel(knots, found.runs.decades) @ whiten.T
    spread = ratio * kernel(knots, knots) - across @ across.T
    noise = rng.standard_normal((len(knots), len(rest))) * deviation
    return across @ (whiten @ rest.T) + symmetric_root(spread) @ noise


def _knots(runs):
    """Return the places of deviations, in decades from the smallest size."""
    low, high = -KNOTS_BELOW, runs.decades[-1] + KNOTS_ABOVE
    # No more than 100, however far apart the sizes are.
    return np.linspace(low, high, min(round((high - low) / KNOTS_STEP), 100))


def _between(knots, values, at):
    """Interpolate `(p, n)` values linearly; constant beyond the knots."""
    place = np.interp(at, knots, np.arange(len(knots)))
    left = np.minimum(place.astype(int), len(knots) - 2)
    part = (place - left)[:, None]
    return (1 - part) * values[left] + part * values[left + 1]


def _posterior(found, names, drawn, kept, rng):
    """Return the `Posterior` of the draws kept, and the share of each law."""
    runs, structures = found.runs, found.structures
    kept = kept[np.argsort(drawn.family[kept], kind="stable")]
    family, shape = drawn.family[kept], drawn.shape[kept]
    members = {}
    for place, name in enumerate(names):
        places = np.flatnonzero(family == place)
        if len(places):
            distinct, which = np.unique(shape[places], return_inverse=True)
            members[name] = places, found.lines[name].shapes[distinct], which
    shared = structures.shared[drawn.structure[kept]]
    variance = drawn.variance[kept] * runs.unit**2
    posterior = Posterior(
        smallest=runs.smallest,
        ab=np.stack(
            [
                drawn.a[kept] * runs.unit + runs.center,
                drawn.b[kept] * runs.unit,
            ],
            axis=1,
        ),
        members=members,
        knots=_knots(runs),
        bends=drawn.bends[:, kept] * runs.unit,
        noise=variance * (1 - shared),
        deviation=variance * shared,
        falls=structures.falls[drawn.structure[kept]],
        standard=rng.standard_normal(DRAWS),
    )
    share = np.bincount(family, minlength=len(names)) / len(kept)
    return posterior, dict(zip(names, share.tolist(), strict=True))
