"""Compare two images by their pixels alone: a second opinion on a duplicate."""

import numpy as np
from PIL import Image

_SIDE = 32  # Height and width of the compared thumbnails, in pixels.
_CROPS = (1.0, 0.9)  # Sides of the compared windows, as shares of the image.


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
