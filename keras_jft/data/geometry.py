"""How an example moves: images, masks, boxes and keypoints together.

A placement, `(2, 2)` float64 `[[sx, sy], [tx, ty]]`, says where the original
lies: its point `(x, y)` is at `(sx x + tx, sy y + ty)`.

Shapes: H W image side, N boxes, K keypoints.
"""

import numpy as np

from keras_jft.data.batch import VOID

GRAY = 127  # About zero once scaled, as what convolutions pad with.
IN_PLACE = np.array([[1.0, 1.0], [0.0, 0.0]])


def move(example, pixels, scale=(1, 1), shift=(0, 0), fill=0):
    """The example after `pixels(array, fill)` and `scale * (x, y) + shift`.

    Boxes are clipped to the image, boxes outside dropped, keypoints outside
    set to 0, 0, 0. An entry `placements` keeps track of all moves.

    Args:
        example: An example, as a `Dataset` gives it.
        pixels: `pixels(array, fill)` gives the new image or mask.
        scale: `(sx, sy)`; negative where it mirrors.
        shift: `(tx, ty)` in new pixels.
        fill: Brightness of pixels that were not there; void in masks.

    Returns:
        A new example.

    Raises:
        ValueError: The example is padded, and padding would not stay below
            and right.
    """
    moved = dict(example)
    moved["images"] = pixels(example["images"], fill)
    size = moved["images"].shape[:2]
    if "image_sizes" in example:
        moved["image_sizes"] = _true_size(example, scale, shift, size)
    if "placements" in example:
        moved["placements"] = example["placements"] * scale + [(0, 0), shift]
    if "segmentation_masks" in example:
        moved["segmentation_masks"] = pixels(
            example["segmentation_masks"], VOID
        )
    if "bounding_boxes" in example:
        moved["bounding_boxes"] = _move_boxes(
            example["bounding_boxes"], scale, shift, size
        )
    if "keypoints" in example:
        moved["keypoints"] = _move_keypoints(
            example["keypoints"], scale, shift, size
        )
    return moved


def mirrored_keypoints(names):
    """Position of each keypoint's mirror image.

    Args:
        names: One name a keypoint; the words "left" and "right" change places.

    Raises:
        ValueError: A left keypoint has no right one, or the reverse.

    Example:

    >>> mirrored_keypoints(("nose", "left_eye", "right_eye"))
    [0, 2, 1]
    """
    swap = {"left": "right", "right": "left"}
    mirrored = [
        "_".join(swap.get(word, word) for word in name.split("_"))
        for name in names
    ]
    missing = set(mirrored) - set(names)
    if missing:
        raise ValueError(
            "`keypoint_names` must name both sides. Received: "
            f"{names}, without {sorted(missing)}."
        )
    return [tuple(names).index(name) for name in mirrored]


def move_back(points, placement):
    """Points of a moved example at their places in the original.

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


def _move_boxes(entry, scale, shift, size):
    height, width = size
    corners = entry["boxes"].reshape(-1, 2, 2) * np.float32(scale)
    corners = corners + np.float32(shift)
    # Sorted, so that a mirrored box has its smaller x first again.
    corners = np.clip(np.sort(corners, axis=1), 0, (width, height))
    kept = (corners[:, 0] < corners[:, 1]).all(-1)
    boxes = corners.reshape(-1, 4).astype("float32")
    entry = {**entry, "boxes": boxes, **_scaled_areas(entry, boxes)}
    if "keypoints" in entry:
        entry["keypoints"] = _move_keypoints(
            entry["keypoints"], scale, shift, size
        )
    return {key: rows[kept] for key, rows in entry.items()}


def _scaled_areas(entry, boxes):
    """`areas` in the proportion in which their boxes grew or were cut."""
    if "areas" not in entry:
        return {}

    def of(boxes):
        return np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)

    return {"areas": entry["areas"] * of(boxes) / of(entry["boxes"])}


def _move_keypoints(keypoints, scale, shift, size):
    height, width = size
    places, visibility = np.split(keypoints, [2], axis=-1)
    places = places * np.float32(scale) + np.float32(shift)
    inside = ((places >= 0) & (places <= (width, height))).all(-1)
    inside &= visibility[..., 0] > 0
    keypoints = np.concatenate([places, visibility], axis=-1)
    return np.where(inside[..., None], keypoints, np.float32(0))


def _true_size(example, scale, shift, size):
    """Height and width of the true image inside its padding."""
    if tuple(scale) != (1, 1) or tuple(shift) != (0, 0):
        raise ValueError(
            "Padding must stay below and right of the image, so it comes "
            f"last. Received the padded example {example.get('ids')!r} with "
            f"a scale of {scale} and a shift of {shift}. Resize, crop and "
            "flip before `PadTo`."
        )
    return np.minimum(example["image_sizes"], size).astype("int32")
