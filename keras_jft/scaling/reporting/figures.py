"""Figures of a study, drawn from its rows alone."""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_jft.html_page import drawable
from keras_jft.metrics import METRICS
from keras_jft.scaling.law.fitting import SIZES_TO_DECIDE, fit
from keras_jft.scaling.paper import paper as printed
from keras_jft.scaling.reporting import classes
from keras_jft.scaling.rows import units
from keras_jft.scaling.rows.table import Rows, RowsLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colors, which color-blind readers can tell apart, each with a
# marker of its own for prints without color.
LOOKS = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
)
SHADE = {"alpha": 0.13, "lw": 0}
DASHED = {"linestyle": "--", "lw": 1}
BAND = "95% prediction interval of a run"
PANEL = (3.6, 3.7)  # Inches; one column of a paper is about as wide.
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def plot_data_size(
    rows: RowsLike,
    ax: "Axes | None" = None,
    x: str = "num_examples",
    y: str | None = None,
    *,
    modes: Sequence[str] | None = None,
    factor: float = 1,
    bounds: tuple[float, float] | None = None,
    paper: bool = False,
) -> "Axes":
    """Plot score against the log of data size, one curve per mode.

    Small markers are runs, large ones their means. From four sizes on, the
    fitted law is drawn with its 95% prediction interval shaded. A dashed line
    is random initialization, or the weights that all runs start from (rows
    with `num_examples` 0).

    Args:
        rows: Rows of one task, a list of dicts, a DataFrame or `Rows`.
        ax: Matplotlib axes to draw on, or None for new ones.
        x: The column of sizes.
        y: The column of scores. None: `score` or the main metric of the
            task.
        modes: All modes of the study, so that a mode looks the same in the
            figures of all tasks; None: those of the rows.
        factor: The law is drawn, dotted, up to this many times the largest
            size.
        bounds: Lowest and highest possible score, as for `fit`.
        paper: Whether to add, as stars, the scores that the paper prints for
            this task and metric; its images and nets differ from the rows'.

    Returns:
        The axes.

    Raises:
        ValueError: If the rows are of several tasks, or `y` is None and the
            rows do not say which column has the scores.

    References:
        Sun et al. 2017, Figure 4.
    """
    import matplotlib.pyplot as plt

    rows = Rows(rows).succeeded()
    tasks = rows.values("task")
    if len(tasks) > 1:
        raise ValueError(
            f"One panel shows one task. Received rows of {tasks}. Choose one, "
            "or draw all with `plot_data_sizes`."
        )
    y = rows.score(y)
    if not units.is_finite(factor) or factor < 1:
        raise ValueError(
            "`factor` must be 1 or more, and finite. Received: "
            f"factor={factor!r}."
        )
    with plt.rc_context(STYLE):
        if ax is None:
            _, ax = plt.subplots(figsize=PANEL, layout="constrained")
        modes = modes or rows.values("mode")
        _draw_panel(ax, rows, x, y, modes, factor=factor, bounds=bounds)
        if paper:
            _draw_paper(ax, rows, x, y)
    return ax


def plot_data_sizes(
    rows: RowsLike, x: str = "num_examples", *, paper: bool = False
) -> "Figure":
    """Plot one panel per task, each as `plot_data_size` draws it.

    Args:
        rows: Rows of any tasks in `jft.metrics.METRICS`.
        x: The column of sizes.
        paper: As for `plot_data_size`.

    Returns:
        The Matplotlib figure.

    Raises:
        ValueError: If a task is unknown.
    """
    import matplotlib.pyplot as plt

    rows = Rows(rows).succeeded()
    tasks = rows.values("task")
    if not tasks:
        raise ValueError(
            "The rows need a column `task`, since each task is a panel. They "
            f"have: {sorted(map(str, rows.table.columns))}."
        )
    # Up to three side by side, four as two by two.
    columns = len(tasks) if len(tasks) <= 3 else math.ceil(len(tasks) ** 0.5)
    lines = math.ceil(len(tasks) / columns)
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            nrows=lines,
            ncols=columns,
            figsize=(PANEL[0] * columns, PANEL[1] * lines),
            squeeze=False,
            layout="constrained",
        )
        for ax in panels.flat[len(tasks) :]:
            ax.remove()
        for task, ax in zip(tasks, panels.flat, strict=False):
            part = rows.where(rows.table["task"] == task)
            # A mode looks the same in all panels, even if a task lacks others.
            y = part.score()
            _draw_panel(ax, part, x, y, rows.values("mode"))
            if paper:
                _draw_paper(ax, part, x, y)
    return figure


