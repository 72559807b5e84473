"""Figures of a data set, each the SVG of one panel."""

import numpy as np

from keras_jft.pages import svg_of

COLOR, SECOND = "#0072B2", "#D55E00"  # Of Okabe and Ito.
PANEL = (4.6, 3.4)  # Inches.
STYLE = {
    "font.size": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
}
_MOST_POINTS = 400  # A page is not to carry a point a class.
_MOST_BARS = 40


def rank_count(images, marks=(20, 100)):
    """Images of each class by its rank, both axes logarithmic.

    Args:
        images: `(C,)` images a class; those without any are not drawn.
        marks: Numbers of images that get a line.
    """
    counts = np.sort(images[images > 0])[::-1]
    ranks = np.geomspace(1, max(1, len(counts)), _MOST_POINTS)
    ranks = np.unique(ranks.round().astype(int))[: len(counts)]

    def draw(ax):
        for mark in marks:
            ax.axhline(mark, color="gray", lw=0.8, linestyle="--")
            ax.annotate(
                f"{mark} images",
                (0, mark),
                xycoords=("axes fraction", "data"),
                xytext=(3, 2),
                textcoords="offset points",
                color="gray",
                fontsize=7,
            )
        if len(counts):
            ax.plot(ranks, counts[ranks - 1], color=COLOR, marker=".", ms=3)
        ax.set(xscale="log", yscale="log")
        ax.set(xlabel="Rank of the class", ylabel="Images of the class")

    return _svg(draw)


def per_image(histogram, what, other=None):
    """Images by how many of something they have.

    Args:
        histogram: `Histogram` of numbers an image.
        what: What is counted, in words.
        other: A pair of words and a `Histogram` to stand beside it, or None.
    """
    series = (
        [(what, histogram)] if other is None else [(what, histogram), other]
    )
    longest = max(len(h.counts) for _, h in series)
    shown = min(max(1, longest), _MOST_BARS + 1)
    wide = 0.8 / len(series)

    def draw(ax):
        for i, (name, one) in enumerate(series):
            counts = np.zeros(shown, "int64")
            counts[: len(one.counts)] = one.counts[:shown]
            counts[-1] += one.counts[shown:].sum()
            at = np.arange(shown) + wide * (i - (len(series) - 1) / 2)
            color = (COLOR, SECOND)[i]
            ax.bar(at, counts, wide, color=color, label=name)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(axis="x", visible=False)
        more = ", the last bar: or more" if longest > shown else ""
        ax.set(xlabel=f"{what} an image{more}", ylabel="Images")
        if len(series) > 1:
            ax.legend()

    return _svg(draw)


def image_sizes(sizes):
    """Widths and heights, the larger a point the more images.

    Args:
        sizes: `Counter` of (height, width).
    """
    common = sizes.most_common(_MOST_POINTS)
    places = np.array([size for size, _ in common])
    counts = np.array([count for _, count in common])

    def draw(ax):
        area = 6 + 200 * counts / counts.max()
        ax.scatter(
            places[:, 1], places[:, 0], area, color=COLOR, alpha=0.4, lw=0
        )
        limit = 1.08 * places.max()
        ax.plot([0, limit], [0, limit], color="gray", lw=0.8, linestyle="--")
        ax.set(xlim=(0, limit), ylim=(0, limit), aspect="equal")
        ax.set(xlabel="Width, pixels", ylabel="Height, pixels")

    return _svg(draw)


def _svg(draw):
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=PANEL, layout="constrained")
        draw(ax)
        return svg_of(figure)
