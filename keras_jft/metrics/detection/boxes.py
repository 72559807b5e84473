"""True and predicted boxes, checked and flattened for all detection metrics.

Evaluators score bad boxes silently: a box of NaN counts as a hit. So every box
is checked before any is scored.

Shapes: B images of a batch, N boxes of an image, n boxes in all.
"""

import numpy as np

PADDING = -1


def true_boxes(entry, num_classes):
    """Return the columns of true boxes.

    Args:
        entry: `bounding_boxes` of a batch (see `jft.data`): `boxes`
            `(B, N, 4)` x1, y1, x2, y2, `labels` `(B, N)` padded with -1, and
            optionally `ignored` and `areas`, `(B, N)`; or a list of such dicts,
            one per image, without the batch axis.
        num_classes: Number of classes.

    Returns:
        A dict of arrays, and the number of images B. The arrays are `images`
        `(n,)` int64, the place in the batch; `boxes` `(n, 4)` float64; `labels`
        `(n,)`; `ignored` `(n,)` bool; `areas` `(n,)` float64, by default those
        of the boxes.

    Raises:
        ValueError: If anything is malformed.
    """
    columns, count = _columns(entry, num_classes, "truth", {"boxes", "labels"})
    boxes = columns["boxes"]
    sides = boxes[:, 2:] - boxes[:, :2]
    if (sides <= 0).any():
        _fail(
            "True boxes must be (x1, y1, x2, y2) with x1 < x2 and y1 < y2",
            boxes[(sides <= 0).any(-1)][0].tolist(),
            "Convert from (x, y, width, height), or drop empty boxes.",
        )
    columns.setdefault("ignored", np.zeros(len(boxes), bool))
    columns.setdefault("areas", sides.prod(-1))
    areas = columns["areas"]
    if not (np.isfinite(areas) & (areas >= 0)).all():
        _fail("`areas` must be finite, 0 or more", areas.min(), "")
    return columns, count


def predicted_boxes(entry, num_classes):
    """Return the columns of predicted boxes, with their `scores`.

    Args:
        entry: `boxes`, `labels` and `scores` `(B, N)` in one dict, or a list
            of dicts, as for `true_boxes`. A box may have no area.
        num_classes: Number of classes.

    Returns:
        As `true_boxes` does: a dict of `images`, `boxes`, `labels` and
        `scores`, and B.

    Raises:
        ValueError: If anything is malformed.
    """
    required = {"boxes", "labels", "scores"}
    columns, count = _columns(entry, num_classes, "predictions", required)
    boxes = columns["boxes"]
    inverted = (boxes[:, :2] > boxes[:, 2:]).any(-1)
    if inverted.any():
        _fail(
            "Predicted boxes must be (x1, y1, x2, y2), x1 <= x2 and y1 <= y2",
            boxes[inverted][0].tolist(),
            "Convert from (x, y, width, height).",
        )
    if not np.isfinite(columns["scores"]).all():
        _fail("Scores must be finite", "NaN or infinity", "Fix the model.")
    return columns, count


def _columns(entry, num_classes, what, required):
    """Return all rows but padding, image by image if `entry` is a list."""
    if isinstance(entry, dict):
        return _of_batch(entry, num_classes, what, required), _length(entry)
    images = [
        _of_batch(
            {key: np.asarray(rows)[None] for key, rows in image.items()}
            if isinstance(image, dict)
            else image,
            num_classes,
            what,
            required,
        )
        for image in entry
    ]
    for place, image in enumerate(images):
        image["images"] += place
    if not images:
        empty = {key: np.zeros((0, 0)) for key in required}
        empty |= {"boxes": np.zeros((0, 0, 4)), "labels": np.zeros((0, 0), int)}
        return _of_batch(empty, num_classes, what, required), 0
    return concatenate(images, what), len(images)


def concatenate(parts, what="boxes"):
    """Return the columns of several parts, one after another.

    Args:
        parts: Dicts of columns, at least one.
        what: How an error calls them.

    Raises:
        ValueError: If the parts have different columns.
    """
    for part in parts:
        if part.keys() != parts[0].keys():
            _fail(
                f"The {what} of all images must have the same entries",
                f"{sorted(parts[0])} and {sorted(part)}",
                "",
            )
    return {
        key: np.concatenate([part[key] for part in parts]) for key in parts[0]
    }


def _length(entry):
    return len(np.asarray(entry["labels"]))


def _of_batch(entry, num_classes, what, required):
    """Return the rows of one dict that are not padding."""
    if not isinstance(entry, dict) or not required <= entry.keys():
        _fail(
            f"The {what} must be a dict with {sorted(required)}",
            sorted(entry) if isinstance(entry, dict) else type(entry).__name__,
            "Give what `predict` returns, and `bounding_boxes` of a batch.",
        )
    labels = np.asarray(entry["labels"])
    if not labels.size:  # An empty list has no type.
        labels = labels.astype("int32")
    if labels.dtype.kind not in "iu" or labels.ndim != 2:
        _fail(
            f"Labels of {what} must be integers (B, N)",
            f"shape {labels.shape}, dtype {labels.dtype}",
            "Give class indices, -1 where there is no box.",
        )
    if labels.size and (labels.min() < -1 or labels.max() >= num_classes):
        _fail(
            f"Labels of {what} must be in -1..{num_classes - 1}",
            f"{labels.min()}..{labels.max()}",
            "Check `num_classes`; background has no label.",
        )
    is_box = labels != PADDING
    columns = {"images": np.nonzero(is_box)[0], "labels": labels[is_box]}
    for key in ("boxes", "scores", "areas", "ignored"):
        if key in entry:
            shape = (*labels.shape, 4) if key == "boxes" else labels.shape
            columns[key] = _checked(entry[key], shape, f"{key} of {what}")[
                is_box
            ]
    if "ignored" in columns:
        columns["ignored"] = columns["ignored"].astype(bool)
    if not np.isfinite(columns["boxes"]).all():
        _fail(f"The boxes of {what} must be finite", "NaN or infinity", "")
    return columns


def _checked(values, shape, what):
    values = np.asarray(values)
    if not values.size and not np.prod(shape):
        values = values.reshape(shape)
    if values.dtype.kind not in "biuf" or values.shape != shape:
        _fail(
            f"The {what} must be numbers of shape {shape}",
            f"shape {values.shape}, dtype {values.dtype}",
            "Give one row per label; pad with rows of label -1.",
        )
    return values.astype("float64")


def _fail(expected, received, advice):
    raise ValueError(f"{expected}. Received: {received}. {advice}".rstrip())