def plot_classes(
    rows: RowsLike, class_names: Sequence[str], x: str = "num_examples"
) -> "Figure":
    """Plot scores by size, and the gain of each class.

    The left panel is that of `plot_data_size`. The right one has a bar per
    class and mode, largest gains first: the score at the largest size minus
    that at the smallest (without pre-training, if the rows have it). Thin
    lines are standard errors over the runs.

    Args:
        rows: Rows of one task in `jft.metrics.METRICS` with `per_class`.
        class_names: C names, in the order of `per_class`.
        x: The column of sizes.

    Returns:
        The Matplotlib figure.

    Raises:
        ValueError: If `per_class` does not match `class_names`.

    References:
        Sun et al. 2017, Figure 6 and Table 12.
    """
    import matplotlib.pyplot as plt

    rows = Rows(rows)
    scores = classes.class_scores(rows, class_names, x)
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(
            ncols=2,
            figsize=(2 * PANEL[0], PANEL[1]),
            layout="constrained",
        )
        plot_data_size(rows, ax=left, x=x)
        _draw_gains(right, scores, class_names, x, rows.start)
    return figure


def plot_progress(rows: RowsLike, by: str = "initialization") -> "Figure":
    """Plot mAP@100 and loss of pre-training against its steps.

    Thin lines are seeds, thick ones their means. Rows are lines of logs with a
    column that says which run they are of:

        rows = [
            {"initialization": name, **line}
            for name, path in logs.items()
            for line in jft.training.read_log(path)
        ]

    Args:
        rows: A list of dicts, a DataFrame or `Rows`, with `step`, mAP@100 as
            one of `val_weighted_map`, `weighted_map`, `val_map` and `map`, and,
            if there is a panel for it, `val_loss` or `loss`; `seed` if there
            are several.
        by: The column that tells the curves apart.

    Returns:
        The Matplotlib figure.

    Raises:
        ValueError: A column is missing, or a value is not a number.

    References:
        Sun et al. 2017, Figure 3.
    """
    import matplotlib.pyplot as plt

    rows = Rows(rows).succeeded()
    rows.check_columns("step", by)
    score = progress_score(rows.table)
    panels = {score: "weighted mAP@100 (%)" if "w" in score else "mAP@100 (%)"}
    for loss in ("val_loss", "loss"):
        if loss in rows and len(panels) == 1:
            panels[loss] = "Loss"
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            ncols=len(panels),
            figsize=(PANEL[0] * len(panels), PANEL[1]),
            squeeze=False,
            layout="constrained",
        )
        for ax, (column, title) in zip(axes[0], panels.items(), strict=True):
            rows.check_numbers(column)
            factor = 100 if column == score else 1
            _draw_progress(ax, rows.scaled(column, factor), by, column)
            ax.set_ylabel(title)
    return figure


def progress_score(table):
    """Return the column of mAP@100 of logs: the weighted one if there is one.

    Args:
        table: A DataFrame of lines of logs.

    Raises:
        ValueError: There is none.
    """
    for name in ("weighted_map", "map"):
        for column in (f"val_{name}", name):
            if column in table:
                return column
    raise ValueError(
        "Logs must have mAP@100, as `val_weighted_map`, `weighted_map`, "
        f"`val_map` or `map`. Received: {sorted(map(str, table))}."
    )


def _draw_progress(ax, rows, by, column):
    """Draw the curves of one quantity, and its axes."""
    names = rows.table[by].unique().tolist()
    for name, (color, marker) in zip(
        names, itertools.cycle(LOOKS), strict=False
    ):
        table = rows.table[rows.table[by] == name]
        seeds = table.groupby("seed") if "seed" in table else ()
        for _, one in seeds:
            ax.plot(one["step"], one[column], color=color, alpha=0.35, lw=0.7)
        mean = table.groupby("step")[column].mean()
        ax.plot(
            mean.index,
            mean,
            color=color,
            marker=marker,
            markersize=3,
            lw=1.3,
            label=drawable(str(name).replace("_", " ")),
        )
    ax.set_xlabel("Steps of pre-training")
    ax.grid(axis="y", alpha=0.25, linewidth=0.5)
    ax.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.16))


def _draw_gains(ax, scores, class_names, x, untrained):
    """Draw a bar per class and mode."""
    ends = scores[scores[x].isin([scores[x].min(), scores[x].max()])]
    groups = ends.groupby(["mode", "class", x])["score"]
    means, errors = groups.mean().unstack(), groups.sem().unstack()
    gains = means.iloc[:, -1] - means.iloc[:, 0]
    errors = np.sqrt((errors**2).sum(axis=1))
    order = gains.groupby("class").mean().sort_values().index
    modes = sorted(scores["mode"].unique())
    height = 0.8 / len(modes)
    for i, (mode, look) in enumerate(
        zip(modes, itertools.cycle(LOOKS), strict=False)
    ):
        # The first mode on top, as in the legend.
        at = np.arange(len(order)) + height * ((len(modes) - 1) / 2 - i)
        ax.barh(
            at,
            gains[mode][order],
            height,
            color=look[0],
            xerr=errors[mode][order],
            error_kw={"lw": 0.7},
            label=drawable(str(mode).replace("_", " ")),
        )
    ax.axvline(0, color="black", lw=0.6)
    ax.set_yticks(range(len(order)), [class_names[i] for i in order])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x", alpha=0.25, linewidth=0.5)
    low, high = scores[x].min(), scores[x].max()
    start = untrained if low == 0 else short(low)
    ax.set_xlabel(f"Points gained from {start} to {short(high)} images")
    ax.set_title("Each class")
    ax.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.16), ncols=2)


