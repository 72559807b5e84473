"""Pixels at another size: linear for images, nearest for masks.

By OpenCV where it is installed (the extra `fast`), by Pillow where it is not:
alike within one grey level. Pixel centers lie at .5, so that an image and its
mirror are resized alike; edges are repeated.

Shapes: H W image side, C channels.
"""

import functools
import math

import numpy as np
from PIL import Image


def resample(pixels, image_size, window=None, *, antialias=True):
    """A window of the resized `pixels`; no more than the window is computed.

    Equal to resizing everything and cutting the window out, within one grey
    level.

    Args:
        pixels: `(H, W, C)` uint8; an image if C is 3, else class indices, of
            which the nearest is taken.
        image_size: `(height, width)` that all of `pixels` is resized to.
        window: `(top, left, height, width)` in it; all of it, if left out.
        antialias: Whether a pixel of a smaller image is the mean of all that
            it covers, weighted by a triangle, instead of the four around its
            center. That is Pillow's way; TensorFlow 1 did not do it.

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
    shrinks = min(np.subtract(image_size, pixels.shape[:2])) < 0
    if antialias and shrinks:
        return _by_pillow(pixels, image_size, rows, columns, antialias=True)
    if _opencv() is None:
        return _by_pillow(pixels, image_size, rows, columns, antialias=False)
    return _by_opencv(pixels, image_size, rows, columns)


def affine(pixels, matrix, fill):
    """`(H, W, C)` pixels that are each taken from another place.

    Args:
        pixels: `(H, W, C)` uint8, as for `resample`.
        matrix: `(2, 3)`: a point (x, y) is taken from `matrix @ (x, y, 1)`.
        fill: What is taken from outside.

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
    """`(H, W, C)` pixels with left and right in each other's place."""
    if _opencv() is None or pixels.shape[-1] != 3:
        return pixels[:, ::-1]
    # A view would be copied pixel by pixel when a batch is stacked.
    return _opencv().flip(pixels, 1)


def _nearest(start, stop, old, new):
    """Positions among `old` of the places `start..stop` among `new`."""
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
    """OpenCV resizes whole arrays only: the smallest that holds the window."""
    (y, first_row), (x, first_column) = (
        _origin(start, old, new)
        for start, old, new in zip(
            (rows[0], columns[0]), pixels.shape[:2], image_size, strict=True
        )
    )
    scales = np.divide(image_size, pixels.shape[:2])
    # One pixel more than the last center lies in, to interpolate with.
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
    """The last edge of a pixel of both sizes that is early enough.

    Pixels of an enlarged image that begin within half an old pixel of an edge
    take part of their value from before it.

    Returns:
        The edge, counted in pixels of the old size and of the new one.
    """
    common = math.gcd(old, new)
    early = math.ceil(new / old / 2) if new > old else 0
    steps = max(start - early, 0) // (new // common)
    return steps * (old // common), steps * (new // common)


@functools.cache
def _opencv():
    """OpenCV, or None. The pipeline has threads: OpenCV's would be too many."""
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    return cv2
