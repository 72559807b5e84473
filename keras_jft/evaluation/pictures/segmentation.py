"""Draw the image, truth, prediction and errors of a segmenter side by side.

Shapes: N images, H W image side, C classes.
"""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_jft.data.batch import VOID
from keras_jft.html_page import drawable
from keras_jft.text import number_of
from keras_jft.typing import Arrays

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colors, then Tol's muted ones; further hues are generated.
PALETTE = (
    "#56B4E9", "#D55E00", "#000000", "#999999", "#CC79A7", "#009E73",
    "#F0E442", "#AA4499", "#0072B2", "#E69F00", "#882255", "#44AA99",
    "#332288", "#DDCC77", "#117733", "#CC6677", "#88CCEE",
)  # fmt: skip
VOID_COLOR = "#FFFFFF"
RIGHT, WRONG = "#E6E6E6", "#C00000"
STYLE: dict[Any, float] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
}


def plot_segmentation(
    images: Arrays,
    masks: Arrays,
    predictions: Arrays,
    class_names: Sequence[str],
    titles: Sequence[str] | None = None,
) -> "Figure":
    """Plot a row per image: the image, the truth, the prediction, the errors.

    Each class has the same color in all masks, with a legend of the classes
    that occur. In the last column wrong pixels are dark red, correct ones gray
    and void white; its title gives the share of correct pixels.

    Args:
        images: N images `(H, W, 3)` in 0..255, of any sizes.
        masks: N true masks `(H, W)` or `(H, W, 1)`; 255 is void.
        predictions: N predicted masks in the same form.
        class_names: C names, in the order of the values of masks.
        titles: N names of rows, or None.

    Returns:
        The Matplotlib figure.

    Raises:
        ValueError: If there are no images, numbers or sizes differ, or a value
            is not a class.
    """
    import matplotlib.pyplot as plt

    rows = _checked(images, masks, predictions, len(class_names))
    colors = _class_colors(len(class_names))
    widths = max(image.shape[1] / image.shape[0] for image, *_ in rows)
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            len(rows),
            4,
            figsize=(8, (2 / widths) * len(rows) + 0.9),
            squeeze=False,
            layout="constrained",
        )
        for ax in panels.flat:
            ax.set_xticks([])
            ax.set_yticks([])
        for panel, row in zip(panels, rows, strict=True):
            _draw_row(panel, row, colors)
        for ax, title in zip(
            panels[0], ("Image", "Truth", "Prediction"), strict=False
        ):
            ax.set_title(title)
        for ax, title in zip(panels[:, 0], titles or (), strict=False):
            ax.set_ylabel(drawable(title))
        _add_legend(figure, rows, class_names, colors)
    return figure


def _class_colors(count):
    """Return `(256, 3)` floats: the color of each class, and of void at 255.

    Args:
        count: Number of classes.
    """
    import matplotlib.colors

    golden = (np.sqrt(5) - 1) / 2
    spread = (
        matplotlib.colors.hsv_to_rgb((i * golden % 1, 0.65, 0.9))
        for i in itertools.count()
    )
    known = (matplotlib.colors.to_rgb(color) for color in PALETTE)
    table = np.ones((256, 3))
    table[:count] = list(
        itertools.islice(itertools.chain(known, spread), count)
    )
    table[VOID] = matplotlib.colors.to_rgb(VOID_COLOR)
    return table


def _draw_row(panel, row, colors):
    import matplotlib.colors

    image, mask, prediction = row
    counted = mask != VOID
    right = counted & (mask == prediction)
    errors = np.ones((*mask.shape, 3))
    errors[right] = matplotlib.colors.to_rgb(RIGHT)
    errors[counted & ~right] = matplotlib.colors.to_rgb(WRONG)
    pictures = image, colors[mask], colors[prediction], errors
    for ax, picture in zip(panel, pictures, strict=True):
        ax.imshow(picture, interpolation="nearest")
    share = f"{right.sum() / counted.sum():.0%}" if counted.any() else "nothing"
    panel[-1].set_title(f"Errors; {share} right")


def _add_legend(figure, rows, class_names, colors):
    from matplotlib.patches import Patch

    seen = np.unique(np.concatenate([np.union1d(*r[1:]) for r in rows]))
    patches = [
        Patch(facecolor=colors[i], label=drawable(class_names[i]))
        for i in seen
        if i != VOID
    ]
    patches += [
        Patch(facecolor=VOID_COLOR, edgecolor="gray", label="void"),
        Patch(facecolor=RIGHT, label="right"),
        Patch(facecolor=WRONG, label="wrong"),
    ]
    figure.legend(
        handles=patches,
        loc="outside lower center",
        ncols=min(7, len(patches)),
        frameon=False,
    )


def _checked(images, masks, predictions, num_classes):
    """Check the images; return triples of image, mask and prediction."""
    counts = {len(images), len(masks), len(predictions)}
    if len(counts) > 1 or 0 in counts:
        raise ValueError(
            "Give as many masks and predictions as images, at least one. "
            f"Received: {number_of(len(images), 'image')}, "
            f"{number_of(len(masks), 'mask')}, "
            f"{number_of(len(predictions), 'prediction')}."
        )
    rows = []
    for image, *pair in zip(images, masks, predictions, strict=True):
        image = np.asarray(image).astype("uint8")
        mask, prediction = (
            np.asarray(m).reshape(np.shape(m)[:2]).astype("int64") for m in pair
        )
        if not image.shape[:2] == mask.shape == prediction.shape:
            raise ValueError(
                "Masks must have the size of their image. Received shapes: "
                f"image {image.shape}, mask {mask.shape}, prediction "
                f"{prediction.shape}."
            )
        values = np.union1d(mask, prediction)
        strays = values[(values >= num_classes) & (values != VOID)]
        if strays.size or values[0] < 0:
            raise ValueError(
                f"Masks must hold 0..{num_classes - 1} or {VOID}. Received: "
                f"{[*values[values < 0], *strays]}. `class_names` must name "
                "all classes."
            )
        rows.append((image, mask, prediction))
    return rows
