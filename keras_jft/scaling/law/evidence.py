"""Turn rows into the checked scores and sizes that a law is fitted to."""

import dataclasses
import functools
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from keras_jft import text_files
from keras_jft.metrics import METRICS
from keras_jft.scaling.rows import cost, units

MOST = 1e100  # Squares of scores up to this can be summed as floats.
# Rows that differ in one of these columns belong to different curves.
CURVES = ("task", "mode", "arm", "split", "metric")
WITHIN_A_RUN = ("epoch", "step", "global_step", "iteration")
NO_ERROR = ("", "no", "none", "false", "ok")  # Values of a column `error`.


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
        return cost.hours_at(size, self.x, self.hours)


def failed(table):
    """Return a boolean Series: which rows of a DataFrame are failed runs."""
    if "error" not in table:
        return pd.Series(False, index=table.index)
    return table["error"].map(is_failure).astype(bool)


def is_failure(error):
    """Return whether a value of the column `error` means that a run failed.

    A number does not: it is an error rate or a deviation. Nor does "no", which
    some tools write.
    """
    return isinstance(error, str) and error.strip().lower() not in NO_ERROR


def table_of(rows):
    """Return rows as a DataFrame that is not empty and has unique columns.

    Args:
        rows: Rows, a list of dicts or a DataFrame. Named levels of its index
            become columns, categories become plain values.

    Raises:
        ValueError: If `rows` is something else or empty, two columns have the
            same name, or a column that tells runs apart holds a collection.
    """
    of_dicts = isinstance(rows, (list, tuple)) and all(
        isinstance(row, Mapping) for row in rows
    )
    if not of_dicts and not isinstance(rows, pd.DataFrame):
        raise ValueError(
            "Rows must be a list of dicts or a DataFrame. Received: "
            f"{text_files.short(rows)}. `jft.scaling.read_rows` reads them "
            "from a file."
        )
    table = pd.DataFrame(rows)
    if table.empty:
        raise ValueError("There are no rows.")
    levels = [n for n in table.index.names if n is not None]
    if levels := [name for name in levels if name not in table]:
        table = table.reset_index(level=levels)
    if table.columns.has_duplicates:
        twice = table.columns[table.columns.duplicated()].unique().tolist()
        raise ValueError(
            f"Each column must have a name of its own. Received twice: {twice}."
        )
    categories = table.select_dtypes("category").columns
    table = table.astype(dict.fromkeys(categories, object))
    _check_single(table, [c for c in ("seed", "key", *CURVES) if c in table])
    if "key" in table:  # A study that repeats a run appends another row.
        again = table.duplicated("key", keep="last") & table["key"].notna()
        table = table[~again]
    return table


def _check_single(table, columns):
    """Raise a `ValueError` if a column that tells runs apart has a list."""
    for column in columns:
        several = table[column].map(lambda v: isinstance(v, (list, dict, set)))
        if several.any():
            wrong = table.loc[several, column].tolist()
            raise ValueError(
                f"`{column}` tells runs apart, by text or a number in each "
                f"row. Received: {text_files.short(wrong[0])} in {len(wrong)} "
                f"of {len(table)} rows."
            )


def succeeded(rows):
    """Return a DataFrame of the rows of successful runs; not empty."""
    table = table_of(rows)
    done = table[~failed(table)]
    if done.empty:
        raise ValueError(
            f"There is no row of a run that succeeded. Received: {len(table)} "
            "rows. Their column `error` says what went wrong."
        )
    return done


def untrained(table):
    """Return a boolean Series: which rows are of random initialization."""
    if "num_examples" in table:
        return table["num_examples"] == 0
    return pd.Series(False, index=table.index)


def score_of(table, y=None):
    """Return the column of scores: `y`, `score`, or the task's main metric."""
    if y is not None:
        return y
    if "score" in table:
        return "score"
    tasks = sorted(table["task"].unique()) if "task" in table else []
    if len(tasks) == 1 and tasks[0] in METRICS:
        return METRICS[tasks[0]].score
    raise ValueError(
        "`y` must name the column of scores, unless that is `score` or the "
        f"rows are of one task of {sorted(METRICS)}. Received: y=None, rows "
        f"of the tasks {tasks} with the columns {sorted(map(str, table))}."
    )


def metrics_of(rows):
    """Return the names of metrics or tasks in rows, without repeats."""
    table = table_of(rows)
    table = table[~failed(table)]
    there = [column for column in ("metric", "task") if column in table]
    return next(
        (
            table[column].dropna().unique().tolist()
            for column in there
            if table[column].notna().any()
        ),
        [],
    )


