"""Figure 5 of the paper: how much nets of different capacity gain from data."""

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from keras_jft.metrics import METRICS
from keras_jft.scaling.paper import paper as printed
from keras_jft.scaling.reporting.figures import LOOKS, PANEL, STYLE, short
from keras_jft.scaling.rows.table import CURVES, Rows, RowsLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_capacity(
    rows: RowsLike,
    capacity: str = "arm",
    *,
    x: str = "num_examples",
    y: str | None = None,
    paper: bool = False,
) -> "Figure":
    """Plot the scores of nets, one curve per data size, and each net's gain.

    In the left panel, small markers are runs and large ones their means. The
    right panel shows the score at the largest size minus that at the smallest,
    with a 95% interval (Student's t) over the seeds that ran both sizes.

    Args:
        rows: Rows of one task and mode, a list of dicts, a DataFrame or `Rows`.
        capacity: The column that tells nets apart: numbers, or names, shown in
            the order of the rows.
        x: The column of sizes; random initialization (0) is left out.
        y: The column of scores. None: `score` or the main metric of the
            task.
        paper: Whether to show the gains that the paper prints, from ImageNet
            to JFT-300M, beside them.

    Returns:
        The Matplotlib figure.

    Raises:
        ValueError: If rows of several tasks or modes are mixed, a column is
            missing, or there are fewer than two sizes.

    References:
        Sun et al. 2017, Figure 5 and section 1.
    """
    import matplotlib.pyplot as plt

    table, y, percent = _checked(rows, capacity, x, y)
    nets = table[capacity].unique().tolist()
    if pd.api.types.is_numeric_dtype(table[capacity]):
        nets = sorted(nets)
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(
            ncols=2, figsize=(2 * PANEL[0], PANEL[1]), layout="constrained"
        )
        _draw_scores(left, table, nets, capacity, x, y)
        _draw_gains(right, table, nets, capacity, x, y, paper)
        left.set_ylabel(_title(table, y) + (" (%)" if percent else ""))
    return figure


def _gains(table, nets, capacity, x, y):
    """Return the gain of each net from the smallest size to the largest.

    Args:
        table: A DataFrame of rows.
        nets: The values of `capacity`.
        capacity: The column that tells nets apart.
        x: The column of sizes.
        y: The column of scores.

    Returns:
        `(n, 2)` array: the gain and half the width of its 95% interval. The
        gain is nan if a net lacks a size, the width if it lacks a second seed.
    """
    ends = table[x].min(), table[x].max()
    found = []
    for net in nets:
        part = table[table[capacity] == net]
        small, large = (
            part[part[x] == size].set_index("seed") for size in ends
        )
        each = (large[y] - small[y]).dropna().to_numpy()
        spread = np.nan
        if len(each) > 1:
            spread = stats.t.ppf(0.975, len(each) - 1) * stats.sem(each)
        found.append((each.mean() if len(each) else np.nan, spread))
    return np.array(found)


def _checked(rows, capacity, x, y):
    """Return the trained runs as a DataFrame, with fractions in percent."""
    rows = Rows(rows).succeeded()
    y = rows.score(y)
    rows.check_columns(capacity, x, y)
    table = rows.table
    for column in set(CURVES) - {capacity}:
        if column in table and table[column].nunique() > 1:
            raise ValueError(
                f"All rows of a capacity figure must have the same `{column}`. "
                f"Received rows of {sorted(table[column].unique())}. Choose "
                "one."
            )
    rows.check_numbers(y)
    rows = rows.where(~rows.untrained)
    table = rows.table
    if table[x].nunique() < 2:
        raise ValueError(
            f"A gain needs two sizes or more in `{x}`. Received: "
            f"{sorted(table[x].unique())}."
        )
    if "seed" not in table:
        rows = rows.assign(seed=0)
    factor = rows.scores(y).unit.factor
    return rows.scaled(y, factor).table, y, factor == 100


def _title(table, y):
    task = table["task"].iloc[0] if "task" in table else None
    known = task in METRICS and METRICS[task].score == y
    return METRICS[task].title if known else y


def _draw_scores(ax, table, nets, capacity, x, y):
    """Draw a curve per size."""
    looks = itertools.cycle(LOOKS)
    for (size, part), (color, marker) in zip(
        table.groupby(x), looks, strict=False
    ):
        at = part[capacity].map(nets.index)
        ax.scatter(at, part[y], s=9, alpha=0.45, lw=0, color=color)
        means = part.groupby(capacity)[y].mean().reindex(nets)
        ax.plot(
            range(len(nets)),
            means,
            color=color,
            marker=marker,
            markersize=5,
            lw=1.3,
            label=f"{short(size)} images",
        )
    ax.set_xticks(range(len(nets)), [str(net) for net in nets])
    ax.set_xlim(-0.4, len(nets) - 0.6)
    ax.grid(axis="y", alpha=0.25, linewidth=0.5)
    ax.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.1), ncols=3)


def _draw_gains(ax, table, nets, capacity, x, y, paper):
    """Draw the gain of each net, and those of the paper."""
    names = [str(net) for net in nets]
    gain, spread = _gains(table, nets, capacity, x, y).T
    ends = [short(size) for size in (table[x].min(), table[x].max())]
    ax.errorbar(
        range(len(nets)),
        gain,
        np.nan_to_num(spread),
        fmt="o",
        color=LOOKS[0][0],
        markersize=5,
        elinewidth=0.8,
        label=f"{ends[0]} to {ends[1]} images, 95% interval",
    )
    if paper:
        ax.plot(
            len(nets) + np.arange(len(printed.CAPACITY_GAINS)),
            list(printed.CAPACITY_GAINS.values()),
            **printed.LOOK,
            label="Sun et al. 2017: ImageNet to JFT-300M, COCO AP",
        )
        names += [f"ResNet-{layers}" for layers in printed.CAPACITY_GAINS]
    ax.axhline(0, color="gray", lw=0.6)
    turned = {"rotation": 30, "ha": "right"} if len(names) > 4 else {}
    ax.set_xticks(range(len(names)), names, **turned)
    ax.set_xlim(-0.4, len(names) - 0.6)
    ax.set_ylabel("Points gained")
    ax.grid(axis="y", alpha=0.25, linewidth=0.5)
    below = -0.25 if turned else -0.1
    ax.legend(loc="upper left", bbox_to_anchor=(-0.02, below))
