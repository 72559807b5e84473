"""`Rows`: the rows of runs as one checked table.

Every function that takes rows from a user makes a `Rows` of them and passes it
on, so that rows are checked in one place, once.
"""

import functools
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from scipy import optimize

from keras_jft import checks, text_files
from keras_jft.metrics import METRICS
from keras_jft.scaling.rows import units
from keras_jft.text import number_of

# Rows that differ in one of these columns belong to different curves.
CURVES = ("task", "mode", "arm", "split", "metric")
BY = ("task", "mode", "arm")  # The default of `by`.
NO_ERROR = ("", "no", "none", "false", "ok")  # Values of a column `error`.
# Columns that number what lies within a run.
WITHIN_A_RUN = ("epoch", "step", "global_step", "iteration")
# Columns that may hold a run's cost, most trusted first.
SECONDS = ("device_seconds", "wall_seconds")


# Columns of text that say where and when a run was made.
_NO_ARMS = (
    *("run", "key", "time", "date", "error", "config"),
    *("cpu", "accelerator", "backend"),
)


class Row(dict):
    """A row that knows where it was read, for messages.

    Args:
        *args: As for `dict`.
        place: Where, such as "line 3 of scores.csv".
    """

    def __init__(self, *args: Any, place: str):
        super().__init__(*args)
        self.place = place


class Scores(NamedTuple):
    """The scores of rows and the scale that they are on.

    Attributes:
        name: The column.
        values: `(n,)` finite scores, one per row.
        bounds: Lowest and highest possible score.
        unit: The `Unit` in which they are printed.
    """

    name: str
    values: np.ndarray
    bounds: tuple[float, float]
    unit: units.Unit


