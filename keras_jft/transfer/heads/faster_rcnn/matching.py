"""Which box a candidate stands for, and which candidates a step trains on.

Candidates are anchors in the first stage and proposals in the second. A match
is the index of a box, `BACKGROUND`, or `UNCOUNTED`: neither.

Shapes: B batch, A candidates, N boxes, S samples.
"""

import keras
from keras import ops

from keras_jft.data.batch import PADDING
from keras_jft.transfer.heads.faster_rcnn.boxes import area, iou

BACKGROUND = -1
UNCOUNTED = -2


def match(candidates, boxes, labels, ignored, *, positive, negative):
    """The box that each candidate overlaps most, if it does enough.

    A candidate of which a share of `negative` lies in an ignored box is no
    background.

    Args:
        candidates: `(A, 4)` or `(B, A, 4)`.
        boxes: `(B, N, 4)`, N > 0.
        labels: `(B, N)`; -1 is padding.
        ignored: `(B, N)` bool: boxes that are neither found nor missed.
        positive: The least overlap (intersection over union) with a box.
        negative: Below it a candidate is background.

    Returns:
        `(B, A)` int32 matches; `(B, A, N)` overlaps, -1 where there is no
        object.
    """
    overlaps = iou(candidates, boxes)
    ignored = ignored & (labels != PADDING)
    is_object = (labels != PADDING) & ~ignored
    objects = ops.where(is_object[:, None], overlaps, -1.0)
    best = ops.max(objects, axis=-1)
    matches = ops.where(
        best >= positive,
        ops.cast(ops.argmax(objects, axis=-1), "int32"),
        ops.where(best < negative, BACKGROUND, UNCOUNTED),
    )
    covered = _largest_share(candidates, boxes, overlaps, ignored)
    is_ignored = (matches == BACKGROUND) & (covered >= negative)
    return ops.where(is_ignored, UNCOUNTED, matches), objects


def _largest_share(candidates, boxes, overlaps, ignored):
    """`(B, A)`: the largest share of a candidate inside one ignored box."""
    own, other = area(candidates)[..., None], area(boxes)[:, None]
    # I = iou (a + b - I) holds the intersection I.
    shares = overlaps / (1.0 + overlaps) * (own + other)
    shares = shares / ops.maximum(own, keras.config.epsilon())
    return ops.max(ops.where(ignored[:, None], shares, 0.0), axis=-1)


def force(matches, overlaps, allowed):
    """Matches in which every object has the allowed candidate nearest to it.

    Of equally near candidates the first; where one is nearest to several
    objects, it stands for the last of them.

    Args:
        matches: `(B, A)`.
        overlaps: `(B, A, N)`, -1 where there is no object.
        allowed: `(B, A)` bool: candidates that count.

    Returns:
        `(B, A)` matches; those of candidates that do not count, `UNCOUNTED`.

    References:
        The `argmax_matcher` of the TensorFlow Object Detection API, with
        `force_match_for_each_row`.
    """
    overlaps = ops.where(allowed[..., None], overlaps, -1.0)
    nearest = ops.cast(ops.argmax(overlaps, axis=1), "int32")  # (B, N)
    nearest = ops.where(ops.max(overlaps, axis=1) >= 0, nearest, -1)
    places = ops.arange(ops.shape(matches)[1], dtype="int32")
    is_nearest = places[None, :, None] == nearest[:, None]
    objects = ops.arange(ops.shape(overlaps)[2], dtype="int32")
    forced = ops.max(ops.where(is_nearest, objects, -1), axis=-1)
    matches = ops.where(forced >= 0, forced, matches)
    return ops.where(allowed, matches, UNCOUNTED)


def sample(matches, size, most_positive, seed):
    """Draws candidates: objects first, then background up to `size`.

    Args:
        matches: `(B, A)`.
        size: S, of an image.
        most_positive: The most samples that stand for a box.
        seed: As `keras.random.uniform` takes it.

    Returns:
        `(B, S)` int32 indices of candidates and `(B, S)` int32 matches of
        them: those of rows that are left over, `UNCOUNTED`.
    """
    noise = keras.random.uniform(ops.shape(matches), seed=seed)
    positives, is_positive = _draw(noise, matches >= 0, most_positive)
    negatives, is_negative = _draw(noise, matches == BACKGROUND, size)
    count = ops.sum(ops.cast(is_positive, "int32"), axis=-1, keepdims=True)
    is_negative &= ops.arange(size, dtype="int32") < size - count
    indices = ops.concatenate([positives, negatives], axis=-1)
    is_sampled = ops.concatenate([is_positive, is_negative], axis=-1)
    # The samples before the rows that are left over, each in its order.
    _, order = ops.top_k(ops.cast(is_sampled, "float32"), size)
    indices = ops.take_along_axis(indices, order, axis=-1)
    is_sampled = ops.take_along_axis(is_sampled, order, axis=-1)
    sampled = ops.take_along_axis(matches, indices, axis=-1)
    return indices, ops.where(is_sampled, sampled, UNCOUNTED)


def _draw(noise, allowed, number):
    """Indices `(B, number)` of the largest noise that is allowed, and if."""
    noise = ops.where(allowed, noise, -1.0)
    # There may be fewer candidates than `number`.
    padded = ops.pad(noise, ((0, 0), (0, number)), constant_values=-1.0)
    values, indices = ops.top_k(padded, number)
    is_drawn = values >= 0
    return ops.where(is_drawn, ops.cast(indices, "int32"), 0), is_drawn
