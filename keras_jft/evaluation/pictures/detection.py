"""Draw detected boxes beside the true ones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_jft.data.batch import PADDING
from keras_jft.html_page import drawable
from keras_jft.text import number_of
from keras_jft.typing import Arrays

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colors, which color-blind readers can tell apart, and others.
COLORS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#8C564B", "#7F7F7F", "#BCBD22", "#9467BD"),
)
WIDTH = 4.5  # Inches of a panel.


def plot_detections(
    images: Arrays,
    truth: Any,
    predictions: Any,
    label_names: Sequence[str] | None = None,
    *,
    threshold: float = 0.5,
) -> "Figure":
    """Plot a row per image: true boxes on the left, detections on the right.

    Boxes have the color of their class, and detections show their score in
    percent. Ignored boxes (crowds, difficult objects) are dashed.

    Args:
        images: Images `(H, W, 3)` in 0..255, of any sizes.
        truth: A list of one `bounding_boxes` per image, or the dict of a batch.
        predictions: A list of one dict with `boxes`, `labels` and `scores` per
            image, or the dict of a batch that `predict` returns.
        label_names: One name per class, or None to number the classes.
        threshold: Detections with a lower score are not drawn.

    Returns:
        The Matplotlib figure.

    Raises:
        ValueError: If there are no images, or the numbers of images, truths
            and predictions differ.
    """
    import matplotlib.pyplot as plt

    truth, predictions = _by_image(truth), _by_image(predictions)
    if not len(images) == len(truth) == len(predictions) or not len(images):
        raise ValueError(
            "There must be at least one image, with truth and predictions for "
            f"each. Received: {number_of(len(images), 'image')}, "
            f"{number_of(len(truth), 'truth')}, "
            f"{number_of(len(predictions), 'prediction')}."
        )
    heights = [WIDTH * image.shape[0] / image.shape[1] for image in images]
    figure, panels = plt.subplots(
        nrows=len(images),
        ncols=2,
        figsize=(2 * WIDTH, sum(heights) + 0.3),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for row, image, true, found in zip(
        panels, images, truth, predictions, strict=True
    ):
        _draw(row[0], image, true, label_names, threshold)
        _draw(row[1], image, found, label_names, threshold)
    panels[0][0].set_title("ground truth")
    panels[0][1].set_title(
        f"detections, score \N{GREATER-THAN OR EQUAL TO} {threshold:g}"
    )
    return figure


def _by_image(entries):
    """Return a list of dicts, one per image."""
    if not isinstance(entries, dict):
        return list(entries)
    count = len(entries["labels"])
    return [{k: v[i] for k, v in entries.items()} for i in range(count)]


def _draw(axes, image, entry, label_names, threshold):
    """Draw the boxes of one image, those with the highest scores on top."""
    axes.imshow(np.asarray(image).astype("uint8"), extent=_extent(image))
    axes.set_xticks([])
    axes.set_yticks([])
    labels = np.asarray(entry["labels"])
    scores = np.asarray(entry.get("scores", np.ones(len(labels))))
    ignored = np.asarray(entry.get("ignored", np.zeros(len(labels), bool)))
    shown = (labels != PADDING) & (scores >= threshold)
    # Names hide pixels, so make them smaller if there are many boxes.
    size = 8 if shown.sum() <= 12 else 6
    for i in np.flatnonzero(shown)[np.argsort(scores[shown], kind="stable")]:
        name = str(labels[i]) if label_names is None else label_names[labels[i]]
        name = drawable(name)
        if "scores" in entry:
            name = f"{name} {100 * scores[i]:.0f}"
        _box(
            axes,
            entry["boxes"][i],
            name,
            COLORS[labels[i] % len(COLORS)],
            "--" if ignored[i] else "-",
            size,
        )


def _box(axes, box, name, color, style, size):
    x1, y1, x2, y2 = np.asarray(box, float)
    axes.add_patch(_rectangle(x1, y1, x2, y2, edgecolor=color, linestyle=style))
    top = y1 > 0.06 * axes.get_ylim()[0]  # There is room above the box.
    axes.text(
        x1,
        y1,
        name,
        fontsize=size,
        color="white",
        verticalalignment="bottom" if top else "top",
        bbox={
            "facecolor": color,
            "edgecolor": "none",
            "pad": 0.8,
            "alpha": 0.85,
        },
        clip_on=True,
    )


def _rectangle(x1, y1, x2, y2, **style):
    from matplotlib.patches import Rectangle

    return Rectangle(
        (x1, y1), x2 - x1, y2 - y1, fill=False, linewidth=1.5, **style
    )


def _extent(image):
    """Return the extent that makes axes show box coordinates in pixels."""
    height, width = image.shape[:2]
    return 0, width, height, 0
