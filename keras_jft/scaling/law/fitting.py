"""Fit scaling laws to the rows of a study, and weigh them.

Equation numbers are those of `docs/forecasts.md`.
"""

from collections.abc import Sequence
from typing import Any, overload

from scipy import stats

from keras_jft import checks
from keras_jft.scaling.law import evidence, posterior
from keras_jft.scaling.law import prior as prior_lib
from keras_jft.scaling.law.families import LAWS
from keras_jft.scaling.law.law import Candidate, Law
from keras_jft.scaling.rows import units
from keras_jft.scaling.rows.table import Rows, RowsLike

FEWEST_SIZES = 2  # A single size shows no rise.
SIZES_TO_DECIDE = 4  # Fewer cannot show that a curve bends.


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

    Predictions average over laws, shapes, deviations and noise, each weighed by
    the runs and by what is known of other learning curves, as
    `docs/forecasts.md` explains. So any two sizes will do: the fewer there
    are, the wider the intervals.

    Rows of failed runs and of random initialization (`num_examples` 0) are
    left out; the law's `evidence.left_out` counts them.

    Args:
        rows: Rows of one task and mode, a list of dicts, a DataFrame or `Rows`.
        x: The column of sizes, such as `"num_examples"`.
        y: The column of scores, such as `"top1"`.
        by: Column or columns that tell curves apart, such as
            `["task", "mode"]`, or None for a single curve.
        bounds: Lowest and highest possible score. None: (0, 1) if every
            score is at most 1, else (0, 100); for a column named like a loss,
            0 to infinity.
        laws: Names in `LAWS`, or None for all.
        direction: `"max"` if higher scores are better, `"min"` if lower
            scores are, as for a loss or an error. None: `"max"`, unless
            the name of the column or the scores suggest otherwise: then it
            must be given.

    Returns:
        A `Law`; with `by`, a dict of laws keyed by the values of those
        columns.

    Raises:
        ValueError: If rows of several curves are mixed, there is only one
            size, a law is unknown, a size or a score is not a usable number, or
            it is unclear whether lower scores are better.

    Example:
        >>> rows = [
        ...     {"num_examples": n, "seed": seed, "top1": top1 + 0.01 * seed}
        ...     for n, top1 in [(1e2, 0.1), (1e3, 0.2), (1e4, 0.3), (1e5, 0.4)]
        ...     for seed in (0, 1)
        ... ]
        >>> law = fit(rows, x="num_examples", y="top1")
        >>> law.name
        'm4'
        >>> print(f"{law.predict(1e6):.2f}")
        0.47
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
        curve: fit_evidence(data, bounds, names, direction)
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


def fit_evidence(data, bounds, names=tuple(LAWS), direction="max", prior=None):
    """Return the `Law` of one curve.

    Args:
        data: An `Evidence`.
        bounds: As for `fit`.
        names: Names in `LAWS`.
        direction: `"max"` or `"min"`.
        prior: A `Prior`; None: the one that is learned.
    """
    if len(data.sizes) < FEWEST_SIZES:
        raise ValueError(
            f"A curve needs >= {FEWEST_SIZES} sizes; more seeds of one size do "
            f"not show how it continues. Received {data.x_name}="
            f"{data.sizes.tolist()}. Left out: {data.left_out or 'nothing'}."
        )
    bounds = units.bounds_of(data.y, bounds, data.y_name, direction)
    found = posterior.integrate(
        posterior.scaled(data), names, prior or prior_lib.learned()
    )
    draws, odds = posterior.draw(found, bounds)
    return Law(
        name=max(odds, key=odds.get),
        evidence=data,
        bounds=bounds,
        direction=direction,
        posterior=draws,
        candidates={
            name: _candidate(name, found, data, odds[name]) for name in names
        },
    )


def _candidate(name, found, data, probability):
    """Return the `Candidate` of one law: its least-squares fit.

    It starts from the most probable shape, and predicts nothing.
    """
    family, runs = LAWS[name], found.runs
    best = found.log_weights(name).max(axis=(0, 1)).argmax()
    shape, (a, b) = family.refine(
        data.sizes / data.sizes[0],
        runs.means,
        data.counts,
        found.lines[name].shapes[best],
    )
    a, b = a * runs.unit + runs.center, b * runs.unit
    values = family.published(a, b, shape, data.sizes[0])
    return Candidate(
        parameters={
            k: float(v) for k, v in zip(family.names, values, strict=True)
        },
        probability=probability,
        theta=(float(a), float(b), *shape.tolist()),
    )