def curves(rows, by=None):
    """Return `{name: DataFrame}` with the rows of each curve.

    Args:
        rows: Rows, a list of dicts or a DataFrame.
        by: A column or a list of columns whose values name the curves, or None
            for a single curve, whose name is None.

    Raises:
        ValueError: If the rows of one curve are of several tasks, modes, arms,
            splits or metrics, or a row does not say which curve it belongs to.
    """
    table = table_of(rows)
    if by is None:
        parts = {None: table}
    else:
        _check_named(table, columns_of(by))
        by = by if isinstance(by, str) else list(by)
        parts = dict(list(table.groupby(by)))
    for part in parts.values():
        part = part[~failed(part)]
        there = [column for column in CURVES if column in part]
        for column in there:
            values = part[column].unique().tolist()
            if len(values) > 1:
                raise ValueError(
                    f"All rows of a curve must have the same `{column}`. "
                    f"Received rows of {values}. Choose one, or name the "
                    f"columns that tell the curves apart: by={there}."
                )
    return parts


def columns_of(by):
    """Return a list of the columns that tell curves apart.

    Args:
        by: A column, or a list of one or more columns.

    Raises:
        ValueError: If `by` is something else.
    """
    columns = [by] if isinstance(by, str) else by
    if not isinstance(columns, (list, tuple)) or not columns:
        raise ValueError(
            "`by` must name a column, or be a list of one or more columns. "
            f"Received: by={by!r}."
        )
    return list(columns)


def gather(rows, x, y):
    """Return the `Evidence` in the rows of one curve.

    Rows of failed runs and of random initialization (`num_examples` 0) are
    left out, and counted in `left_out`.

    Raises:
        ValueError: If a column is missing, a value is not a number, a size is
            not above 0, or a run appears twice.
    """
    left_out = {}
    table = succeeded(rows)
    if failures := int(failed(table_of(rows)).sum()):
        left_out["failed"] = failures
    check_columns(table, [x, y])
    if untrained(table).any():
        left_out["random initialization"] = int(untrained(table).sum())
        table = table[~untrained(table)]
    check_numbers(table, x)
    check_numbers(table, y)
    largest = table[y].abs().max()
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
    if "seed" in table and table.duplicated([x, "seed"]).any():
        twice = table[table.duplicated([x, "seed"])].iloc[0]
        raise ValueError(
            f"There must be one run of each `{x}` and `seed`. Received several "
            f"of {x}={twice[x]}, seed={twice['seed']}. If they differ in "
            "another column, choose by it or name it in `by=`."
        )
    return Evidence(
        x=table[x].to_numpy(np.float64),
        y=table[y].to_numpy(np.float64),
        x_name=x,
        y_name=y,
        left_out=left_out,
        hours=cost.hours_of(table),
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


def check_columns(table, columns):
    """Raise a `ValueError` if one of the columns is missing."""
    for column in columns:
        if isinstance(column, (list, dict, set)):
            raise ValueError(
                f"A column must be a single name. Received: {column!r}."
            )
    missing = [column for column in columns if column not in table]
    if missing:
        sizes = [c for c in table if re.fullmatch("[0-9,_.]+[kKM]?", str(c))]
        remedy = (
            " Each line must be one run, with its size and its score in two "
            "columns; do not give every size a column of its own."
            if len(sizes) > 1
            else ""
        )
        raise ValueError(
            f"The rows have no column {missing}. They have: "
            f"{sorted(map(str, table.columns))}.{remedy}"
        )


def _check_named(table, by):
    """Raise a `ValueError` if a successful run does not name its curve."""
    check_columns(table, by)
    _check_single(table, by)
    done = succeeded(table)
    for column in by:
        unnamed = int(done[column].isna().sum())
        if unnamed:
            raise ValueError(
                f"`{column}` must say which curve a row belongs to. Received: "
                f"no value in {unnamed} of {len(done)} rows. Fill it in, or "
                "leave those rows out."
            )


def check_numbers(table, column):
    """Raise a `ValueError` if a value of a column is not a finite number."""
    check_columns(table, [column])
    finite = table[column].map(units.is_finite).astype(bool)
    if not finite.all():
        wrong = table.loc[~finite, column].tolist()
        remedy = (
            "Write plain numbers, such as 10000 and 0.413: a decimal point, "
            "and no thousands separators, units or percent signs."
            if isinstance(wrong[0], str) and re.search("[0-9]", wrong[0])
            else "Leave those rows out if they should not count."
        )
        raise ValueError(
            f"`{column}` must be a finite number in every row. Received: "
            f"{text_files.short(wrong[0])} in {len(wrong)} of {len(table)} "
            f"rows. {remedy}"
        )


def setting(row, name):
    """Return a setting of a run as JSON holds it; None if the row lacks it.

    Args:
        row: A row, a dict.
        name: A column, or a dotted path into its `config`, such as
            `"pretrain.epochs"`.
    """
    value = row
    if name not in row:
        value = row.get("config")
        *path, name = name.split(".")
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
    value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return list(value) if isinstance(value, tuple) else value
