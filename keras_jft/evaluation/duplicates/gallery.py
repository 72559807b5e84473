"""Show pairs of images side by side, for a person to judge a threshold.

`correlation` and `hash_distance` give a second opinion from pixels alone.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from keras_jft.evaluation.duplicates.search import Duplicates
from keras_jft.html_page import drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIDE = 32  # Height and width of the compared thumbnails, in pixels.
_CROPS = (1.0, 0.9)  # Sides of the compared windows, as shares of the image.


def near(
    duplicates: Duplicates, num_pairs: int, threshold: float | None = None
) -> np.ndarray:
    """Return the pairs nearest to a threshold, most similar first.

    Args:
        duplicates: The result of `find`.
        num_pairs: Number of pairs, half of them on each side if possible.
        threshold: The threshold; None means that of `duplicates`.

    Returns:
        Positions of the queries.
    """
    threshold = duplicates.threshold if threshold is None else threshold
    order = np.argsort(-duplicates.similarity, kind="stable")
    above = int((duplicates.similarity >= threshold).sum())
    start = min(max(0, above - num_pairs // 2), max(0, len(order) - num_pairs))
    return order[start : start + num_pairs]


def gallery(
    duplicates: Duplicates,
    rows: Sequence[int],
    queries: Callable[[Any], np.ndarray],
    references: Callable[[Any], np.ndarray],
    columns: int = 6,
    notes: Sequence[str] | None = None,
) -> "Figure":
    """Plot pairs of images, each a query above its best reference.

    Args:
        duplicates: The result of `find`.
        rows: Positions of the queries to show, such as those from `near`.
        queries: A function from the id of a query to its image, `(H, W, 3)`
            uint8.
        references: The same for `best_ids`.
        columns: Number of pairs side by side.
        notes: A string to show with each pair, one for each of `rows`.

    Returns:
        A Matplotlib `Figure`; `savefig` writes it.

    Raises:
        ValueError: If there are no pairs to show.
    """

    from matplotlib.figure import Figure

    if not len(rows):
        raise ValueError("`rows` must name pairs to show. Received none.")
    height = -(-len(rows) // columns)
    figure = Figure(
        figsize=(1.35 * columns, 2.9 * height), layout="constrained"
    )
    axes = np.reshape(figure.subplots(2 * height, columns), (-1, columns))
    for axis in axes.ravel():
        axis.axis("off")
    for place, row in enumerate(rows):
        line, column = divmod(place, columns)
        top, bottom = axes[2 * line, column], axes[2 * line + 1, column]
        top.imshow(queries(duplicates.ids[row]))
        bottom.imshow(references(duplicates.best_ids[row]))
        similarity = duplicates.similarity[row]
        found = similarity >= duplicates.threshold
        top.set_title(
            f"{similarity:.3f}",
            fontsize=9,
            pad=3,
            color="C3" if found else "0.4",
        )
        if notes is not None:
            bottom.set_title(
                drawable(notes[place]), fontsize=7, pad=2, color="0.4"
            )
    figure.suptitle(
        f"a query above its best reference; red: at {duplicates.threshold:.3f} "
        "or more",
        fontsize=9,
    )
    return figure


def perceptual_hash(image: np.ndarray) -> np.ndarray:
    """Return 64 bits: which low frequencies of an image exceed their median.

    Args:
        image: `(H, W, 3)` uint8.

    Returns:
        `(64,)` bool.

    References:
        Zauner 2010, "Implementation and benchmarking of perceptual image hash
        functions", section 3.2.1.
    """
    from scipy import fft

    frequencies = fft.dctn(_thumbnail(Image.fromarray(image).convert("L")))
    low = frequencies[1:9, 1:9]
    return (low > np.median(low)).ravel()


def hash_distance(one: np.ndarray, other: np.ndarray) -> int:
    """Return how many hash bits of two images differ; 32 are due to chance.

    The smaller number of the second image and its mirror image counts.

    Args:
        one: `(H, W, 3)` uint8.
        other: `(H, W, 3)` uint8, of any size.

    Returns:
        An integer, 0 to 64.
    """
    of_one = perceptual_hash(one)
    return min(
        int((of_one != perceptual_hash(np.ascontiguousarray(image))).sum())
        for image in (other, other[:, ::-1])
    )


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of pixels at the best of a few alignments.

    The alignments: the second image mirrored or not; both whole, or one of them
    a window of 90% of the other.

    Args:
        one: `(H, W, 3)` uint8.
        other: `(H, W, 3)` uint8, of any size.

    Returns:
        A number in [-1, 1]; near 1 for copies.
    """
    views = _views(one)
    others = np.concatenate(
        [_views(image) for image in (other, other[:, ::-1])]
    )
    # Whole against windows and windows against whole, not windows of both.
    return float(
        max(
            (views[0] @ others.T).max(),
            (views @ others[0]).max(),
            (views @ others[len(views)]).max(),
        )
    )


def _views(image):
    """Return `(n, D)` unit vectors: the whole image, then windows of it."""
    picture = Image.fromarray(np.ascontiguousarray(image)).convert("RGB")
    width, height = picture.size
    rows = []
    for share in _CROPS:
        wide, high = share * width, share * height
        steps = (0.0,) if share == 1 else (0.0, 0.25, 0.5, 0.75, 1.0)
        for x in steps:
            for y in steps:
                left, top = x * (width - wide), y * (height - high)
                box = (left, top, left + wide, top + high)
                rows.append(_thumbnail(picture, box))
    rows = np.stack(rows)
    # Subtract the mean color, or all orange images would be similar.
    rows -= rows.mean(axis=(1, 2), keepdims=True)
    rows = rows.reshape(len(rows), -1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, 1e-6)


def _thumbnail(picture, box=None):
    small = picture.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, box=box)
    return np.asarray(small, "float32")
