"""Disks around keypoints: where heat maps should be hot, offsets right.

A disk is looked at through a square window of its own, so that nothing of the
crop's size is made for it. Positions count from the center of pixel (0, 0).

Shapes: B crops, P people, K keypoints, H W crop side, S window side.
"""

import dataclasses
import math
from typing import Any

from keras import ops


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows around keypoints, each as wide as a disk.

    Attributes:
        rows: `(B, K, S)` row of the crop that each row of a window is.
        columns: `(B, K, S)`.
        down: `(B, K, S, 1)` pixels from a row down to the keypoint.
        across: `(B, K, 1, S)` pixels from a column right to the keypoint.
        disks: `(B, K, S, S)` float32, 1 in the disk, 0 elsewhere: outside of
            the crop, and everywhere if the keypoint is not labeled.
    """

    rows: Any
    columns: Any
    down: Any
    across: Any
    disks: Any


def windows(keypoints, size, radius):
    """The disks of the keypoints of one person a crop.

    Args:
        keypoints: `(B, K, 3)` x, y in pixels and visibility.
        size: `(H, W)` of the crop.
        radius: Of a disk, in pixels; pixels at that distance belong to it.

    Returns:
        `Windows` of S = 2 * ceil(radius) + 1.

    References:
        Papandreou et al. 2017, https://arxiv.org/abs/1701.01779, section 3.2.1.
    """
    height, width = size
    x, y, labeled = positions(keypoints)
    reach = math.ceil(radius)
    steps = ops.cast(ops.arange(-reach, reach + 1), "float32")
    rows = ops.round(y)[..., None] + steps
    columns = ops.round(x)[..., None] + steps
    down = (y[..., None] - rows)[..., None]
    across = (x[..., None] - columns)[..., None, :]
    inside = ((rows >= 0) & (rows < height))[..., None] & (
        (columns >= 0) & (columns < width)
    )[..., None, :]
    disks = (down**2 + across**2 <= radius**2) & inside
    disks = disks & labeled[..., None, None]
    return Windows(rows, columns, down, across, ops.cast(disks, "float32"))


def background(people, size, radius):
    """Pixels in disks of people in the background, and in none of the person's.

    Args:
        people: `(B, P, K, 3)` keypoints, first those of the person whose crop
            it is.
        size: `(H, W)` of the crop.
        radius: Of a disk, in pixels.

    Returns:
        `(B, K, H, W)` bool.
    """
    own = _squared_distance(people[:, 0], size)

    def nearer(person, nearest):
        keypoints = ops.take(people, person, axis=1)
        return ops.minimum(nearest, _squared_distance(keypoints, size))

    # One person after the other: all at once would be P times as large.
    nearest = ops.fori_loop(
        1, ops.shape(people)[1], nearer, ops.full_like(own, 1e12)
    )
    return (nearest <= radius**2) & (own > radius**2)


def positions(keypoints):
    """x and y `(..., K)` from pixel (0, 0)'s center, and which are labeled.

    Those of keypoints that are not labeled are 0.
    """
    labeled = keypoints[..., 2] > 0
    x, y = (
        ops.where(labeled, keypoints[..., axis] - 0.5, 0.0) for axis in (0, 1)
    )
    return x, y, labeled


def _squared_distance(keypoints, size):
    """`(B, K, H, W)` from each pixel to a keypoint; large if not labeled."""
    height, width = size
    x, y, labeled = positions(keypoints)
    down = ops.cast(ops.arange(height), "float32") - y[..., None]
    across = ops.cast(ops.arange(width), "float32") - x[..., None]
    down = ops.where(labeled[..., None], down, 1e6)
    return (down**2)[..., None] + (across**2)[..., None, :]
