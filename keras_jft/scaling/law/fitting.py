"""Fit scaling laws to the rows of a study, and weigh them.

Equation numbers are those of `docs/forecasts.md`.
"""

import math
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from scipy import special, stats

from keras_jft import checks
from keras_jft.scaling.law import evidence, posterior
from keras_jft.scaling.law.families import LAWS
from keras_jft.scaling.law.law import Candidate, Law
from keras_jft.scaling.rows import units
from keras_jft.scaling.rows.table import Rows, RowsLike

# The log-linear law has two parameters; two more sizes show how well it fits.
FEWEST_SIZES = min(family.fewest_sizes for family in LAWS.values())
HELD_OUT = 1 / 3  # Share of the sizes, largest first, that are held out.


@overload
def fit(
    rows: RowsLike,
    x: str,
    y: str,
    by: None = None,
    bounds: tuple[float, float] | None = None,
    laws: Sequence[str] | None = None,
    *,
    direction: str | None = None,
) -> Law: ...


@overload
def fit(
    rows: RowsLike,
    x: str,
    y: str,
    by: str | Sequence[str],
    bounds: tuple[float, float] | None = None,
    laws: Sequence[str] | None = None,
    *,
    direction: str | None = None,
) -> dict[Any, Law]: ...


def fit(
    rows: RowsLike,
    x: str,
    y: str,
    by: str | Sequence[str] | None = None,
    bounds: tuple[float, float] | None = None,
    laws: Sequence[str] | None = None,
    *,
    direction: str | None = None,
) -> Law | dict[Any, Law]:
    """Fit scaling laws to the rows of a study, and weigh them.

    Every law is fitted that has enough sizes (two more than it has
    parameters); the others are listed in `candidates` with the number of sizes
    they lack. Predictions average over laws, shapes and noise, as
    `docs/forecasts.md` explains.

    Rows of failed runs and of random initialization (`num_examples` 0) are
    left out; the law's `evidence.left_out` counts them.

    Args:
        rows: Rows of one task and mode, a list of dicts, a DataFrame or `Rows`.
        x: The column of sizes, such as `"num_examples"`.
        y: The column of scores, such as `"top1"`.
        by: Column or columns that tell curves apart, such as
            `["task", "mode"]`, or None for a single curve.
        bounds: Lowest and highest possible score. None means (0, 1) if every
            score is at most 1, else (0, 100); for a column named like a loss,
            0 to infinity.
        laws: Names in `LAWS`, or None for all.
        direction: `"max"` if higher scores are better, `"min"` if lower
            scores are, as for a loss or an error. None means `"max"`, unless
            the name of the column or the scores suggest otherwise: then it
            must be given.

    Returns:
        A `Law`; with `by`, a dict of laws keyed by the values of those
        columns.

    Raises:
        ValueError: If rows of several curves are mixed, there are too few
            sizes for any law, a law is unknown, a size or a score is not a
            usable number, or it is unclear whether lower scores are better.

    Example:
        >>> rows = [
        ...     {"num_examples": n, "seed": seed, "top1": top1 + 0.01 * seed}
        ...     for n, top1 in [(1e2, 0.1), (1e3, 0.2), (1e4, 0.3), (1e5, 0.4)]
        ...     for seed in (0, 1)
        ... ]
        >>> law = fit(rows, x="num_examples", y="top1")
        >>> law.name
        'log_linear'
        >>> print(f"{law.predict(1e6):.1f}")
        0.5
    """
    names = _names(laws)
    rows = Rows(rows)
    gathered = {
        curve: evidence.gather(part, x, y)
        for curve, part in rows.curves(by).items()
    }
    curves = [(data.x, data.y) for data in gathered.values()]
    direction = units.direction_of(y, curves, direction, rows.metrics)
    fitted = {
        curve: _fit_one(data, bounds, names, direction)
        for curve, data in gathered.items()
    }
    return fitted[None] if by is None else fitted


def trend(rows: RowsLike, x: str, y: str) -> float:
    """Return the rank correlation (Spearman's) of `x` and `y` on one curve.

    Args:
        rows: Rows of one task and mode, a list of dicts, a DataFrame or `Rows`.
        x: The column of sizes.
        y: The column of scores.

    Returns:
        A number in [-1, 1]; 1 if the score rises with every step of size.

    Raises:
        ValueError: As `fit` does, but two sizes are enough.

    Example:
        >>> scores = {100: 0.1, 300: 0.3, 1_000: 0.2}
        >>> rows = [{"num_examples": n, "top1": scores[n]} for n in scores]
        >>> print(f"{trend(rows, x='num_examples', y='top1'):.1f}")
        0.5
    """
    rows = Rows(rows)
    rows.check_one_curve()
    data = evidence.gather(rows, x, y)
    if len(data.sizes) < 2:
        raise ValueError(
            "A trend needs >= 2 sizes. Received "
            f"{x}={data.sizes.tolist()}. Left out: {data.left_out or 'none'}."
        )
    return float(stats.spearmanr(data.x, data.y).statistic)


