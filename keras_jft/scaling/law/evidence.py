"""Evidence: the checked scores and sizes that a law is fitted to."""

import dataclasses
import functools

import numpy as np

from keras_jft.scaling.rows import table as table_lib

MOST = 1e100  # Squares of scores up to this can be summed as floats.
WITHIN_A_RUN = ("epoch", "step", "global_step", "iteration")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Checked sizes and scores of the runs of one curve.

    Attributes:
        x: `(n,)` sizes, one per run, all above 0.
        y: `(n,)` scores of the runs.
        x_name: The column of `x`.
        y_name: The column of `y`.
        left_out: `{reason: number of rows}` for the rows left out.
        hours: `(n,)` device-hours of the runs; nan where a row does not say.
    """

    x: np.ndarray
    y: np.ndarray
    x_name: str
    y_name: str
    left_out: dict
    hours: np.ndarray

    @functools.cached_property
    def sizes(self):
        """`(m,)` distinct sizes in increasing order."""
        return np.unique(self.x)

    @functools.cached_property
    def counts(self):
        """`(m,)` number of runs at each size."""
        return np.unique(self.x, return_counts=True)[1]

    @functools.cached_property
    def means(self):
        """`(m,)` mean score at each size."""
        return np.array([self.y[self.x == size].mean() for size in self.sizes])

    @functools.cached_property
    def noise_df(self):
        """Degrees of freedom of `noise`: runs beyond the first at each size."""
        return len(self.x) - len(self.sizes)

    @functools.cached_property
    def noise(self):
        """Pooled variance of runs of one size; 0 with one run per size."""
        if self.noise_df == 0:
            return 0.0
        return float(self.within.sum() / self.noise_df)

    @functools.cached_property
    def within(self):
        """`(m,)` sum of squared deviations of runs from their size's mean."""
        place = np.searchsorted(self.sizes, self.x)
        return np.bincount(place, (self.y - self.means[place]) ** 2)

    def hours_at(self, size):
        """Return the device-hours of a run of a size; nan if unknown."""
        return table_lib.hours_at(size, self.x, self.hours)


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
    done.check_columns(x, y)
    if x == y:
        raise ValueError(
            "`x` and `y` must be two columns: sizes and scores. Received: "
            f"x={x!r}, y={y!r}."
        )
    left_out = {
        "failed": int(rows.failed.sum()),
        "random initialization": int(done.untrained.sum()),
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