def _draw_panel(ax, rows, x, y, modes, *, factor=1, bounds=None):
    """Draw the curves of one task, its axes and its legend."""
    rows.check_numbers(x)
    scores = rows.scores(y, bounds)
    scale = scores.unit.factor
    rows = rows.scaled(y, scale)
    bounds = tuple(scale * bound for bound in scores.bounds)
    percent = scale == 100 and bounds[0] == 0
    if not modes:
        modes, rows = ["runs"], rows.assign(mode="runs")
    for mode, look in zip(modes, itertools.cycle(LOOKS), strict=False):
        part = rows.where(rows.table["mode"] == mode)
        if not len(part):
            continue
        laws = {"factor": factor, "bounds": bounds}
        name = drawable(str(mode).replace("_", " "))
        _draw_curve(ax, part, x, y, name, *look, **laws)
    sizes = np.unique(rows.table.loc[~rows.untrained, x])
    ax.set_xscale("log")
    ticks = _apart(np.unique([*sizes, *(sizes[-1:] * factor)]))
    ax.set_xticks(ticks, [short(size) for size in ticks])
    ax.set_xticks([], minor=True)
    # Rows without a mode are of other tools, which may not pre-train.
    images = "Images" if "runs" in modes else "Pre-training images"
    if x != "num_examples":
        images = x
    ax.set_xlabel(drawable(f"{images} (log scale)"))
    (task,) = rows.values("task") or [None]
    known = task in METRICS and METRICS[task].score == y
    title = METRICS[task].title if known else y
    ax.set_ylabel(drawable(f"{title} (%)" if percent else title))
    ax.set_title(drawable(units.titled(str(task))) if task else "")
    ax.grid(axis="y", alpha=0.25, linewidth=0.5)
    # Colors are modes; the legend explains bands and dashes once, in gray.
    if len(sizes) >= SIZES_TO_DECIDE:
        ax.fill_between([], [], color="gray", label=BAND, **SHADE)
    if rows.untrained.any():
        ax.plot([], [], color="gray", label=rows.start, **DASHED)
    # Below the axes, since inside it would cover an interval or a line.
    ax.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.16))


def _draw_paper(ax, rows, x, y):
    """Draw the scores that the paper prints for a task and metric, if any."""
    (task,) = rows.values("task") or [None]
    if x != "num_examples" or (task, y) not in printed.SCORES:
        return
    name, points = printed.SCORES[task, y]
    percent = units.natural_bounds(rows.table[y]) == (0, 100)
    percent = percent or ax.get_ylabel().endswith("(%)")
    scores = np.array(list(points.values())) / (1 if percent else 100)
    ax.plot(
        list(points),
        scores,
        **printed.LOOK,
        label=f"Sun et al. 2017 ({name}, fine-tuned)",
    )
    ticks = _apart(np.union1d(ax.get_xticks(), list(points)))
    ax.set_xticks(ticks, [short(size) for size in ticks])
    ax.set_xticks([], minor=True)
    ax.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.16))


def _apart(sizes):
    """Return the sizes, out of increasing ones, whose labels do not overlap."""
    if not len(sizes):
        return []
    room = np.log(sizes[-1] / sizes[0]) / 10
    kept = [sizes[-1]]
    for size in sizes[-2::-1]:
        if np.log(kept[0] / size) >= room:
            kept.insert(0, size)
    return kept


def _draw_curve(ax, rows, x, y, name, color, marker, *, factor, bounds):
    """Draw the runs, means, law and random initialization of one mode."""
    untrained, trained = rows.table[rows.untrained], rows.table[~rows.untrained]
    ax.scatter(trained[x], trained[y], s=9, alpha=0.45, lw=0, color=color)
    means = trained.groupby(x)[y].mean()
    mean = {"color": color, "marker": marker, "markersize": 5}
    if len(means) < SIZES_TO_DECIDE:  # A line through the means instead.
        ax.plot(means.index, means, label=name, **mean)
    else:
        # The direction does not change any line.
        law = fit(rows, x, y, bounds=bounds, direction="max")
        largest = means.index.max()
        grid = np.geomspace(means.index.min(), factor * largest, 100)
        low, high = law.prediction_interval(grid)
        ax.fill_between(grid, low, high, color=color, **SHADE)
        for at, style in ((grid <= largest, "-"), (grid > largest, ":")):
            curve = law.predict(grid[at])
            ax.plot(grid[at], curve, color=color, lw=1.3, linestyle=style)
        ax.plot(means.index, means, label=name, linestyle="none", **mean)
    if len(untrained):
        ax.axhline(untrained[y].mean(), color=color, **DASHED)


def short(number):
    """Return a size in short form: 300, 1k, 30k, 300M.

    Args:
        number: The size.
    """
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{letter}"
    return f"{number:.3g}"
