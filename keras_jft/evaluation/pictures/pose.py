"""Draw skeletons on images, and heat maps beside them.

Shapes: N images, P people in an image, K keypoints, H W image side.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_jft import sides
from keras_jft.html_page import drawable
from keras_jft.text import number_of
from keras_jft.typing import Arrays

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colors for left, right and neither.
COLORS = {"left": "#56B4E9", "right": "#E69F00", "": "#F0E442"}
STYLE: dict[Any, float] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
}


def plot_poses(
    images: Arrays,
    poses: Arrays,
    keypoint_names: Sequence[str],
    skeleton: Sequence[tuple[int, int]] = (),
    *,
    truth: Arrays | None = None,
    heatmaps: Arrays | None = None,
    least_score: float = 0.0,
    titles: Sequence[str] | None = None,
) -> "Figure":
    """Plot a row per image: truth, prediction and heat maps.

    The person's left side is blue, their right side orange, the rest yellow; a
    bone that joins two sides is yellow.

    Args:
        images: N images `(H, W, 3)` in 0..255, whole images or crops.
        poses: N predictions `(P, K, 3)`, or `(K, 3)` of one person: x, y in
            pixels and the score of the keypoint.
        keypoint_names: K names, `data.info.keypoint_names`.
        skeleton: Pairs of keypoints, counted from 0, `data.info.skeleton`.
        truth: N true poses in the same form, x, y and visibility; or None.
        heatmaps: N heat maps `(K, H, W)` in 0..1, or None; the maximum over the
            keypoints is shown.
        least_score: Predicted keypoints must score more than this to be drawn.
        titles: N names of rows, or None.

    Returns:
        The Matplotlib figure.

    Raises:
        ValueError: If there are no images, or numbers or sizes differ.
    """
    import matplotlib.pyplot as plt

    known = {"Truth": truth, "Prediction": poses, "Heat maps": heatmaps}
    columns = {k: v for k, v in known.items() if v is not None}
    _check(images, columns, len(keypoint_names))
    shape = max(np.shape(image)[1] / np.shape(image)[0] for image in images)
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            len(images),
            len(columns),
            figsize=(2.2 * len(columns), 2.2 / shape * len(images) + 0.5),
            squeeze=False,
            layout="constrained",
        )
        for number, image in enumerate(images):
            for ax, (name, values) in zip(
                panels[number], columns.items(), strict=True
            ):
                _show(ax, np.asarray(image), name == "Heat maps")
                if name == "Heat maps":
                    _draw_heat(ax, values[number])
                else:
                    least = 0.0 if name == "Truth" else least_score
                    _draw_people(
                        ax, values[number], keypoint_names, skeleton, least
                    )
        for ax, name in zip(panels[0], columns, strict=True):
            ax.set_title(name)
        for ax, title in zip(panels[:, 0], titles or (), strict=False):
            ax.set_ylabel(drawable(title))
        _add_legend(figure, keypoint_names)
    return figure


def _check(images, columns, count):
    numbers = {name: len(values) for name, values in columns.items()}
    if not len(images) or set(numbers.values()) != {len(images)}:
        raise ValueError(
            "Expected at least one image, and one entry of each kind per image."
            f" Received: {number_of(len(images), 'image')}, {numbers}."
        )
    for name, values in columns.items():
        for number, value in enumerate(values):
            shape = np.shape(value)
            size = np.shape(images[number])[:2]
            fits = (
                shape == (count, *size)
                if name == "Heat maps"
                else shape[-2:] == (count, 3) and len(shape) in (2, 3)
            )
            if not fits:
                raise ValueError(
                    f"{name} must have {number_of(count, 'keypoint')}, as "
                    "`keypoint_names`, and heat maps the size of their image. "
                    "Received: shape "
                    f"{shape} for image {number} of size {size}."
                )


def _show(ax, image, gray):
    """Show an image, dimmed and gray if a heat map will cover it."""
    if gray:
        image = np.repeat(image.mean(-1, keepdims=True), 3, axis=-1) * 0.5
    ax.imshow(
        np.clip(image, 0, 255).astype("uint8"),
        # Pixel (0, 0) extends from 0 to 1.
        extent=(0, image.shape[1], image.shape[0], 0),
    )
    ax.set_xticks([])
    ax.set_yticks([])


def _draw_people(ax, people, names, skeleton, least_score):
    limits = ax.axis()
    people = np.reshape(people, (-1, len(names), 3))
    sides_of = [side.side for side in sides.read(names)]
    colors = [COLORS[side] for side in sides_of]
    size = np.clip(220 / max(abs(limits[2] - limits[3]), 60), 1, 4)
    for person in people:
        shown = person[:, 2] > least_score
        for start, end in skeleton:
            if shown[start] and shown[end]:
                same = sides_of[start] == sides_of[end]
                ax.plot(
                    *person[[start, end], :2].T,
                    color=colors[start] if same else COLORS[""],
                    linewidth=size,
                    solid_capstyle="round",
                )
        ax.scatter(
            *person[shown, :2].T,
            c=[
                color for color, show in zip(colors, shown, strict=True) if show
            ],
            s=9 * size,
            edgecolors="black",
            linewidths=0.4,
            zorder=3,
        )
    ax.axis(limits)  # Keypoints outside must not widen the picture.


def _draw_heat(ax, heat):
    heat = np.max(heat, axis=0)
    ax.imshow(
        heat,
        cmap="inferno",
        alpha=np.clip(0.25 + heat, 0, 0.95),
        vmin=0,
        vmax=1,
        extent=(0, heat.shape[1], heat.shape[0], 0),
    )


def _add_legend(figure, names):
    from matplotlib.lines import Line2D

    found = {side.side for side in sides.read(names)}
    found = sorted(found, key=[*COLORS].index)
    handles = [
        Line2D([], [], color=COLORS[side], marker="o", markersize=4)
        for side in found
    ]
    labels = [side or "middle" for side in found]
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(found),
        frameon=False,
    )
