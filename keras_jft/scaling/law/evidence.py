"""From rows to what a law may rest on: checked, grouped, counted."""

import dataclasses
import functools
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from keras_jft import text_files
from keras_jft.metrics import METRICS
from keras_jft.scaling.rows import cost, units

MOST = 1e100  # Squares of scores up to it can be summed.
# Rows that differ in these are different curves.
CURVES = ("task", "mode", "arm", "split", "metric")
WITHIN_A_RUN = ("epoch", "step", "global_step", "iteration")
NO_ERROR = ("", "no", "none", "false", "ok")  # In a column `error`.


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Scores at sizes, after checks.

    Attributes:
        x: `(n,)` sizes, one a run, all above 0.
        y: `(n,)` scores of the runs.
        x_name: The column of `x`.
        y_name: The column of `y`.
        left_out: `{reason: rows}` that are not in it.
        hours: `(n,)` device-hours of the runs; nan where a row does not tell.
    """

    x: np.ndarray
    y: np.ndarray
    x_name: str
    y_name: str
    left_out: dict
    hours: np.ndarray

    @functools.cached_property
    def sizes(self):
        """`(m,)` distinct sizes, rising."""
        return np.unique(self.x)

    @functools.cached_property
    def counts(self):
        """`(m,)` runs of each size."""
        return np.unique(self.x, return_counts=True)[1]

    @functools.cached_property
    def means(self):
        """`(m,)` mean score of each size."""
        return np.array([self.y[self.x == size].mean() for size in self.sizes])

    @functools.cached_property
    def noise_df(self):
        """Degrees of freedom of `noise`: runs beyond the first of a size."""
        return len(self.x) - len(self.sizes)

    @functools.cached_property
    def noise(self):
        """Variance of runs of one size, pooled; 0 with one run a size."""
        if self.noise_df == 0:
            return 0.0
        return float(self.within.sum() / self.noise_df)

    @functools.cached_property
    def within(self):
        """`(m,)` sum of squares of the runs of each size about their mean."""
        place = np.searchsorted(self.sizes, self.x)
        return np.bincount(place, (self.y - self.means[place]) ** 2)

    def hours_at(self, size):
        """Device-hours of a run of a size; nan where rows do not tell."""
        return cost.hours_at(size, self.x, self.hours)


def failed(table):
    """Return which rows of a DataFrame are of runs that failed, booleans."""
    if "error" not in table:
        return pd.Series(False, index=table.index)
    return table["error"].map(is_failure).astype(bool)


def is_failure(error):
    """Return whether a value of `error` says that a run failed.

    A number is an error rate or a deviation, and some tools write "no".
    """
    return isinstance(error, str) and error.strip().lower() not in NO_ERROR


def table_of(rows):
    """Return a DataFrame of rows, not empty, one column for each name.

    Args:
        rows: Rows, a list of dicts or a DataFrame. Levels of its index that
            have names are columns, categories are their values.

    Raises:
        ValueError: If `rows` is something else, empty, has two columns of one
            name, or a value that tells runs apart is several.
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
    if "key" in table:  # A run that a study did again stands there twice.
        again = table.duplicated("key", keep="last") & table["key"].notna()
        table = table[~again]
    return table


def _check_single(table, columns):
    """Raises a ValueError if a value that tells runs apart is several."""
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
    """A DataFrame of rows, without those of failed runs; not empty."""
    table = table_of(rows)
    done = table[~failed(table)]
    if done.empty:
        raise ValueError(
            f"There is no row of a run that succeeded. Received: {len(table)} "
            "rows. What went wrong is in their `error`."
        )
    return done


def untrained(table):
    """Which rows of a DataFrame are of random initialization, booleans."""
    if "num_examples" in table:
        return table["num_examples"] == 0
    return pd.Series(False, index=table.index)


def score_of(table, y=None):
    """The column of scores: `y`, `score`, or the main number of the task."""
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
    """Return the names of metrics and tasks that rows say, without repeats."""
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
    """`{name: DataFrame}`, one entry a curve; the name is None without `by`.

    Args:
        rows: Rows, a list of dicts or a DataFrame.
        by: A column or a list of columns whose values name the curves.

    Raises:
        ValueError: If the rows of one curve are of several tasks, modes,
            splits or metrics, or a row does not say of which curve it is.
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
                    f"One curve holds one `{column}`. Received rows of "
                    f"{values}. Choose one, or name what tells the curves "
                    f"apart: by={there}."
                )
    return parts


def columns_of(by):
    """Return the columns that tell curves apart, a list.

    Args:
        by: A column or a list of them, one or more.

    Raises:
        ValueError: If it is something else.
    """
    columns = [by] if isinstance(by, str) else by
    if not isinstance(columns, (list, tuple)) or not columns:
        raise ValueError(
            "`by` must name a column, or be a list of one or more. Received: "
            f"by={by!r}."
        )
    return list(columns)


def gather(rows, x, y):
    """The `Evidence` in rows of one curve.

    Rows of failed runs and of random initialization (`num_examples` 0) are
    left out, and counted in `left_out`.

    Raises:
        ValueError: If a column is missing, a value is no number, a size is not
            above 0, or a run is there twice.
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
            f"`{x}` must be above 0, its logarithm is taken. Received: "
            f"{table[x].min()}."
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
    """Raises a ValueError if rows are the epochs of runs."""
    run = [column for column in (x, "seed", "key") if column in table]
    for column in WITHIN_A_RUN:
        if column not in table:
            continue
        several = table.groupby(run, dropna=False)[column].nunique() > 1
        if several.any():
            raise ValueError(
                f"There must be one row a run. Received: rows of several "
                f"`{column}` of {' and '.join(run)}. Keep the last of each run,"
                " or the one that you would choose."
            )


def check_columns(table, columns):
    """Raises a ValueError if one of the columns is not there."""
    for column in columns:
        if isinstance(column, (list, dict, set)):
            raise ValueError(f"A column is one name. Received: {column!r}.")
    missing = [column for column in columns if column not in table]
    if missing:
        sizes = [c for c in table if re.fullmatch("[0-9,_.]+[kKM]?", str(c))]
        remedy = (
            " A line is one run: give its size and its score in two columns, "
            "not each size a column."
            if len(sizes) > 1
            else ""
        )
        raise ValueError(
            f"The rows have no column {missing}. They have: "
            f"{sorted(map(str, table.columns))}.{remedy}"
        )


def _check_named(table, by):
    """Every run that succeeded says of which curve it is."""
    check_columns(table, by)
    _check_single(table, by)
    done = succeeded(table)
    for column in by:
        unnamed = int(done[column].isna().sum())
        if unnamed:
            raise ValueError(
                f"`{column}` must say of which curve a row is. Received: none "
                f"in {unnamed} of {len(done)} rows. Fill it in, or leave "
                "those rows out."
            )


def check_numbers(table, column):
    """Raises a ValueError if a value of a column is no finite number."""
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
    """A setting of a run, as JSON has it; None where the row does not say it.

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