class Rows:
    """Rows of runs as one checked table.

    All functions of `jft.scaling` that take rows take a `Rows`, too.

    Args:
        rows: A list of dicts, a DataFrame or a `Rows`. Named levels of a
            DataFrame's index become columns, categories plain values. Of
            several rows with the same `key`, the last one counts: a study that
            repeats a run appends another row.

    Attributes:
        table: A DataFrame with a row per run, failed ones included, and unique
            columns.

    Raises:
        ValueError: If `rows` is something else or empty, two columns have the
            same name, or a column that tells runs apart holds a collection.

    Example:
        >>> rows = Rows(
        ...     [
        ...         {"num_examples": 300, "score": 0.2},
        ...         {"num_examples": 1_000, "error": "MemoryError: no room"},
        ...     ]
        ... )
        >>> len(rows), len(rows.succeeded())
        (2, 1)
        >>> rows.succeeded().scores().unit.text(0.2)
        '20.0'
    """

    def __init__(self, rows: "RowsLike"):
        self.table: pd.DataFrame = (
            rows.table if isinstance(rows, Rows) else _checked(rows)
        )
        # By the index of the table.
        self._places: list[str] = (
            rows._places if isinstance(rows, Rows) else _places(rows)
        )

    def __len__(self) -> int:
        return len(self.table)

    def __contains__(self, column):
        return column in self.table

    # === Parts ===

    def _with(self, table):
        """Return the `Rows` of a table that was made from a checked one."""
        part = Rows.__new__(Rows)
        part.table, part._places = table, self._places
        return part

    def where(self, mask: Any) -> "Rows":
        """Return the rows at which a boolean array or Series is true."""
        return self._with(self.table[mask])

    def assign(self, **columns: Any) -> "Rows":
        """Return the same rows with columns added or replaced."""
        return self._with(self.table.assign(**columns))

    def scaled(self, y: str, factor: float) -> "Rows":
        """Return the same rows with a column of scores times a factor."""
        return self.assign(**{y: self.table[y] * factor})

    def succeeded(self) -> "Rows":
        """Return the rows of successful runs; raise if there is none."""
        done = self.where(~self.failed)
        if not len(done):
            raise ValueError(
                "There is no row of a run that succeeded. Received: "
                f"{number_of(len(self), 'row')}. Their column `error` says "
                "what went wrong."
            )
        return done

    def curves(
        self, by: str | Sequence[str] | None = None
    ) -> dict[Any, "Rows"]:
        """Return `{name: Rows}` of each curve.

        Args:
            by: A column or a list of columns whose values name the curves, or
                None for a single curve, whose name is None.

        Raises:
            ValueError: If the rows of one curve are of several tasks, modes,
                arms, splits or metrics, or a row does not say which curve it
                belongs to.
        """
        if by is None:
            parts = {None: self}
        else:
            self._check_named(_columns(by))
            by = by if isinstance(by, str) else list(by)
            parts = {n: self._with(p) for n, p in self.table.groupby(by)}
        for part in parts.values():
            part.check_one_curve()
            part.warn_of_arms()
        return parts

    def panels(self, by: Sequence[str]) -> dict[tuple, "Rows"]:
        """Return `{name: Rows}`; curves that differ only in `mode` share one.

        Args:
            by: A list of the columns that tell curves apart.
        """
        apart = [column for column in by if column != "mode"]
        if not apart:
            return {(): self}
        return {n: self._with(p) for n, p in self.table.groupby(apart)}

    def curve_columns(self, by: str | Sequence[str] | None = None) -> list[str]:
        """Return a list of the columns that tell curves apart.

        Args:
            by: Those columns, or None for those of `task`, `mode` and `arm`
                that the rows have.
        """
        if by is None:
            return [column for column in BY if column in self]
        return _columns(by) if by != [] else []

    # === What rows say ===

    @functools.cached_property
    def failed(self) -> pd.Series:
        """Boolean Series: which rows are of failed runs."""
        if "error" not in self:
            return pd.Series(False, index=self.table.index)
        return self.table["error"].map(is_failure).astype(bool)

    @functools.cached_property
    def untrained(self) -> pd.Series:
        """Boolean Series: which rows are of size 0."""
        if "num_examples" not in self:
            return pd.Series(False, index=self.table.index)
        return self.table["num_examples"] == 0

    @property
    def start(self) -> str:
        """What runs of size 0 are, in words."""
        untrained = self.where(self.untrained)
        if any(map(has_weights, untrained.settings("pretrain"))):
            return "initial weights alone"
        return "random initialization"

    @functools.cached_property
    def hours(self) -> np.ndarray:
        """`(n,)` device-hours of the runs; nan where unknown."""
        for column in SECONDS:
            hours = self.hours_in(column)
            hours[hours == 0] = np.nan  # Every run takes some time.
            if np.isfinite(hours).any():
                return hours
        return np.full(len(self), np.nan)

    def hours_in(self, column: str) -> np.ndarray:
        """Return `(n,)` hours from a column of seconds; nan where unknown."""
        if column not in self:
            return np.full(len(self), np.nan)
        seconds = []
        for value in self.table[column]:
            if isinstance(value, str) or (units.is_finite(value) and value < 0):
                raise ValueError(
                    f"`{column}` must be a number of seconds, 0 or more, or "
                    f"empty if it is not known. Received: {value!r}."
                )
            seconds.append(value if units.is_finite(value) else np.nan)
        return np.array(seconds, np.float64) / 3600

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics or tasks of successful runs, without repeats."""
        table = self.table[~self.failed]
        for column in ("metric", "task"):
            if column in table and table[column].notna().any():
                return table[column].dropna().unique().tolist()
        return []

    def values(self, column: str) -> list[Any]:
        """Return the sorted distinct values of a column; none if missing."""
        if column not in self:
            return []
        missing = int(self.table[column].isna().sum())
        if missing:
            raise ValueError(
                f"Either all rows must have a `{column}`, or none of them. "
                f"Received: no value in {missing} of "
                f"{number_of(len(self), 'row')}."
            )
        return sorted(self.table[column].unique())

    def settings(self, name: str) -> list[Any]:
        """Return the value of one setting for each run, in JSON form.

        Args:
            name: A column, or a dotted path into `config`, such as
                `"pretrain.epochs"`. None: the row lacks it.
        """
        return [_setting(row, name) for row in self.table.to_dict("records")]

    def score(self, y: str | None = None) -> str:
        """Return the column of scores.

        Args:
            y: The column if it is known. None: `score` or the main metric
                of the rows' only task.
        """
        if y is not None:
            return y
        if "score" in self:
            return "score"
        tasks = sorted(self.table["task"].unique()) if "task" in self else []
        if len(tasks) == 1 and tasks[0] in METRICS:
            return METRICS[tasks[0]].score
        found = f"the columns {sorted(map(str, self.table))}"
        if tasks:
            found = (
                f"rows of the tasks {tasks} with {found}. Rows of one task of "
                f"{sorted(METRICS)} need no `y`"
            )
        raise ValueError(
            f"`y` must name the column of scores. Received: y=None, {found}."
        )

    def scores(
        self,
        y: str | None = None,
        bounds: tuple[float, float] | None = None,
        direction: str | None = None,
    ) -> Scores:
        """Return the `Scores` of the rows, which must share a scale.

        Args:
            y: The column, as for `score`.
            bounds: Lowest and highest possible score; None infers them.
            direction: `"max"`, `"min"`, or None if unknown.
        """
        y = self.score(y)
        self.check_numbers(y)
        values = self.table[y].to_numpy(np.float64)
        bounds = units.bounds_of(values, bounds, y, direction)
        return Scores(y, values, bounds, units.unit_of(bounds, values, y))

    # === Checks ===

    def check_columns(self, *columns: str, **arguments: str) -> None:
        """Raise a `ValueError` if one of the columns is missing.

        Args:
            columns: Names of columns.
            **arguments: Names of columns, each by the argument that gave it,
                such as `x="num_examples"`, which the error then mentions.
        """
        columns = (*columns, *arguments.values())
        for column in columns:
            if isinstance(column, (list, dict, set)):
                raise ValueError(
                    f"A column must be a single name. Received: {column!r}."
                )
        missing = [column for column in columns if column not in self]
        if missing:
            names = sorted(map(str, self.table.columns))
            sizes = [c for c in names if re.fullmatch("[0-9,_.]+[kKM]?", c)]
            remedy = (
                " Each line must be one run, with its size and its score in "
                "two columns; do not give every size a column of its own."
                if len(sizes) > 1
                else ""
            )
            given = [f"`{a}`" for a in arguments if arguments[a] in missing]
            if given and not remedy:
                noun = "column" if len(given) == 1 else "columns"
                remedy = f" Name the right {noun} with {' and '.join(given)}."
            raise ValueError(
                f"The rows have no column {missing}. They have: {names}."
                f"{remedy}"
            )

    def check_numbers(self, column: str) -> None:
        """Raise a `ValueError` if a value of a column is not finite."""
        self.check_columns(column)
        finite = self.table[column].map(units.is_finite).astype(bool)
        if not finite.all():
            wrong = self.table.loc[~finite, column]
            missing = wrong.isna().all()
            first = checks.plain_number(wrong.iloc[0])
            remedy = "Leave those rows out if they should not count."
            if missing:
                remedy = f"Fill the cells in. {remedy}"
            elif isinstance(first, str) and re.search("[0-9]", first):
                remedy = "Write plain numbers, such as 10000 and 0.413."
            raise ValueError(
                f"`{column}` must be a finite number in every row. Received: "
                f"{'no value' if missing else text_files.short(first)} in "
                f"{len(wrong)} of {number_of(len(self), 'row')}, "
                f"{self._said(wrong.index)}. {remedy}"
            )

    def _said(self, index):
        """Return where some rows are, in words."""
        more = ", ..." * (len(index) > 5)
        if self._places:
            return ", ".join(self._places[i] for i in index[:5]) + more
        numbers = ", ".join(str(i + 1) for i in index[:5])
        return f"number {numbers}{more} of those given"

    def check_one_curve(self, besides: Sequence[str] = ()) -> None:
        """Raise a `ValueError` if successful runs are of several curves.

        Args:
            besides: Columns in which they may differ.
        """
        table = self.table[~self.failed]
        there = [c for c in CURVES if c in table and c not in besides]
        for column in there:
            values = table[column].unique().tolist()
            if len(values) > 1:
                raise ValueError(
                    f"All rows of a curve must have the same `{column}`. "
                    f"Received rows of {values}. Choose one, or name the "
                    f"columns that tell the curves apart: by={there}."
                )

    def warn_of_arms(self) -> None:
        """Warn of text that tells groups of the successful runs apart.

        Names that no two runs share are those of the runs.
        """
        table = self.table[~self.failed]
        for column in map(str, table.columns):
            if column in _NO_ARMS or column.startswith("version_"):
                continue
            counts = table[column].map(_as_text).value_counts()
            if 1 < len(counts) < counts.sum():
                shown = ", ".join(map(repr, counts.index[:3]))
                warnings.warn(
                    f"The runs of one curve differ in `{column}`: {shown}"
                    f"{', ...' * (len(counts) > 3)}. Are these several arms? "
                    "Choose one of them by `where`, or tell them apart by "
                    "`by`.",
                    stacklevel=4,
                )

    def _check_named(self, by):
        """Raise a `ValueError` if a successful run does not name its curve."""
        self.check_columns(*by)
        _check_single(self.table, by)
        done = self.succeeded()
        for column in by:
            unnamed = int(done.table[column].isna().sum())
            if unnamed:
                raise ValueError(
                    f"`{column}` must say which curve a row belongs to. "
                    f"Received: no value in {unnamed} of {len(done)} rows. "
                    "Fill it in, or leave those rows out."
                )


RowsLike: TypeAlias = Sequence[Mapping[str, Any]] | pd.DataFrame | Rows


def has_weights(pretrain):
    """Return whether the fields of a pre-training name weights to start from.

    Args:
        pretrain: The fields by name, or None.
    """
    options = pretrain or {}
    named = options.get("backbone_options") or {}
    return bool(options.get("initial") or named.get("weights"))


def is_failure(error):
    """Return whether a value of the column `error` means that a run failed.

    A number does not: it is an error rate or a deviation. Nor does "no", which
    some tools write.
    """
    return isinstance(error, str) and error.strip().lower() not in NO_ERROR


def hours_at(size, sizes, hours):
    """Return the device-hours of a run, as `fixed + each * size`.

    Args:
        size: The size of the run.
        sizes: `(n,)` sizes of finished runs.
        hours: `(n,)` hours that they took, nan where unknown.

    Returns:
        A number; nan if the hours of fewer than two sizes are known.
    """
    known = np.isfinite(hours)
    if len(np.unique(sizes[known])) < 2:
        return np.nan
    parts = np.stack([np.ones(known.sum()), sizes[known]], axis=1)
    # Minimize relative errors, since sizes span decades (equation 28 of
    # docs/forecasts.md).
    weights = 1 / np.maximum(hours[known], 1e-9)
    (fixed, each), _ = optimize.nnls(
        parts * weights[:, None], hours[known] * weights
    )
    return float(fixed + each * size)


def _checked(rows):
    """Return rows as a DataFrame, with the checks of `Rows`."""
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
    table = table.reset_index(drop=True)  # By which messages number rows.
    if table.columns.has_duplicates:
        twice = table.columns[table.columns.duplicated()].unique().tolist()
        raise ValueError(
            f"Each column must have a name of its own. Received twice: {twice}."
        )
    categories = table.select_dtypes("category").columns
    table = table.astype(dict.fromkeys(categories, object))
    # Squares and sums of float16 and float32 would overflow.
    floats = table.select_dtypes(["float16", "float32"]).columns
    table = table.astype(dict.fromkeys(floats, np.float64))
    _check_single(table, [c for c in ("seed", "key", *CURVES) if c in table])
    if "key" in table:
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


def _as_text(value):
    return value if isinstance(value, str) else None


def _places(rows):
    """Return where each of some checked rows was read; empty if unknown."""
    if isinstance(rows, pd.DataFrame):
        return []
    places = [getattr(row, "place", None) for row in rows]
    return places if all(places) else []


def _columns(by):
    """Return a list of columns from one column or several."""
    columns = [by] if isinstance(by, str) else by
    if not isinstance(columns, (list, tuple)) or not columns:
        raise ValueError(
            "`by` must name a column, or be a list of one or more columns. "
            f"Received: by={by!r}."
        )
    return list(columns)


def _setting(row, name):
    """Return a setting of a run as JSON holds it; None if the row lacks it."""
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
