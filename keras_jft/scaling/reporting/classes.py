"""Scores of individual classes in the rows of a study.

Letters: C classes.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_jft.scaling.rows import units
from keras_jft.scaling.rows.table import Rows, RowsLike
from keras_jft.text import printable


def class_scores(rows, class_names, x="num_examples"):
    """Return the score of each class in each run.

    Args:
        rows: Rows of one task with a column `per_class`, a list of dicts, a
            DataFrame or `Rows`.
        class_names: C names, in the order of `per_class`.
        x: The column of sizes.

    Returns:
        A DataFrame with a row per run and class, and the columns `mode`, `x`,
        `class` (an index) and `score` in percent points; nan where a class was
        absent.

    Raises:
        ValueError: If rows have no `per_class`, or not C scores in it.
    """
    rows = Rows(rows).succeeded()
    rows.check_columns("per_class", x)
    table = rows.table if "mode" in rows else rows.assign(mode="all").table
    counts = set(table["per_class"].map(np.size))
    if counts != {len(class_names)}:
        raise ValueError(
            f"`per_class` of each row must have the scores of the "
            f"{len(class_names)} classes of `class_names`. Received rows of "
            f"{sorted(counts)} classes."
        )
    scores = np.array(table["per_class"].tolist(), "float64")
    return pd.DataFrame(
        {
            "mode": np.repeat(table["mode"], len(class_names)),
            x: np.repeat(table[x].to_numpy(), len(class_names)),
            "class": np.tile(np.arange(len(class_names)), len(table)),
            "score": units.in_percent(scores.ravel()),
        }
    )


def class_table(
    rows: RowsLike, class_names: Sequence[str], x: str = "num_examples"
) -> str:
    """Return the score of each class by size, as text.

    Args:
        rows: Rows of one task with a column `per_class`; each `mode` is a
            block.
        class_names: C names, in the order of `per_class`.
        x: The column of sizes.

    Returns:
        A string with a block per mode, in which each line is a class and each
        column a size. Cells are means in percent points and, with several
        runs, standard deviations. The last column is the gain from the smallest
        size to the largest.

    Raises:
        ValueError: As for `class_scores`.

    Example:
        >>> rows = [
        ...     {"mode": "frozen", "num_examples": n, "per_class": scores}
        ...     for n, scores in ((0, [0.2, 0.5]), (1_000, [0.3, 0.45]))
        ... ]
        >>> print(class_table(rows, ["sky", "road"]))
        frozen     0 1,000  gain
        sky     20.0  30.0 +10.0
        road    50.0  45.0  -5.0

    References:
        Sun et al. 2017, Table 12, transposed.
    """
    scores = class_scores(rows, class_names, x)
    blocks = []
    for mode, part in scores.groupby("mode"):
        means = part.groupby(["class", x])["score"].agg(["mean", "std"])
        cells = means.apply(units.mean_and_spread, axis=1).unstack(
            fill_value=""
        )
        cells.columns = list(map(units.sized, cells.columns))
        mean = means["mean"].unstack()
        gain = mean.iloc[:, -1] - mean.iloc[:, 0]
        cells["gain"] = [f"{points:+.1f}" for points in gain]
        cells.index = list(map(printable, class_names))
        cells = cells.rename_axis(mode.replace("_", " "), axis=1)
        blocks.append(cells.to_string())
    return "\n\n".join(blocks)
