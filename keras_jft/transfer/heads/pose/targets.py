"""Disks around keypoints: where heat maps are 1 and offsets are trained.

Each disk has a square window of its own, so that no target as large as the crop
is made. Positions count from the center of pixel (0, 0).

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
        rows: `(B, K, S)` the crop's row for each row of a window.
        columns: `(B, K, S)` the crop's column for each column of a window.
        down: `(B, K, S, 1)` pixels from a row down to the keypoint.
        across: `(B, K, 1, S)` pixels from a column right to the keypoint.
        disks: `(B, K, S, S)` float32, 1 in the disk and 0 elsewhere; 0 outside
            of the crop, and everywhere if the keypoint is not labeled.
    """

    rows: Any
    columns: Any
    down: Any
    across: Any
    disks: Any


def windows(keypoints, size, radius):
    """Return windows with the disks of one person's keypoints per crop.

    Args:
        keypoints: `(B, K, 3)` x, y in pixels and visibility.
        size: `(H, W)` of the crop.
        radius: Radius of a disk, in pixels; it includes pixels at exactly that
            distance.

    Returns:
        `Windows` with S = 2 * ceil(radius) + 1.

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
    """Return which pixels are in disks of other people only.

    Args:
        people: `(B, P, K, 3)` keypoints, first those of the person whose crop
            it is, then those of people in the background.
        size: `(H, W)` of the crop.
        radius: Radius of a disk, in pixels.

    Returns:
        `(B, K, H, W)` bool.
    """
    own = _squared_distance(people[:, 0], size)

    def nearer(person, nearest):
        keypoints = ops.take(people, person, axis=1)
        return ops.minimum(nearest, _squared_distance(keypoints, size))

    # One person after another: all at once would take P times the memory.
    nearest = ops.fori_loop(
        1, ops.shape(people)[1], nearer, ops.full_like(own, 1e12)
    )
    return (nearest <= radius**2) & (own > radius**2)


def positions(keypoints):
    """Return x and y from pixel (0, 0)'s center, and which are labeled.

    Args:
        keypoints: `(..., K, 3)` x, y in pixels and visibility.

    Returns:
        `(..., K)` x, y, and bool. x and y are 0 where nothing is labeled.
    """
    labeled = keypoints[..., 2] > 0
    x, y = (
        ops.where(labeled, keypoints[..., axis] - 0.5, 0.0) for axis in (0, 1)
    )
    return x, y, labeled


def _squared_distance(keypoints, size):
    """Return `(B, K, H, W)` from pixels to keypoints; large if unlabeled."""
    height, width = size
    x, y, labeled = positions(keypoints)
    down = ops.cast(ops.arange(height), "float32") - y[..., None]
    across = ops.cast(ops.arange(width), "float32") - x[..., None]
    down = ops.where(labeled[..., None], down, 1e6)
    return (down**2)[..., None] + (across**2)[..., None, :]
