"""Fit scaling laws to the rows of a study: rows, evidence, weighed laws.

Equation numbers are those of `docs/forecasts.md`.
"""

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from scipy import stats

from keras_jft import checks
from keras_jft.scaling.law import posterior
from keras_jft.scaling.law import prior as prior_lib
from keras_jft.scaling.law.families import LAWS
from keras_jft.scaling.law.law import Candidate, Evidence, Law
from keras_jft.scaling.rows import units
from keras_jft.scaling.rows.table import WITHIN_A_RUN, Rows, RowsLike

FEWEST_SIZES = 2  # A single size shows no rise.
SIZES_TO_DECIDE = 4  # Fewer cannot show that a curve bends.
MOST = 1e100  # Squares of scores up to this can be summed as floats.


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
    shared_noise: bool = False,
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
    shared_noise: bool = False,
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
    shared_noise: bool = False,
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
        shared_noise: Whether runs of all curves scatter alike, so that seeds
            of one curve tell about the noise of the others, too: for `by`, if
            the curves differ in what hardly changes the noise.

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
        0.48
    """
    names = _names(laws)
    rows = Rows(rows)
    gathered = {
        curve: gather(part, x, y) for curve, part in rows.curves(by).items()
    }
    curves = [(data.x, data.y) for data in gathered.values()]
    direction = units.direction_of(y, curves, direction, rows.metrics)
    if not isinstance(shared_noise, bool):
        raise ValueError(
            "`shared_noise` must be True or False. Received: "
            f"shared_noise={shared_noise!r}."
        )
    fitted = {
        curve: fit_evidence(
            data,
            bounds,
            names,
            direction,
            others=[o for o in gathered.values() if o is not data]
            if shared_noise
            else (),
        )
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
    data = gather(rows, x, y)
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


# === Rows to evidence ===


def gather(rows, x, y):
    """Return the `Evidence` in the rows of one curve.

    Rows of failed runs and of random initialization (`num_examples` 0) are
    left out, and counted in `left_out`.

    Args:
        rows: The `Rows` of one curve.
        x: The column of sizes.
        y: The column of scores.

    Raises:
        ValueError: If a column is missing, a value is not a number, a size is
            not above 0, or a run appears twice.
    """
    done = rows.succeeded()
    done.check_columns(x=x, y=y)
    if x == y:
        raise ValueError(
            "`x` and `y` must be two columns: sizes and scores. Received: "
            f"x={x!r}, y={y!r}."
        )
    left_out = {
        "failed": int(rows.failed.sum()),
        done.start: int(done.untrained.sum()),
    }
    trained = done.where(~done.untrained)
    trained.check_numbers(x)
    trained.check_numbers(y)
    table = trained.table
    largest = table[y].astype(np.float64).abs().max()
    if largest > MOST or 0 < largest < 1 / MOST:
        raise ValueError(
            f"`{y}` must be numbers whose squares are floats, of {1 / MOST:g} "
            f"to {MOST:g}. Received: {largest:g}. Give them in another unit."
        )
    if (table[x] <= 0).any():
        raise ValueError(
            f"`{x}` must be above 0, since the fit takes its logarithm. "
            f"Received: {table[x].min()}."
        )
    _check_one_row_a_run(table, x)
    if "seed" in table:
        _check_one_run_a_seed(table, x)
    else:
        _check_no_row_twice(table, x, y)
    return Evidence(
        x=table[x].to_numpy(np.float64),
        y=table[y].to_numpy(np.float64),
        x_name=x,
        y_name=y,
        left_out={why: count for why, count in left_out.items() if count},
        hours=trained.hours,
    )


def _check_one_row_a_run(table, x):
    """Raise a `ValueError` if there are rows of several epochs of a run."""
    run = [column for column in (x, "seed", "key") if column in table]
    for column in WITHIN_A_RUN:
        if column not in table:
            continue
        several = table.groupby(run, dropna=False)[column].nunique() > 1
        if several.any():
            raise ValueError(
                f"There must be one row per run. Received: several values of "
                f"`{column}` for the same {' and '.join(run)}. Keep the last "
                "row of each run, or the one that you would choose."
            )


def _check_one_run_a_seed(table, x):
    """Raise a `ValueError` if two runs of a size have the same seed."""
    # 0, 0.0 and "0", as other tools write it, are one seed.
    seeds = table["seed"].map(
        lambda seed: str(seed).removesuffix(".0"), na_action="ignore"
    )
    again = table.assign(seed=seeds).duplicated([x, "seed"])
    if again.any():
        twice = table[again].iloc[0]
        raise ValueError(
            f"There must be one run of each `{x}` and `seed`. Received several "
            f"of {x}={twice[x]}, seed={twice['seed']}. If they differ in "
            "another column, choose by it or name it in `by=`."
        )


def _check_no_row_twice(table, x, y):
    """Raise a `ValueError` if rows without seeds are there twice.

    They are if they are the same in all columns; or if every size and score is
    there twice, as when a table is put below itself with another column, and
    the scores are not all the same.
    """
    run = table[[x, y]].astype(np.float64)
    cells = table.drop(columns=[x, y]).astype(str).join(run)
    if table[y].nunique() > 1 and run.duplicated(keep=False).all():
        cells = run
    again = cells.duplicated()
    if again.any():
        second = again.idxmax()
        first = (cells == cells.loc[second]).all(axis=1).idxmax()
        raise ValueError(
            f"Rows {first + 1} and {second + 1}: the same run twice: "
            f"{x}={table[x][second]}, {y}={table[y][second]}. Delete one, or "
            "tell repetitions apart by a column `seed`."
        )


# === Evidence to a law ===


def fit_evidence(
    data,
    bounds,
    names=tuple(LAWS),
    direction="max",
    prior=None,
    *,
    others=(),
):
    """Return the `Law` of one curve.

    Args:
        data: An `Evidence`.
        bounds: As for `fit`.
        names: Names in `LAWS`.
        direction: `"max"` or `"min"`.
        prior: A `Prior`; None: the one that is learned.
        others: `Evidence` of other curves with the same noise.
    """
    if len(data.sizes) < FEWEST_SIZES:
        raise ValueError(
            f"A curve needs >= {FEWEST_SIZES} sizes; more seeds of one size do "
            f"not show how it continues. Received {data.x_name}="
            f"{data.sizes.tolist()}. Left out: {data.left_out or 'nothing'}."
        )
    bounds = units.bounds_of(data.y, bounds, data.y_name, direction)
    found = posterior.integrate(
        posterior.scaled(data, others=others),
        names,
        prior or prior_lib.learned(),
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
