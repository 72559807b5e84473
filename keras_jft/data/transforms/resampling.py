"""Resampling of pixels: linear for images, nearest for masks.

OpenCV is used if it is installed (the extra `fast`), else Pillow; results agree
within one gray level. Pixel centers are at .5, so that resizing and mirroring
commute; edges are repeated.

Shapes: H W image height and width, C channels.
"""

import functools
import math

import numpy as np
from PIL import Image


def resample(pixels, image_size, window=None, *, antialias=True):
    """Return a window of the resized `pixels`, computing no more than it.

    The result is that of resizing everything and cropping, within one gray
    level.

    Args:
        pixels: `(H, W, C)` uint8; an image if C is 3, else class indices, of
            which the nearest is taken.
        image_size: `(height, width)` that all of `pixels` is resized to.
        window: `(top, left, height, width)` in it; by default all of it.
        antialias: Whether, when shrinking, a pixel is the mean of all pixels
            that it covers, weighted by a triangle, instead of the four around
            its center. Pillow does so; TensorFlow 1 did not.

    Returns:
        `(height, width, C)` uint8 of the window. It may be a view.

    Example:

    >>> ramp = np.repeat(np.uint8([[[0], [100], [200], [100]]]), 3, axis=-1)
    >>> resample(ramp, (1, 8), (0, 1, 1, 4), antialias=False)[0, :, 0].tolist()
    [25, 75, 125, 175]
    """
    top, left, height, width = window or (0, 0, *image_size)
    rows, columns = (top, top + height), (left, left + width)
    if pixels.shape[-1] != 3:
        rows = _nearest(*rows, pixels.shape[0], image_size[0])
        columns = _nearest(*columns, pixels.shape[1], image_size[1])
        return pixels[rows[:, None], columns]
    # Plain numbers: NumPy's functions of tuples cost as much as 50 rows.
    shrinks = image_size[0] < pixels.shape[0] or image_size[1] < pixels.shape[1]
    if antialias and shrinks:
        return _by_pillow(pixels, image_size, rows, columns, antialias=True)
    if _opencv() is None:
        return _by_pillow(pixels, image_size, rows, columns, antialias=False)
    return _by_opencv(pixels, image_size, rows, columns)


def affine(pixels, matrix, fill):
    """Return `(H, W, C)` pixels, each taken from another place.

    Args:
        pixels: `(H, W, C)` uint8, as for `resample`.
        matrix: `(2, 3)`: the pixel at (x, y) is taken from the place
            `matrix @ (x, y, 1)`.
        fill: Value of pixels from outside.

    Example:

    >>> mask = np.uint8([[[1], [2], [3]]])
    >>> affine(mask, [[1, 0, 1], [0, 1, 0]], fill=255)[0, :, 0].tolist()
    [2, 3, 255]
    """
    height, width, channels = pixels.shape
    image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
    moved = image.transform(
        (width, height),
        Image.Transform.AFFINE,
        np.ravel(matrix).tolist(),
        Image.Resampling["BILINEAR" if channels == 3 else "NEAREST"],
        fillcolor=(fill,) * 3 if channels == 3 else fill,
    )
    return np.asarray(moved).reshape(height, width, channels)


def mirror(pixels):
    """Return `(H, W, C)` pixels with left and right exchanged."""
    if _opencv() is None or pixels.shape[-1] != 3:
        return pixels[:, ::-1]
    # A view would be copied pixel by pixel when a batch is stacked.
    return _opencv().flip(pixels, 1)


def _nearest(start, stop, old, new):
    """Return positions among `old` of the places `start..stop` among `new`."""
    return ((np.arange(start, stop) + 0.5) * old / new).astype(int)


def _by_pillow(pixels, image_size, rows, columns, antialias):
    scales = np.divide(pixels.shape[:2], image_size)
    top, bottom = np.multiply(rows, scales[0])
    left, right = np.multiply(columns, scales[1])
    box = left, top, min(right, pixels.shape[1]), min(bottom, pixels.shape[0])
    size = columns[1] - columns[0], rows[1] - rows[0]
    image, linear = Image.fromarray(pixels), Image.Resampling.BILINEAR
    if antialias:
        return np.asarray(image.resize(size, linear, box=box))
    extent = Image.Transform.EXTENT
    return np.asarray(image.transform(size, extent, box, linear))


def _by_opencv(pixels, image_size, rows, columns):
    """Resize by OpenCV the smallest array that holds the window."""
    (y, first_row), (x, first_column) = (
        _origin(start, old, new)
        for start, old, new in zip(
            (rows[0], columns[0]), pixels.shape[:2], image_size, strict=True
        )
    )
    scales = [
        new / old for new, old in zip(image_size, pixels.shape[:2], strict=True)
    ]
    # One pixel beyond that of the last center, to interpolate with.
    bottom = math.ceil(rows[1] / scales[0]) + 1
    right = math.ceil(columns[1] / scales[1]) + 1
    resized = _opencv().resize(
        pixels[y:bottom, x:right], None, fx=scales[1], fy=scales[0]
    )
    return resized[
        rows[0] - first_row : rows[1] - first_row,
        columns[0] - first_column : columns[1] - first_column,
    ]


def _origin(start, old, new):
    """Return the last edge of a pixel of both sizes that is early enough.

    Only there can OpenCV start without changing the result. In an enlarged
    image, pixels within half an old pixel after an edge also depend on pixels
    before it, so the edge must be earlier.

    Returns:
        The edge, counted in pixels of the old size and of the new one.
    """
    common = math.gcd(old, new)
    early = math.ceil(new / old / 2) if new > old else 0
    steps = max(start - early, 0) // (new // common)
    return steps * (old // common), steps * (new // common)


@functools.cache
def _opencv():
    """Import OpenCV, or return None; its threads would be too many here."""
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    return cv2
