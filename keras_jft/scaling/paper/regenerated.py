"""All tables and figures of the paper from the rows of `benchmarks/paper.py`.

A row says in `shown_in` which of them it belongs to, such as "table 2".
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_jft.html_page import (
    Bullets,
    Heading,
    Picture,
    Pictures,
    Table,
    Text,
    check_path,
    svg_of,
    write,
)
from keras_jft.scaling.paper import findings as findings_lib
from keras_jft.scaling.paper import paper
from keras_jft.scaling.paper.capacity import plot_capacity
from keras_jft.scaling.paper.tables import PaperTable, paper_table
from keras_jft.scaling.paper.timeline import plot_timeline
from keras_jft.scaling.reporting.figures import (
    PANEL,
    STYLE,
    plot_data_size,
    plot_progress,
)
from keras_jft.scaling.rows.table import Rows, RowsLike
from keras_jft.typing import PathLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BY = ("pretraining", "num_examples")
_TOLD = ("pretraining", "shown_in", "class_names")


def paper_page(
    rows: RowsLike, path: PathLike, *, progress: RowsLike | None = None
) -> tuple[Path, Path]:
    """Write the paper's findings, tables and figures beside those of rows.

    Args:
        rows: Rows of `benchmarks/paper.py`, of one seed or more, all arms or
            some.
        path: Where to write the page, `*.html`; the same without figures goes
            to Markdown beside it.
        progress: Lines of the logs of pre-training, for Figure 3.

    Returns:
        The paths of both files.

    Raises:
        ValueError: The rows lack a column, or `path` does not name HTML.
    """
    check_path(path)
    found = findings_lib.findings(rows, progress)
    blocks = [
        Text(
            "Each finding of Sun et al. 2017 that the rows have arms for: the "
            "difference that the paper prints, in points, and that of the "
            "rows, with its 95% interval over seeds. A finding is decided only "
            "if the whole interval is on one side."
        ),
        _findings(found),
        Heading("Figures"),
        Pictures(
            tuple(
                Picture(svg_of(figure), f"Figure {number}")
                for number, figure in paper_figures(rows, progress).items()
            )
        ),
        Heading("Tables"),
    ]
    for number, table in paper_tables(rows).items():
        cells = table.text()
        blocks.append(
            Table(
                f"Table {number}, transposed: {table.title}",
                ("", *cells.columns),
                tuple(
                    (name, *row)
                    for name, row in zip(
                        cells.index, cells.to_numpy(), strict=True
                    )
                ),
            )
        )
        if table.faults:
            blocks.append(Bullets(tuple(map(str, table.faults))))
    blocks += [
        Heading("Faults of the text"),
        Bullets(tuple(str(fault) for fault in paper.FAULTS)),
    ]
    return write(path, "Sun et al. 2017, and these runs", blocks)


def _findings(found):
    def said(value):
        return "" if np.isnan(value) else f"{value:+.1f}"

    return Table(
        "Findings",
        ("where", "finding", "paper", "ours", "95% interval", "seeds", ""),
        tuple(
            (
                one.where,
                one.says,
                said(one.paper),
                said(one.ours),
                f"{said(one.low)} to {said(one.high)}" * (one.seeds > 1),
                str(one.seeds),
                one.verdict,
            )
            for one in found
        ),
        words=True,
    )


def paper_tables(rows: RowsLike) -> dict[int, PaperTable]:
    """Return Tables 1-14 by number, with means of the rows that belong there.

    Args:
        rows: Rows with `shown_in`, a list of texts such as "table 2", and with
            `pretraining`. Scores of classes need `class_names`, in their order.
    """
    rows = Rows(rows).succeeded()
    rows.check_columns("shown_in", *BY)
    found = {}
    for number, printed in paper.tables().items():
        part = _shown(rows, f"table {number}")
        if not len(part):
            found[number] = paper_table(number)
            continue
        names = None
        if "classes" in printed and "class_names" in part:
            names = next(
                (
                    names
                    for names in part.table["class_names"]
                    if isinstance(names, (list, tuple))
                ),
                None,
            )
        found[number] = paper_table(number, part, by=BY, class_names=names)
    return found


def paper_figures(
    rows: RowsLike, progress: RowsLike | None = None
) -> dict[int, "Figure"]:
    """Return Figures 1, 3, 4, 5 and 6 by number, those that there are rows for.

    Figure 2 shows images: `jft.data.describe` draws it for a data set.

    Args:
        rows: As for `paper_tables`; Figure 5 needs the column `layers`.
        progress: Lines of the logs of pre-training, for Figure 3.
    """
    rows = Rows(rows).succeeded()
    rows.check_columns("shown_in", "benchmark", "pretraining")
    found = {1: plot_timeline(rows)}
    if progress is not None:
        found[3] = plot_progress(progress, by="pretraining")
    part = _shown(rows, "figure 4")
    if len(part):
        found[4] = _sizes(part, {"COCO": "ap", "VOC 2007": "voc_ap"})
    part = _shown(rows, "figure 5")
    sizes = part.table["num_examples"].nunique() if len(part) else 0
    if sizes > 1:
        nets = _without(part, "arm", *_TOLD)
        found[5] = plot_capacity(nets, "layers", paper=True)
    part = _shown(rows, "figure 6")
    if len(part):
        found[6] = _sizes(part, {"VOC 2012": "miou"})
    return found


def _shown(rows, place):
    return rows.where(rows.table["shown_in"].map(lambda own: place in own))


def _without(rows, *columns):
    """Return rows without columns that tell apart what is one curve here."""
    return Rows(rows.table.drop(columns=[*columns], errors="ignore"))


def _sizes(rows, scores):
    """Return a figure with a panel of score by size per benchmark."""
    import matplotlib.pyplot as plt

    # Sizes of one curve: the same pre-training on more or fewer images.
    curve = rows.table["pretraining"].map(lambda name: name.startswith("JFT"))
    rows = rows.where(curve)
    scores = {b: y for b, y in scores.items() if b in rows.values("benchmark")}
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            ncols=max(1, len(scores)),
            figsize=(PANEL[0] * max(1, len(scores)), PANEL[1]),
            squeeze=False,
            layout="constrained",
        )
    for (benchmark, y), ax in zip(scores.items(), panels[0], strict=False):
        part = rows.where(rows.table["benchmark"] == benchmark)
        part = _without(part, *_TOLD)
        plot_data_size(part, ax, y=y, modes=rows.values("mode"), paper=True)
        ax.set_title(benchmark, fontsize=STYLE["axes.titlesize"])
    return figure
