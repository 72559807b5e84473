"""The paper's tables, with columns from the user's rows beside them.

Letters: C classes.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_jft import checks
from keras_jft.scaling.paper import paper
from keras_jft.scaling.rows import units
from keras_jft.scaling.rows.table import Rows, RowsLike
from keras_jft.text import number_of

BY = ("mode", "arm", "num_examples")
# Other spellings of VOC's classes, with those of the paper.
SPELLINGS = {
    "aero": "airplane",
    "aeroplane": "airplane",
    "background": "bg",
    "bike": "bicycle",
    "dining table": "table",
    "diningtable": "table",
    "motorbike": "mbike",
    "persn": "person",
    "potted plant": "plant",
    "pottedplant": "plant",
    "tv monitor": "tv",
    "tvmonitor": "tv",
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PaperTable:
    """A table of the paper, transposed, beside the user's. Prints as text.

    Attributes:
        number: Its number in the paper.
        title: What it shows.
        scores: A DataFrame in percent with a row per quantity or class, a
            column for each thing that the paper compares, then the columns of
            the user's rows ("yours: ..."); nan where there is no number.
        faults: Known errors of the printed table, each a `paper.Fault`.
    """

    number: int
    title: str
    scores: pd.DataFrame
    faults: tuple[paper.Fault, ...] = ()

    def text(self) -> pd.DataFrame:
        """Return the scores as a DataFrame of strings with one decimal."""
        return self.scores.map(lambda x: "" if np.isnan(x) else f"{x:.1f}")

    def __str__(self):
        head = f"Table {self.number}: {self.title}"
        lines = [head, self.text().to_string(), *map(str, self.faults)]
        return "\n".join(lines)


def paper_table(
    number: int,
    rows: RowsLike | None = None,
    *,
    by: str | Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> PaperTable:
    """Return a table of the paper with the means of rows beside it.

    Args:
        number: 1 to 14.
        rows: Rows, a list of dicts, a DataFrame or `Rows`; rows of other tasks
            than the table's are ignored. None: the paper's numbers alone.
        by: Columns that group the rows; each group is a column of the table.
            None means those of `mode`, `arm` and `num_examples` that the rows
            have. A column holds means over its rows, whatever else they differ
            in: of scores and, in Tables 4 and 5, of epochs of pre-training.
        class_names: C names, in the order of the rows' class scores, for
            Tables 3, 12 and 14. Classes that the paper does not have are added
            below its own.

    Returns:
        A `PaperTable`.

    Raises:
        ValueError: If there is no such table, or the rows have none of its
            scores or not one score for each of the C classes.

    Example:
        >>> rows = [
        ...     {"task": "detection", "num_examples": n, "ap": ap, "seed": 0}
        ...     for n, ap in ((10_000, 0.1), (30_000, 0.15))
        ... ]
        >>> print(paper_table(6, rows))
        Table 6: COCO minival*, 30M JFT images each
                       1K ImageNet 18K JFT yours: 10,000 yours: 30,000
        mAP@[.5,.95]          31.2    31.9          10.0          15.0

    References:
        Sun et al. 2017, Tables 1-14.
    """
    checks.one_of("number", number, paper.tables())
    printed = paper.tables()[number]
    names = [line["name"] for line in printed["lines"]]
    scores = pd.DataFrame(
        [line["values"] for line in printed["lines"]],
        index=names,
        columns=printed["columns"],
        dtype="float64",
    )
    if rows is not None:
        yours = _yours(number, printed, rows, by, class_names)
        scores = pd.concat([scores, yours], axis=1)
    return PaperTable(
        number=number,
        title=printed["title"],
        scores=scores,
        faults=tuple(f for f in paper.FAULTS if number in f.tables),
    )


def _yours(number, printed, rows, by, class_names):
    """Return a DataFrame: a row per quantity or class, a column per group."""
    rows = Rows(rows).succeeded()
    columns = {}
    for line in printed["lines"]:
        part = _of_task(rows, line.get("task", printed["task"]))
        if line["score"] in part:
            values = units.in_percent(part.table[line["score"]])
        elif "setting" in line:
            values = part.settings(line["setting"])
            values = pd.Series(values, part.table.index, dtype="float64")
        else:
            continue
        for group, places in _groups(part, by):
            columns.setdefault(group, {})[line["name"]] = values[places].mean()
    if class_names is not None and "classes" in printed:
        part = _of_task(rows, printed["task"])
        scores = _class_scores(number, printed, part, class_names)
        for group, places in _groups(part, by):
            means = scores[places].mean().to_dict()
            columns.setdefault(group, {}).update(means)
    settings = {line["name"] for line in printed["lines"] if "setting" in line}
    if all(column.keys() <= settings for column in columns.values()):
        wanted = [line["score"] for line in printed["lines"] if line["score"]]
        raise ValueError(
            f"Table {number} needs rows with one of the scores {wanted}, of "
            f"the task {printed['task'] or 'that a line names'}. Received "
            f"rows with the columns {sorted(map(str, rows.table))}."
        )
    return pd.DataFrame(columns)


def _of_task(rows, task):
    return rows.where(rows.table["task"] == task) if "task" in rows else rows


def _groups(rows, by):
    """Yield pairs of a column's name and a mask of the rows in it."""
    if by is None:
        by = [column for column in BY if column in rows]
    by = [by] if isinstance(by, str) else list(by)
    rows.check_columns(*by)
    if not by:
        yield "yours", np.ones(len(rows), bool)
        return
    table = rows.table
    for values in table[by].drop_duplicates().sort_values(by).to_numpy():
        name = ", ".join(map(_said, values))
        yield f"yours: {name}", (table[by] == values).all(axis=1).to_numpy()


def _said(value):
    number = isinstance(value, (int, float, np.number))
    if number and not isinstance(value, bool):
        return units.sized(value)
    return str(value).replace("_", " ")


def _class_scores(number, printed, rows, class_names):
    """Return a DataFrame: a row per run, a column per class, paper's names."""
    column = printed["classes"]
    rows.check_columns(column)
    counts = {len(scores) for scores in rows.table[column]}
    if counts != {len(class_names)}:
        raise ValueError(
            f"Table {number} has classes: `{column}` of each row must have "
            "the scores of the "
            f"{number_of(len(class_names), 'class', 'classes')} of "
            f"`class_names`. Received rows of {sorted(counts)} classes."
        )
    called = {_spelled(line["name"]): line["name"] for line in printed["lines"]}
    scores = pd.DataFrame(
        rows.table[column].tolist(),
        columns=[called.get(_spelled(name), name) for name in class_names],
        dtype="float64",
    )
    return units.in_percent(scores)


def _spelled(name):
    name = name.lower().replace("_", " ")
    return SPELLINGS.get(name, name)
