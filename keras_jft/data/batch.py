"""The contract of a batch, its check, and the collation of examples to a batch.

Shapes: B batch size, H W image height and width, L labels, U unknown labels and
N boxes per image, K keypoints, C classes.

| key | shape | dtype | meaning |
|---|---|---|---|
| `images` | (B, H, W, 3) | uint8 or float32 | always 0..255 |
| `labels` | (B,) | int32 | one label per image |
| | or (B, L) | int32 | many; -1 is padding |
| `unknown_labels` | (B, U) | int32 | perhaps present; -1 is padding |
| `label_weights` | (B, L) | float32 | 0..1, where images are mixed |
| `bounding_boxes` | | | a dict of the next five |
| `boxes` | (B, N, 4) | float32 | x1, y1, x2, y2 in pixels |
| `labels` | (B, N) | int32 | -1: the row is padding |
| `ignored` | (B, N) | bool | optional: crowd, difficult |
| `areas` | (B, N) | float32 | optional: of the object, not of its box |
| `keypoints` | (B, N, K, 3) | float32 | optional: of each person |
| `segmentation_masks` | (B, H, W, 1) | uint8 | 255 is void |
| `keypoints` | (B, K, 3) | float32 | x, y in pixels, visibility 0, 1, 2 |
| `image_ids` | (B,) | as `ids` | ids of images, where `ids` are of people |
| `image_sizes` | (B, 2) | int32 | H, W before padding below and right |
| `ids` | (B,) | integers or strings | the same in every run |

Only `images` is required; every other key may be missing. Coordinates are
continuous: pixel (0, 0) covers 0..1 in both directions, so its center is
(0.5, 0.5), an image reaches from 0 to W, and x is mirrored to W - x. Finding an
ignored object is neither right nor wrong. Where examples are people, with
`keypoints`, the first box of each is that person's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_jft import checks
from keras_jft.text_files import short
from keras_jft.typing import Batch, Example

KEYS = (
    "images",
    "labels",
    "unknown_labels",
    "label_weights",
    "bounding_boxes",
    "segmentation_masks",
    "keypoints",
    "image_sizes",
    "ids",
    "image_ids",
)
# What `bounding_boxes` may contain besides boxes and labels.
BOX_EXTRAS = {
    "ignored": np.bool_,
    "areas": np.float32,
    "keypoints": np.float32,
}
PADDING = -1
VOID = 255
GRAY = 127  # Padding of images: about zero after scaling, as convolutions pad.
# What is padded below and right, and with which value.
_FILLS = {"images": GRAY, "segmentation_masks": VOID}


def check_batch(
    batch: Batch,
    *,
    num_classes: int | None = None,
    num_mask_classes: int | None = None,
    num_keypoints: int | None = None,
) -> None:
    """Check that a batch keeps the contract.

    Args:
        batch: A dict with `images` and any of the other keys; arrays of NumPy
            or of the backend.
        num_classes: Labels, of images and of boxes, must be below it.
        num_mask_classes: Mask values must be below it, or 255.
        num_keypoints: K.

    Raises:
        ValueError: The batch breaks the contract.

    Example:

    >>> check_batch({"images": np.zeros((2, 8, 8, 3), "float32") + 0.5})
    Traceback (most recent call last):
    ...
    ValueError: `images` must be in 0..255, not in 0..1. Received values in \
