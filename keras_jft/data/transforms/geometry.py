"""Moves an example: images, masks, boxes and keypoints together.

A placement, `(2, 2)` float64 `[[sx, sy], [tx, ty]]`, says where the original
is: its place `(x, y)` is moved to `(sx x + tx, sy y + ty)`.
"""

import numpy as np

from keras_jft.data.batch import GRAY, VOID
from keras_jft.data.transforms.resampling import affine

IN_PLACE = np.array([[1.0, 1.0], [0.0, 0.0]])


def move(example, pixels, scale=(1, 1), shift=(0, 0), fill=0):
    """Move an example by `pixels(array, fill)` and `scale * (x, y) + shift`.

    Boxes are clipped to the image, boxes outside are dropped, keypoints outside
    are set to 0, 0, 0. If there is an entry `placements`, it is updated.

    Args:
        example: An example of a `Dataset`.
        pixels: `pixels(array, fill)` returns the new image or mask.
        scale: `(sx, sy)`; negative to mirror.
        shift: `(tx, ty)` in new pixels.
        fill: Brightness of pixels from outside the image; void in masks.

    Returns:
        A new example.

    Raises:
        ValueError: The example is padded, and padding would not stay below
            and right.
    """

    def to(points):
        return points * np.float32(scale) + np.float32(shift)

    moved = _moved(example, pixels, to, abs(scale[0] * scale[1]), fill)
    if "image_sizes" in example:
        size = moved["images"].shape[:2]
        moved["image_sizes"] = _true_size(example, scale, shift, size)
    if "placements" in example:
        moved["placements"] = example["placements"] * scale + [(0, 0), shift]
    return moved


def warp(example, matrix, shift, fill=GRAY):
    """Move an example by `matrix @ (x, y) + shift`, keeping its size.

    It does the same as `move`, but for rotations and the like: a box becomes
    the smallest box around the moved one.

    Args:
        example: An example of a `Dataset`.
        matrix: `(2, 2)`.
        shift: `(tx, ty)` in pixels.
        fill: Brightness of pixels from outside the image; void in masks.

    Returns:
        A new example.

    Raises:
        ValueError: The example is padded, or has `placements`.
    """
    kept = {"image_sizes", "placements"} & example.keys()
    if kept:
        raise ValueError(
            "An example can be rotated or sheared in training, before `PadTo`. "
            f"Received {example.get('ids')!r} with {sorted(kept)}."
        )
    matrix = np.asarray(matrix, "float64")
    back = np.linalg.inv(matrix)
    origin = -back @ shift

    def to(points):
        return points @ np.float32(matrix.T) + np.float32(shift)

    def pixels(array, fill):
        return affine(array, np.column_stack([back, origin]), fill)

    return _moved(example, pixels, to, abs(np.linalg.det(matrix)), fill)


def _moved(example, pixels, to, growth, fill):
    """Return the example after a map of pixels and one of coordinates.

    `to` maps x, y `(..., 2)`; `growth` is the factor by which areas grow.
    """
    moved = dict(example)
    moved["images"] = pixels(example["images"], fill)
    size = moved["images"].shape[:2]
    if "segmentation_masks" in example:
        moved["segmentation_masks"] = pixels(
            example["segmentation_masks"], VOID
        )
    if "bounding_boxes" in example:
        moved["bounding_boxes"] = _move_boxes(
            example["bounding_boxes"], to, growth, size
        )
    if "keypoints" in example:
        moved["keypoints"] = _move_keypoints(example["keypoints"], to, size)
    return moved


def move_back(points, placement):
    """Return where points of a moved example lie in the original.

    Args:
        points: `(..., 2)` x, y in pixels.
        placement: `(2, 2)`, or `(..., 2, 2)` that broadcasts with `points`.

    Returns:
        `(..., 2)` float64.

    Example:

    >>> doubled = np.array([[2.0, 2.0], [0.0, 10.0]])
    >>> move_back(np.array([6.0, 16.0]), doubled).tolist()
    [3.0, 3.0]
    """
    scale, shift = placement[..., 0, :], placement[..., 1, :]
    return (points - shift) / scale


def _move_boxes(entry, to, growth, size):
    height, width = size
    corners = to(entry["boxes"][:, [[0, 1], [2, 1], [2, 3], [0, 3]]])
    whole = np.stack([corners.min(axis=1), corners.max(axis=1)], axis=1)
    corners = np.clip(whole, 0, (width, height))
    kept = (corners[:, 0] < corners[:, 1]).all(-1)
    entry = {**entry, "boxes": corners.reshape(-1, 4).astype("float32")}
    if "areas" in entry:  # Assume that clipping cuts them like their boxes.
        cut, before = (np.prod(c[:, 1] - c[:, 0], 1) for c in (corners, whole))
        entry["areas"] = np.float32(entry["areas"] * growth * cut / before)
    if "keypoints" in entry:
        entry["keypoints"] = _move_keypoints(entry["keypoints"], to, size)
    return {key: rows[kept] for key, rows in entry.items()}


def _move_keypoints(keypoints, to, size):
    height, width = size
    places, visibility = np.split(keypoints, [2], axis=-1)
    places = to(places)
    inside = ((places >= 0) & (places <= (width, height))).all(-1)
    inside &= visibility[..., 0] > 0
    keypoints = np.concatenate([places, visibility], axis=-1)
    return np.where(inside[..., None], keypoints, np.float32(0))


def _true_size(example, scale, shift, size):
    """Return height and width of the true image inside its padding."""
    if tuple(scale) != (1, 1) or tuple(shift) != (0, 0):
        raise ValueError(
            "Padding must stay below and right of the image, so it must come "
            f"last. Received the padded example {example.get('ids')!r} with "
            f"a scale of {scale} and a shift of {shift}. Resize, crop and "
            "flip before `PadTo`."
        )
    return np.minimum(example["image_sizes"], size).astype("int32")
