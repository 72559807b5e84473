"""How examples become one batch: stacked and padded.

Shapes: B batch, L labels and N boxes of one image.
"""

import numpy as np

from keras_jft.data.batch import GRAY, PADDING, VOID

# What is padded below and right, and what with.
_FILLS = {"images": GRAY, "segmentation_masks": VOID}


def collate(examples, *, max_labels=None, max_boxes=None):
    """One contract batch of examples of the same keys and image size.

    Examples with `image_sizes` (see `PadTo`) may have images of several sizes:
    they are padded to the largest, gray, and void in masks.

    Args:
        examples: Examples as a `Dataset` gives them, at least one.
        max_labels: L to pad to; the most labels among `examples`, if left out.
        max_boxes: N to pad to; the most boxes, if left out.

    Returns:
        A dict of NumPy arrays. Padded labels are -1, padded boxes and what
        belongs to them 0.

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