0.5..0.5. Multiply by 255.
    """
    if not isinstance(batch, Mapping):
        _fail(
            "A batch must be a dict of arrays",
            short(batch),
            'Give {"images": ..., "labels": ...}.',
        )
    unknown = [key for key in batch if key not in KEYS]
    if unknown or "images" not in batch:
        raise ValueError(
            "A batch must have `images`, and no keys but "
            f"{list(KEYS)}. Received the keys {list(batch)}. "
            + (f"Rename or drop {unknown}." if unknown else "Add `images`.")
        )
    images = np.asarray(batch["images"])
    _check_images(images)
    size = images.shape[:3]
    if "labels" in batch:
        _check_labels(np.asarray(batch["labels"]), size, num_classes)
    if "unknown_labels" in batch:
        possible = np.asarray(batch["unknown_labels"])
        _check_unknown_labels(possible, size, num_classes)
    if "label_weights" in batch:
        weights = np.asarray(batch["label_weights"])
        labels: Any = batch.get("labels")
        _check_label_weights(weights, np.shape(labels))
    true_sizes = np.tile(size[1:], (size[0], 1))
    if "image_sizes" in batch:
        true_sizes = np.asarray(batch["image_sizes"])
        _check_image_sizes(true_sizes, size)
    if "bounding_boxes" in batch:
        _check_boxes(batch["bounding_boxes"], true_sizes, num_classes)
    if "segmentation_masks" in batch:
        masks = np.asarray(batch["segmentation_masks"])
        _check_masks(masks, size, num_mask_classes)
    if "keypoints" in batch:
        keypoints = np.asarray(batch["keypoints"])
        _check_keypoints(keypoints, size[:1], num_keypoints)
    if "keypoints" in batch.get("bounding_boxes", {}):
        keypoints = np.asarray(batch["bounding_boxes"]["keypoints"])
        boxes = np.shape(batch["bounding_boxes"]["labels"])
        _check_keypoints(keypoints, boxes, num_keypoints)
    for key in ("ids", "image_ids"):
        if key in batch:
            _check_ids(key, np.asarray(batch[key]), size)


def label_ids(targets: Any) -> np.ndarray:
    """Return the padded label ids of multi-hot targets.

    Args:
        targets: `(B, C)` zeros and ones of any type, one column per class, such
            as scikit-learn's `MultiLabelBinarizer` gives; NumPy, or what NumPy
            or SciPy makes an array of.

    Returns:
        `(B, L)` int32 ids in rising order, padded with -1; L is the most
        labels of a row, at least 1.

    Raises:
        ValueError: The targets are not two-dimensional, or hold anything but
            zeros and ones: perhaps they are already label ids, or
            probabilities.

    Example:

    >>> label_ids([[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    array([[ 1,  3],
           [ 0, -1],
           [-1, -1]], dtype=int32)
    """
    if hasattr(targets, "toarray"):  # A sparse matrix of SciPy.
        targets = targets.toarray()
    targets = np.asarray(targets)
    if targets.ndim != 2:
        _fail(
            "`targets` must be multi-hot, (batch, classes)",
            f"shape {targets.shape}",
            "A single id per image needs no conversion.",
        )
    if targets.dtype.kind not in "biuf" or not np.isin(targets, (0, 1)).all():
        others = targets[~np.isin(targets, (0, 1))].ravel()[:3].tolist()
        _fail(
            "`targets` must be multi-hot: zeros and ones, one column per class",
            f"{targets.dtype} with {others}",
            "If they are label ids already, use them as they are. Turn "
            "probabilities into 0 or 1 by a threshold, or pass them as "
            "`label_weights`.",
        )
    present = targets.astype(bool)
    rows, classes = np.nonzero(present)
    counts = present.sum(axis=1)
    ids = np.full((len(targets), max(1, counts.max(initial=0))), PADDING)
    slots = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    ids[rows, slots] = classes
    return ids.astype("int32")


# === Checks of one key each ===


def _check_images(images):
    if images.ndim != 4 or images.shape[-1] != 3:
        _fail(
            "`images` must have shape (batch, height, width, 3)",
            images.shape,
            "Stack RGB images; for one image, add a batch axis.",
        )
    if images.dtype == np.uint8:
        return
    if images.dtype != np.float32:
        _fail(
            "`images` must be uint8 or float32",
            images.dtype,
            "Convert them with `.astype('float32')`.",
        )
    if not images.size:
        return
    if not np.isfinite(images).all():
        _fail(
            "`images` must be finite",
            "NaN or infinity",
            "Check how images are made.",
        )
    low, high = images.min(), images.max()
    if low < 0 or high > 255:
        _fail(
            "`images` must be in 0..255",
            f"values in {low:g}..{high:g}",
            "Undo the scaling: the backbone's first layer scales.",
        )
    if 0 < high <= 1:
        _fail(
            "`images` must be in 0..255, not in 0..1",
            f"values in {low:g}..{high:g}",
            "Multiply by 255.",
        )


def _check_labels(labels, size, num_classes):
    if labels.dtype.kind in "iu":
        checks.label_ids(labels, num_classes)
    _check_dtype(
        "labels",
        labels,
        np.int32,
        "`jft.data.label_ids(Y)` gives the ids of multi-hot targets.",
    )
    if labels.ndim not in (1, 2) or len(labels) != size[0]:
        _fail(
            f"`labels` must have shape ({size[0]},) or ({size[0]}, labels)",
            labels.shape,
            "Give one id per image, or one row of ids padded with -1.",
        )
    lowest = 0 if labels.ndim == 1 else PADDING
    _check_range("labels", labels, lowest, num_classes)


def _check_unknown_labels(labels, size, num_classes):
    _check_dtype("unknown_labels", labels, np.int32, "Give ids.")
    if labels.ndim != 2 or len(labels) != size[0]:
        _fail(
            f"`unknown_labels` must have shape ({size[0]}, labels)",
            labels.shape,
            "Give one row of ids per image, padded with -1.",
        )
    _check_range("unknown_labels", labels, PADDING, num_classes)


def _check_label_weights(weights, shape):
    _check_dtype("label_weights", weights, np.float32, "")
    if len(shape) != 2 or weights.shape != shape:
        _fail(
            f"`label_weights` must have the shape of `labels`, {shape}",
            weights.shape,
            "Give one weight per label, as `jft.data.mixup` does.",
        )
    if not ((weights >= 0) & (weights <= 1)).all():
        _fail(
            "`label_weights` must be in 0..1",
            f"values in {weights.min():g}..{weights.max():g}",
            "They are targets, not factors of the loss.",
        )


def _check_image_sizes(true_sizes, size):
    _check_dtype("image_sizes", true_sizes, np.int32, "Give H and W.")
    inside = (
        true_sizes.shape == (size[0], 2)
        and ((true_sizes > 0) & (true_sizes <= size[1:])).all()
    )
    if not inside:
        _fail(
            f"`image_sizes` must have shape ({size[0]}, 2), height and width "
            f"of each image before padding to {size[1:]}",
            true_sizes.tolist(),
            "`jft.data.transforms.PadTo` gives them.",
        )


def _check_boxes(entry, true_sizes, num_classes):
    keys = entry.keys() if isinstance(entry, dict) else set()
    if not {"boxes", "labels"} <= keys <= {"boxes", "labels", *BOX_EXTRAS}:
        _fail(
            "`bounding_boxes` must be a dict with `boxes` and `labels`, and "
            f"no other keys but {list(BOX_EXTRAS)}",
            sorted(keys) if keys else type(entry),
            'Give {"boxes": (B, N, 4), "labels": (B, N)}.',
        )
    boxes, labels = (np.asarray(entry[key]) for key in ("boxes", "labels"))
    _check_dtype("boxes", boxes, np.float32, "Give pixels, not integers.")
    _check_dtype("labels of boxes", labels, np.int32, "Give class indices.")
    num = len(true_sizes)
    if boxes.ndim != 3 or boxes.shape != (num, *labels.shape[1:], 4):
        _fail(
            f"`boxes` must have shape ({num}, N, 4) and their labels "
            f"({num}, N)",
            f"{boxes.shape} and {labels.shape}",
            "Pad with rows of label -1.",
        )
    _check_range("labels of boxes", labels, PADDING, num_classes)
    _check_extras(entry, labels)
    is_box = labels != PADDING
    true_sizes = np.broadcast_to(true_sizes[:, None], (*is_box.shape, 2))
    boxes, true_sizes = boxes[is_box], true_sizes[is_box]
    if not boxes.size:
        return
    bad = ~np.isfinite(boxes).all(-1)
    bad |= (boxes[:, :2] >= boxes[:, 2:]).any(-1)
    if bad.any():
        _fail(
            "`boxes` must be finite (x1, y1, x2, y2) with x1 < x2, y1 < y2",
            boxes[bad][0].tolist(),
            "Convert from (x, y, width, height), or drop empty boxes.",
        )
    if boxes.max() <= 1 < true_sizes.min():
        _fail(
            "`boxes` must be in pixels, not in 0..1",
            boxes[0].tolist(),
            "Multiply by the image's width and height.",
        )
    limits = np.tile(true_sizes[:, ::-1], 2)
    outside = ((boxes < 0) | (boxes > limits)).any(-1)
    if outside.any():
        height, width = true_sizes[outside][0]
        _fail(
            f"`boxes` must lie in the image, {width} wide and {height} high",
            boxes[outside][0].tolist(),
            "Clip them to the image.",
        )


def _check_extras(entry, labels):
    for key in entry.keys() & BOX_EXTRAS.keys():
        values = np.asarray(entry[key])
        _check_dtype(f"{key} of boxes", values, BOX_EXTRAS[key], "")
        if key == "keypoints":
            continue  # Checked with those of whole examples.
        if values.shape != labels.shape:
            _fail(
                f"`{key}` of boxes must have the shape of their labels, "
                f"{labels.shape}",
                values.shape,
                "Give one per box.",
            )
        counted = values[labels != PADDING]
        if not (np.isfinite(counted) & (counted >= 0)).all():
            _fail(
                f"`{key}` of boxes must be finite, 0 or more",
                counted.min(),
                "Give square pixels, or leave them out.",
            )


def _check_masks(masks, size, num_mask_classes):
    _check_dtype("segmentation_masks", masks, np.uint8, "Void is 255, not -1.")
    if masks.shape != (*size, 1):
        _fail(
            f"`segmentation_masks` must have shape {(*size, 1)}",
            masks.shape,
            "Resize images and masks together; keep the last axis.",
        )
    _check_range(
        "segmentation_masks", masks[masks != VOID], 0, num_mask_classes
    )


def _check_keypoints(keypoints, people, num_keypoints):
    _check_dtype("keypoints", keypoints, np.float32, "Give pixels.")
    expected = (*people, num_keypoints or "K", 3)
    if keypoints.ndim != len(expected) or any(
        isinstance(want, int) and want != got
        for want, got in zip(expected, keypoints.shape, strict=True)
    ):
        _fail(
            f"`keypoints` must have shape {expected}",
            keypoints.shape,
            "Give x, y and visibility of every keypoint.",
        )
    if not np.isfinite(keypoints).all():
        _fail(
            "`keypoints` must be finite",
            "NaN or infinity",
            "Set unlabeled keypoints to 0, 0, 0.",
        )
    if not np.isin(keypoints[..., 2], (0, 1, 2)).all():
        _fail(
            "The visibility of `keypoints` must be 0 (unlabeled), 1 (hidden) "
            "or 2 (visible)",
            np.unique(keypoints[..., 2]).tolist(),
            "Give x, y, visibility in this order.",
        )


def _check_ids(key, ids, size):
    if ids.shape != size[:1] or ids.dtype.kind not in "uiUSO":
        _fail(
            f"`{key}` must be {size[0]} integers or strings",
            f"shape {ids.shape}, dtype {ids.dtype}",
            "Give one stable id per image.",
        )


def _check_dtype(name, array, dtype, advice):
    if array.dtype != dtype:
        _fail(
            f"`{name}` must be {np.dtype(dtype)}",
            array.dtype,
            f"Convert with `.astype('{np.dtype(dtype)}')`. {advice}",
        )


def _check_range(name, labels, lowest, num_classes):
    if not labels.size:
        return
    low, high = labels.min(), labels.max()
    limit = np.inf if num_classes is None else num_classes
    if low < lowest or high >= limit:
        top = "" if num_classes is None else num_classes - 1
        _fail(
            f"`{name}` must be in {lowest}..{top}",
            f"values in {low}..{high}",
            "Check the label names and the number of classes.",
        )


def _fail(expected, received, advice):
    raise ValueError(f"{expected}. Received {received}. {advice}")


# === Collation ===


def collate(
    examples: Sequence[Example],
    *,
    max_labels: int | None = None,
    max_boxes: int | None = None,
) -> dict[str, Any]:
    """Return a contract batch of examples with the same keys and image size.

    Examples with `image_sizes` (see `PadTo`) may have images of several sizes:
    they are padded to the largest, gray, and void in masks.

    Args:
        examples: One or more examples of a `Dataset`.
        max_labels: L to pad to; by default the most labels of any example.
        max_boxes: N to pad to; by default the most boxes of any example.

    Returns:
        A dict of NumPy arrays. Padded labels are -1; padded boxes, and what
        belongs to them, are 0.

    Raises:
        ValueError: Keys or image sizes differ, or there are more labels or
            boxes than `max_labels` or `max_boxes`.

    Example:

    >>> image = np.zeros((8, 8, 3), "uint8")
    >>> collate([
    ...     {"images": image, "labels": np.array([4, 2], "int32"), "ids": 0},
    ...     {"images": image, "labels": np.array([1], "int32"), "ids": 1},
    ... ])["labels"]
    array([[ 4,  2],
           [ 1, -1]], dtype=int32)
    """
    if not examples:
        raise ValueError("A batch needs at least one example. Received none.")
    keys = examples[0].keys()
    for example in examples:
        if example.keys() != keys:
            raise ValueError(
                "Examples of one batch must have the same keys. Received: "
                f"{sorted(keys)} and, for example {example.get('ids')!r}, "
                f"{sorted(example)}."
            )
    batch = {}
    for key in keys:
        values = [example[key] for example in examples]
        if key == "labels":
            batch[key] = _pad_labels(values, max_labels, "max_labels")
        elif key == "bounding_boxes":
            batch[key] = _pad_boxes(values, max_boxes)
        elif key in ("ids", "image_ids"):
            batch[key] = np.array(values)
        elif key in _FILLS and "image_sizes" in keys:
            batch[key] = _pad_pixels(values, _FILLS[key])
        else:
            batch[key] = _stack(key, values, examples)
    return batch


def _pad_pixels(images, fill):
    size = np.max([image.shape for image in images], axis=0)
    padded = np.full((len(images), *size), fill, images[0].dtype)
    for place, image in zip(padded, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    return padded


def _pad_labels(rows, most, argument):
    if np.ndim(rows[0]) == 0:
        return np.array(rows, "int32")
    most = _most(rows, most, argument)
    labels = np.full((len(rows), most), PADDING, "int32")
    for padded, row in zip(labels, rows, strict=True):
        padded[: len(row)] = row
    return labels


def _pad_boxes(entries, most):
    labels = [entry["labels"] for entry in entries]
    most = _most(labels, most, "max_boxes")
    padded = {
        key: np.zeros((len(entries), most, *rows.shape[1:]), rows.dtype)
        for key, rows in entries[0].items()
    }
    padded["labels"][:] = PADDING
    for place, entry in enumerate(entries):
        if entry.keys() != padded.keys():
            raise ValueError(
                "`bounding_boxes` of one batch must have the same keys. "
                f"Received: {sorted(padded)} and {sorted(entry)}."
            )
        for key, rows in entry.items():
            padded[key][place, : len(rows)] = rows
    return padded


def _most(rows, most, argument):
    longest = max(map(len, rows))
    if most is not None and longest > most:
        raise ValueError(
            f"No example may have more than `{argument}`={most} labels. "
            f"Received one with {longest}. Raise `{argument}`."
        )
    return longest if most is None else most


def _stack(key, values, examples):
    shapes = {value.shape for value in values}
    if len(shapes) > 1:
        odd = next(e for e in examples if e[key].shape != values[0].shape)
        raise ValueError(
            f"`{key}` of one batch must have the same shape. Received "
            f"{values[0].shape} and, for example {odd.get('ids')!r}, "
            f"{odd[key].shape}. Resize, crop or `PadTo()` with "
            "`transforms=`, or use `batch_size=1`."
        )
    return np.stack(values)
