"""Figure 1 of the paper: nets and GPUs grow, data sets do not."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_jft.scaling.reporting.figures import LOOKS, PANEL, STYLE, short
from keras_jft.scaling.rows.table import Rows, RowsLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Point(NamedTuple):
    """A net, a GPU or a data set of a year.

    Attributes:
        year: When it was published.
        name: Its name.
        value: Layers, TFLOPS of float32, or images.
    """

    year: int
    name: str
    value: float


# The paper does not print the numbers behind its figure. These are the commonly
# quoted specifications, not checked against each publication.
TIMELINE = {
    "layers of the net": (
        Point(2012, "AlexNet", 8),
        Point(2014, "VGG-19", 19),
        Point(2015, "ResNet-101", 101),
        Point(2016, "Inception-ResNet-v2", 164),
    ),
    "TFLOPS of the GPU": (
        Point(2012, "GTX 580", 1.58),
        Point(2013, "K40", 4.29),
        Point(2015, "Titan X", 6.6),
        Point(2016, "P100", 10.6),
    ),
    "images of the data set": (
        Point(2012, "ImageNet", 1_281_167),
        Point(2016, "ImageNet", 1_281_167),
        Point(2017, "JFT-300M", 300_000_000),
    ),
}


def plot_timeline(rows: RowsLike | None = None) -> "Figure":
    """Plot how nets, GPUs and data sets grew from 2012 to 2017.

    Each curve is relative to its first point, on a log scale.

    Args:
        rows: Rows whose largest `num_examples` is drawn as one's own data set,
            in the last year; None: none.

    Returns:
        The Matplotlib figure.

    References:
        Sun et al. 2017, Figure 1.
    """
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=PANEL, layout="constrained")
        # Names of the last points, above their curves but for the middle one.
        for (name, points), (color, marker), above in zip(
            TIMELINE.items(), LOOKS, (4, -10, -2), strict=False
        ):
            years, _, values = zip(*points, strict=True)
            ax.plot(
                years,
                np.array(values) / values[0],
                color=color,
                marker=marker,
                markersize=4,
                lw=1.3,
                label=name,
            )
            first, last = points[0], points[-1]
            ax.annotate(
                f"{last.name}: {short(last.value)}",
                (last.year, last.value / first.value),
                xytext=(-6, above),
                textcoords="offset points",
                ha="right",
                fontsize=6,
                color=color,
            )
        if rows is not None:
            most = Rows(rows).table["num_examples"].max()
            ax.plot(
                [2017],
                [most / TIMELINE["images of the data set"][0].value],
                "*",
                color="#444444",
                label=f"these rows: {short(most)} images",
            )
        ax.set_yscale("log")
        ax.set_ylabel("Relative to the first point (log scale)")
        ax.set_xlabel("Year")
        ax.grid(axis="y", alpha=0.25, linewidth=0.5)
        ax.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.16))
    return figure