def _names(laws):
    """Return the names of the laws to fit, without repeats."""
    if laws is None:
        return tuple(LAWS)
    names = [laws] if isinstance(laws, str) else laws
    if not isinstance(names, (list, tuple)) or not names:
        raise ValueError(
            f"`laws` must be one or more of {list(LAWS)}, or None for all. "
            f"Received: laws={laws!r}."
        )
    for name in names:
        checks.one_of("laws", name, LAWS)
    return tuple(dict.fromkeys(names))


def _fit_one(data, bounds, names, direction):
    """Return the `Law` of one curve."""
    # Step 1: leave out the laws with too many parameters for these sizes.
    there = len(data.sizes)
    lacking = {n: LAWS[n].fewest_sizes - there for n in names}
    usable = [name for name in names if lacking[name] <= 0]
    if not usable:
        least = min(lacking, key=lacking.get)
        raise ValueError(
            f"Not identifiable: {lacking[least]} more size(s) for the law "
            f"{least!r}, which needs {LAWS[least].fewest_sizes}; more seeds of "
            "one size do not show how the curve continues. Received "
            f"{data.x_name}={data.sizes.tolist()}. Left out: "
            f"{data.left_out or 'nothing'}."
        )
    bounds = units.bounds_of(data.y, bounds, data.y_name, direction)
    # Step 2: integrate each law over its parameters (equations 6 to 11).
    grids = {n: posterior.grid_of(LAWS[n], data) for n in usable}
    held_out = {n: _held_out(grids[n], data) for n in usable}
    # Step 3: weigh the laws (equation 12), and draw curves from each.
    log_weights = {
        n: math.log(LAWS[n].prior) + _log_sum(grids[n].log_evidence)
        for n in usable
    }
    draws, weights = posterior.draw(grids, log_weights, bounds, data.sizes[0])
    # Step 4: the least-squares fits, which are reported but predict nothing.
    found = {
        n: _candidate(n, grids[n], data, held_out[n], weights[n])
        for n in usable
    }
    return Law(
        name=max(weights, key=weights.get),
        evidence=data,
        bounds=bounds,
        direction=direction,
        posterior=draws,
        candidates={
            n: found.get(n) or Candidate(more_sizes=lacking[n]) for n in names
        },
    )


def _held_out(grid, data):
    """Return the log density of the largest sizes given the smaller ones.

    The marginal likelihood of all sizes divided by that of the smaller ones
    (equation 20).
    """
    shown = len(data.sizes) - max(1, round(HELD_OUT * len(data.sizes)))
    before = posterior.grid_of(grid.family, data, shown)
    return _log_sum(grid.log_evidence) - _log_sum(before.log_evidence)


def _log_sum(logs):
    return float(special.logsumexp(logs))


def _candidate(name, grid, data, held_out, probability):
    """Return the `Candidate` of one fitted law: its least-squares fit."""
    family = LAWS[name]
    best = int(np.argmax(grid.log_evidence))
    weights = 1 / (grid.ratio[best] + 1 / data.counts)
    r = data.sizes / data.sizes[0]
    shape, (a, b), residuals, _ = family.refine(
        r, data.means, weights, grid.shapes[best], family.box(r[-1])
    )
    values = family.published(a, b, shape, data.sizes[0])
    return Candidate(
        parameters={
            k: float(v) for k, v in zip(family.names, values, strict=True)
        },
        aicc=_aicc(residuals, len(values)),
        held_out=held_out,
        probability=probability,
        theta=(float(a), float(b), *shape.tolist()),
    )


def _aicc(residuals, parameters):
    """Return AICc of the size means (Hurvich and Tsai 1989; equation 19)."""
    sizes = len(residuals)
    # Without a lower limit, rounding would choose among laws that fit exactly.
    square = max(float(residuals @ residuals) / sizes, 1e-16)
    correction = 2 * parameters * (parameters + 1) / (sizes - parameters - 1)
    return sizes * math.log(square) + 2 * parameters + correction
