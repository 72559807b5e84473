"""Boxes: anchors, the codes that a network predicts, and clipping.

Boxes are x1, y1, x2, y2 in pixels. Overlaps and codes are Keras's
(`keras.utils.bounding_boxes`); its clipping knows one size for all images, and
ours differ within a batch.

Shapes: B batch, h w feature side, K anchors a cell, N boxes.
"""

import keras
import numpy as np
from keras import ops

from keras_jft.data.batch import PADDING

# Huang et al. 2017: codes [ty, tx, th, tw] are divided by these.
VARIANCE = (0.1, 0.1, 0.2, 0.2)


def anchor_sizes(base, scales, ratios):
    """Height and width of the anchors of one cell.

    Args:
        base: Side in pixels of the square anchor of scale 1.
        scales: Factors of the sides.
        ratios: Widths over heights.

    Returns:
        `(K, 2)` NumPy array; the scale changes fastest.

    Example:

    >>> anchor_sizes(256, scales=(0.5, 1.0), ratios=(1.0, 4.0)).tolist()
    [[128.0, 128.0], [256.0, 256.0], [64.0, 256.0], [128.0, 512.0]]
    """
    ratios, scales = np.meshgrid(ratios, scales, indexing="ij")
    sizes = base * scales / np.sqrt(ratios), base * scales * np.sqrt(ratios)
    return np.stack(sizes, axis=-1).reshape(-1, 2).astype("float32")


def anchors(grid, stride, sizes):
    """The anchors of a feature map; those of cell j are centered at stride j.

    Args:
        grid: `(h, w)`, integers or scalar tensors.
        stride: Pixels a cell.
        sizes: `(K, 2)` heights and widths.

    Returns:
        `(h w K, 4)` boxes in the order y, x, size.

    References:
        The `grid_anchor_generator` of the TensorFlow Object Detection API,
        with which Huang et al. 2017, https://arxiv.org/abs/1611.10012, trained.
    """
    y, x = (ops.cast(ops.arange(side), "float32") * stride for side in grid)
    y, x = y[:, None, None], x[None, :, None]
    half = ops.array(sizes, "float32") / 2
    height, width = half[None, None, :, 0], half[None, None, :, 1]
    corners = x - width, y - height, x + width, y + height
    shape = (grid[0], grid[1], len(sizes))
    corners = [ops.broadcast_to(corner, shape) for corner in corners]
    return ops.reshape(ops.stack(corners, axis=-1), (-1, 4))


def are_inside(boxes, image_sizes):
    """Which boxes do not cross the border of their image.

    Args:
        boxes: `(N, 4)`.
        image_sizes: `(B, 2)` heights and widths.

    Returns:
        `(B, N)` bool.
    """
    sizes = ops.cast(image_sizes, "float32")
    return (
        (ops.min(boxes[:, :2], axis=-1) >= 0)
        & (boxes[:, 2] <= sizes[:, 1:])
        & (boxes[:, 3] <= sizes[:, :1])
    )


def encode(boxes, anchors):
    """Codes of boxes relative to anchors of the same number.

    Args:
        boxes: `(..., N, 4)`.
        anchors: `(..., N, 4)`.

    Returns:
        `(..., N, 4)`: ty, tx, th, tw; centers and logarithms of sizes, in
        units of the anchor's size, over `VARIANCE`.
    """
    return keras.utils.bounding_boxes.encode_box_to_deltas(
        anchors, boxes, "xyxy", "xyxy", variance=VARIANCE
    )


def decode(codes, anchors):
    """The boxes of codes, the inverse of `encode`."""
    return keras.utils.bounding_boxes.decode_deltas_to_boxes(
        anchors, codes, "xyxy", "xyxy", variance=VARIANCE
    )


def clip(boxes, image_sizes):
    """Boxes cut to their images.

    Args:
        boxes: `(B, N, 4)`.
        image_sizes: `(B, 2)` heights and widths.

    Returns:
        `(B, N, 4)` boxes, `(B, N)` bool: whether something is left of them.
    """
    sizes = ops.cast(image_sizes, "float32")
    limits = ops.tile(ops.flip(sizes, axis=-1), (1, 2))[:, None]
    boxes = ops.minimum(ops.maximum(boxes, 0.0), limits)
    return boxes, ops.all(boxes[..., :2] < boxes[..., 2:], axis=-1)


def area(boxes):
    """`(...)` areas of boxes `(..., 4)`."""
    return ops.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)


def iou(candidates, boxes):
    """Intersection over union.

    Args:
        candidates: `(A, 4)` or `(B, A, 4)`.
        boxes: `(B, N, 4)`.

    Returns:
        `(B, A, N)`; that of boxes below a thousandth of a pixel square comes
        out too small, as Keras adds 1e-7 to the union.
    """
    return keras.utils.bounding_boxes.compute_iou(candidates, boxes, "xyxy")


def at_least_one(boxes, labels, ignored=None):
    """Boxes of images with a row of padding more, so that there is a row.

    Args:
        boxes: `(B, N, 4)`, N may be 0.
        labels: `(B, N)`, -1 is padding.
        ignored: `(B, N)` bool; None: no box is ignored.

    Returns:
        `(B, N + 1, 4)`, `(B, N + 1)`, `(B, N + 1)` bool.
    """
    if ignored is None:
        ignored = ops.zeros_like(labels, "bool")
    return (
        ops.pad(boxes, ((0, 0), (0, 1), (0, 0))),
        ops.pad(labels, ((0, 0), (0, 1)), constant_values=PADDING),
        ops.cast(ops.pad(ops.cast(ignored, "int32"), ((0, 0), (0, 1))), "bool"),
    )


def check_truth(truth, num_classes):
    """Raise a `ValueError` unless targets of a detector are boxes in pixels.

    Args:
        truth: `{"boxes": (B, N, 4), "labels": (B, N)}` of NumPy arrays, or of
            `tf.TensorSpec`s, of which only the keys are looked at.
        num_classes: Number of classes.
    """
    if not isinstance(truth, dict) or not {"boxes", "labels"} <= truth.keys():
        received = sorted(truth) if isinstance(truth, dict) else type(truth)
        raise ValueError(
            'Targets of a detector are {"boxes": (B, N, 4), "labels": (B, N)}.'
            f" Received: {received}."
        )
    if not isinstance(truth["boxes"], np.ndarray):
        return
    boxes, labels = truth["boxes"], np.asarray(truth["labels"])
    if boxes.shape != (*labels.shape, 4):
        raise ValueError(
            "Boxes must be (batch, N, 4), with labels (batch, N). Received: "
            f"shapes {boxes.shape} and {labels.shape}."
        )
    if (
        labels.size
        and not PADDING <= labels.min() <= labels.max() < num_classes
    ):
        raise ValueError(
            f"Labels of boxes must be in 0..{num_classes - 1}, or -1 where a "
            f"row is padding. Received values in {labels.min()}.."
            f"{labels.max()}. Check the number of classes."
        )
    boxes = boxes[labels != PADDING]
    if not np.isfinite(boxes).all() or (boxes[:, :2] >= boxes[:, 2:]).any():
        raise ValueError(
            "Boxes must be finite (x1, y1, x2, y2) with x1 < x2 and y1 < y2. "
            "Received others; `jft.data.check_batch` says which."
        )
    if boxes.max(initial=-1) <= 1 and boxes.size:
        raise ValueError(
            "Boxes must be in pixels, not in 0..1. Received: "
            f"{boxes[0].tolist()}. Multiply by the image's width and height."
        )
