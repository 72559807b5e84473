"""Greedy non-maximum suppression, for a batch at once.

TensorFlow has kernels for it; other backends loop over the boxes to keep. Of
boxes with equal scores the first is kept first.

Shapes: B batch, N boxes, C classes, K boxes that are kept.
"""

import keras
from keras import ops

_NONE = -1.0  # The score of a box that is suppressed.


def suppress(boxes, scores, iou_threshold, most):
    """Return the best boxes, without those that overlap a better one.

    Args:
        boxes: `(B, N, 4)` x1, y1, x2, y2.
        scores: `(B, N)`; boxes with a score of 0 or less are left out.
        iou_threshold: Boxes that overlap by more are suppressed.
        most: K, the most boxes that are kept.

    Returns:
        `(B, K)` int32 indices by falling score; -1 is padding.
    """
    if keras.backend.backend() == "tensorflow":
        return _suppress_tensorflow(boxes, scores, iou_threshold, most)
    return _suppress_loop(boxes, scores, iou_threshold, most)


def suppress_classes(boxes, scores, iou_threshold, most_per_class, most):
    """Suppress within each class, then return the best boxes of all classes.

    Args:
        boxes: `(B, N, C, 4)` x1, y1, x2, y2.
        scores: `(B, N, C)`; boxes with a score of 0 or less are left out.
        iou_threshold: As for `suppress`.
        most_per_class: The most boxes per class.
        most: K, the most boxes that are kept.

    Returns:
        `(B, K, 4)` boxes, `(B, K)` scores and `(B, K)` int32 labels, by
        falling score, all padded with -1.
    """
    if keras.backend.backend() == "tensorflow":
        found = _suppress_classes_tensorflow
    else:
        found = _suppress_classes_loop
    boxes, scores, labels = found(
        boxes, scores, iou_threshold, most_per_class, most
    )
    is_found = scores > 0
    return (
        ops.where(is_found[..., None], boxes, -1.0),
        ops.where(is_found, scores, -1.0),
        ops.where(is_found, labels, -1),
    )


# === TensorFlow's kernels ===


def _suppress_tensorflow(boxes, scores, iou_threshold, most):
    import tensorflow as tf

    def of_an_image(arguments):
        indices = tf.image.non_max_suppression(
            *arguments, most, iou_threshold, score_threshold=0.0
        )
        missing = most - tf.shape(indices)[0]
        indices = tf.pad(indices, [[0, missing]], constant_values=-1)
        return tf.ensure_shape(indices, [most])

    spec = tf.TensorSpec([most], tf.int32)
    return tf.map_fn(of_an_image, (boxes, scores), fn_output_signature=spec)


def _suppress_classes_tensorflow(
    boxes, scores, iou_threshold, most_per_class, most
):
    import tensorflow as tf

    boxes, scores, labels, _ = tf.image.combined_non_max_suppression(
        boxes,
        scores,
        most_per_class,
        most,
        iou_threshold,
        score_threshold=0.0,
        clip_boxes=False,
    )
    return boxes, scores, tf.cast(labels, tf.int32)


# === Any backend ===


def _suppress_loop(boxes, scores, iou_threshold, most):
    def keep_one(i, state):
        scores, kept = state
        best = ops.cast(ops.argmax(scores, axis=-1), "int32")[:, None]
        score = ops.take_along_axis(scores, best, axis=-1)
        kept_now = ops.where(score > 0, best, -1)
        kept = ops.where(ops.arange(most) == i, kept_now, kept)
        box = ops.take_along_axis(boxes, best[..., None], axis=1)
        is_gone = _overlaps(boxes, box) > iou_threshold
        is_gone |= ops.arange(ops.shape(boxes)[1]) == best
        return ops.where(is_gone & (score > 0), _NONE, scores), kept

    kept = ops.full((ops.shape(boxes)[0], most), -1, "int32")
    return ops.fori_loop(0, most, keep_one, (scores, kept))[1]


def _overlaps(boxes, box):
    """Return `(B, N)` IoU of boxes `(B, N, 4)` with one box, `(B, 1, 4)`."""
    low = ops.maximum(boxes[..., :2], box[..., :2])
    high = ops.minimum(boxes[..., 2:], box[..., 2:])
    both = ops.prod(ops.maximum(high - low, 0.0), axis=-1)
    areas = ops.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)
    area = ops.prod(box[..., 2:] - box[..., :2], axis=-1)
    union = areas + area - both
    return ops.where(both > 0, both / ops.where(both > 0, union, 1.0), 0.0)


def _suppress_classes_loop(boxes, scores, iou_threshold, most_per_class, most):
    batch, number, classes = ops.shape(scores)
    boxes = ops.reshape(
        ops.transpose(boxes, (0, 2, 1, 3)), (-1, number, 4)
    )  # (B C, N, 4)
    scores = ops.reshape(ops.transpose(scores, (0, 2, 1)), (-1, number))
    kept = _suppress_loop(boxes, scores, iou_threshold, most_per_class)
    index = ops.maximum(kept, 0)
    scores = ops.take_along_axis(scores, index, axis=-1)
    scores = ops.where(kept >= 0, scores, _NONE)
    boxes = ops.take_along_axis(boxes, index[..., None], axis=1)

    # The best of all classes; candidates of a class are next to each other.
    scores = ops.reshape(scores, (batch, classes * most_per_class))
    boxes = ops.reshape(boxes, (batch, classes * most_per_class, 4))
    scores = ops.pad(scores, ((0, 0), (0, most)), constant_values=_NONE)
    boxes = ops.pad(boxes, ((0, 0), (0, most), (0, 0)))
    scores, order = ops.top_k(scores, most)
    order = ops.cast(order, "int32")
    boxes = ops.take_along_axis(boxes, order[..., None], axis=1)
    return boxes, scores, order // most_per_class
