"""Pairs of images side by side, for a person to judge a threshold.

Beside their similarity stands a second opinion, of pixels alone.
"""

import numpy as np
from PIL import Image

from keras_jft.html_page import drawable

_SIDE = 32  # Pixels of the thumbnails that are compared.
_CROPS = (1.0, 0.9)  # Sides of the windows that are compared.


def near(duplicates, num_pairs, threshold=None):
    """The pairs nearest to a threshold, the most similar first.

    Args:
        duplicates: What `find` gave.
        num_pairs: How many, half of them on each side where there are.
        threshold: By default that of `duplicates`.

    Returns:
        Positions of the queries.
    """
    threshold = duplicates.threshold if threshold is None else threshold
    order = np.argsort(-duplicates.similarity, kind="stable")
    above = int((duplicates.similarity >= threshold).sum())
    start = min(max(0, above - num_pairs // 2), max(0, len(order) - num_pairs))
    return order[start : start + num_pairs]


def gallery(duplicates, rows, queries, references, columns=6, notes=None):
    """A figure of pairs: a query above its best reference.

    Args:
        duplicates: What `find` gave.
        rows: Positions of the queries to show, such as `near` gives.
        queries: A function from the id of a query to its image, `(H, W, 3)`
            uint8.
        references: The same for `best_ids`.
        columns: Pairs side by side.
        notes: Words under a pair, one of each of `rows`.

    Returns:
        A matplotlib `Figure`; `savefig` writes it.

    Raises:
        ValueError: There are no pairs to show.
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


def perceptual_hash(image):
    """64 bits: where the low frequencies of an image are above their median.

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


def hash_distance(one, other):
    """Bits that differ between two images, mirrored or not; 32 by chance.

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


def correlation(one, other):
    """Correlation of the pixels at the best of a few alignments.

    Mirrored or not, whole or one a window of 90% of the other.

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
    # Whole against windows and windows against whole, not windows twice.
    return float(
        max(
            (views[0] @ others.T).max(),
            (views @ others[0]).max(),
            (views @ others[len(views)]).max(),
        )
    )


def _views(image):
    """`(n, D)` rows of length 1: the whole image, then windows of it."""
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
    # Less the mean color, or all orange images would be alike.
    rows -= rows.mean(axis=(1, 2), keepdims=True)
    rows = rows.reshape(len(rows), -1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, 1e-6)


def _thumbnail(picture, box=None):
    small = picture.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, box=box)
    return np.asarray(small, "float32")
