"""Functions of boxes: anchors, codes, overlaps, matching and sampling.

A code is a network's prediction of a box relative to an anchor or a proposal. A
candidate is an anchor in the first stage and a proposal in the second. The
match of a candidate is the index of a true box, or `BACKGROUND`, or
`UNCOUNTED`, which is neither and does not count in the loss.

Boxes are x1, y1, x2, y2 in pixels. Keras has such functions, too
(`keras.utils.bounding_boxes`), but on JAX they need TensorFlow, and clipping
takes a single size for all images.

Shapes: B batch, h w feature side, K anchors per feature, A candidates, N true
boxes of an image (or boxes of any kind), S samples.
"""

import keras
import numpy as np
from keras import ops

from keras_jft.data.batch import PADDING

BACKGROUND = -1
UNCOUNTED = -2

# Huang et al. 2017: codes [ty, tx, th, tw] are divided by these.
VARIANCE = (0.1, 0.1, 0.2, 0.2)
# What Keras adds to unions, and the least side that it encodes.
_EPSILON = 1e-7


def anchor_sizes(base, scales, ratios):
    """Return height and width of the anchors of one feature.

    Args:
        base: Side in pixels of the square anchor of scale 1.
        scales: Factors of the sides.
        ratios: Widths divided by heights.

    Returns:
        `(K, 2)` NumPy array, ordered by ratio, then by scale.

    Example:

    >>> anchor_sizes(256, scales=(0.5, 1.0), ratios=(1.0, 4.0)).tolist()
    [[128.0, 128.0], [256.0, 256.0], [64.0, 256.0], [128.0, 512.0]]
    """
    ratios, scales = np.meshgrid(ratios, scales, indexing="ij")
    sizes = base * scales / np.sqrt(ratios), base * scales * np.sqrt(ratios)
    return np.stack(sizes, axis=-1).reshape(-1, 2).astype("float32")


def anchors(grid, stride, sizes):
    """Return the anchors of a feature map, feature j's centered at stride * j.

    Args:
        grid: `(h, w)`, integers or scalar tensors.
        stride: Pixels between two features.
        sizes: `(K, 2)` heights and widths.

    Returns:
        `(h * w * K, 4)` boxes, ordered by y, then x, then size.

    References:
        The `grid_anchor_generator` of the TensorFlow Object Detection API,
        which Huang et al. 2017, https://arxiv.org/abs/1611.10012, trained with.
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
    """Return which boxes do not cross the border of each image.

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
    """Return the codes of boxes, each relative to the anchor in its place.

    Args:
        boxes: `(..., N, 4)`.
        anchors: `(..., N, 4)`.

    Returns:
        `(..., N, 4)`: ty, tx, th, tw, where, for a box of center (x, y) and
        size (w, h) and an anchor with index a,

            tx = (x - xa) / wa,   ty = (y - ya) / ha,
            tw = log(w / wa),     th = log(h / ha),

        each divided by its entry in `VARIANCE`.

    References:
        Ren et al. 2015, https://arxiv.org/abs/1506.01497, equation 2.
    """
    centers, sizes = _centers_and_sizes(boxes)
    places, units = _centers_and_sizes(anchors)
    units = ops.maximum(units, _EPSILON)
    growths = ops.log(ops.maximum(sizes, _EPSILON) / units)
    codes = ops.concatenate([(centers - places) / units, growths], axis=-1)
    return codes / ops.array(VARIANCE, codes.dtype)


def decode(codes, anchors):
    """Return the boxes that codes stand for: the inverse of `encode`."""
    places, units = _centers_and_sizes(anchors)
    moves, growths = ops.split(codes * ops.array(VARIANCE, codes.dtype), 2, -1)
    centers, halves = moves * units + places, ops.exp(growths) * units / 2
    corners = centers - halves, centers + halves
    return ops.concatenate([ops.flip(c, axis=-1) for c in corners], axis=-1)


def _centers_and_sizes(boxes):
    """Return y and x of centers, and heights and widths, each `(..., 2)`."""
    low, high = (ops.flip(c, axis=-1) for c in ops.split(boxes, 2, axis=-1))
    return (low + high) / 2, high - low


def clip(boxes, image_sizes):
    """Return boxes clipped to their images.

    Args:
        boxes: `(B, N, 4)`.
        image_sizes: `(B, 2)` heights and widths.

    Returns:
        `(B, N, 4)` boxes and `(B, N)` bool, whether any of the box is left.
    """
    sizes = ops.cast(image_sizes, "float32")
    limits = ops.tile(ops.flip(sizes, axis=-1), (1, 2))[:, None]
    boxes = ops.minimum(ops.maximum(boxes, 0.0), limits)
    return boxes, ops.all(boxes[..., :2] < boxes[..., 2:], axis=-1)


def area(boxes):
    """Return `(...)` areas of boxes `(..., 4)`."""
    return ops.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)


def _iou(candidates, boxes):
    """Return the intersection over union of each candidate with each box.

    Args:
        candidates: `(A, 4)` or `(B, A, 4)`.
        boxes: `(B, N, 4)`.

    Returns:
        `(B, A, N)`. For boxes below a thousandth of a square pixel it is too
        small, as 1e-7 is added to the union.
    """
    left, top, right, bottom = (candidates[..., i, None] for i in range(4))
    x1, y1, x2, y2 = (boxes[..., None, :, i] for i in range(4))
    width = ops.minimum(right, x2) - ops.maximum(left, x1)
    height = ops.minimum(bottom, y2) - ops.maximum(top, y1)
    both = ops.maximum(width, 0.0) * ops.maximum(height, 0.0)
    union = area(candidates)[..., None] + area(boxes)[..., None, :] - both
    return both / (union + _EPSILON)


def at_least_one(boxes, labels, ignored=None):
    """Return the boxes with one more row of padding, so that none is empty.

    Args:
        boxes: `(B, N, 4)`; N may be 0.
        labels: `(B, N)`; -1 is padding.
        ignored: `(B, N)` bool; None: no box is ignored.

    Returns:
        Boxes `(B, N + 1, 4)`, labels `(B, N + 1)` and which are ignored,
        `(B, N + 1)` bool.
    """
    if ignored is None:
        ignored = ops.zeros_like(labels, "bool")
    return (
        ops.pad(boxes, ((0, 0), (0, 1), (0, 0))),
        ops.pad(labels, ((0, 0), (0, 1)), constant_values=PADDING),
        ops.cast(ops.pad(ops.cast(ignored, "int32"), ((0, 0), (0, 1))), "bool"),
    )


def check_truth(truth, num_classes):
    """Raise a `ValueError` unless a detector's targets are boxes in pixels.

    Args:
        truth: `{"boxes": (B, N, 4), "labels": (B, N)}` as NumPy arrays, or as
            `tf.TensorSpec`s, of which only the keys are checked.
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
            "Received others. `jft.data.check_batch` says which ones."
        )
    if boxes.max(initial=-1) <= 1 and boxes.size:
        raise ValueError(
            "Boxes must be in pixels, not in 0..1. Received: "
            f"{boxes[0].tolist()}. Multiply by the image's width and height."
        )


def with_one_more(truth):
    """Return a detector's targets with one more box of padding per image.

    Args:
        truth: `{"boxes": (B, N, 4), "labels": (B, N), ...}` as NumPy arrays.
    """
    return {
        key: np.pad(
            rows,
            [(0, 0), (0, 1)] + [(0, 0)] * (np.ndim(rows) - 2),
            constant_values=PADDING if key == "labels" else 0,
        )
        for key, rows in truth.items()
    }


def match(candidates, boxes, labels, ignored, *, positive, negative):
    """Match each candidate with the box that it overlaps most, if by enough.

    A candidate of which at least a fraction `negative` lies inside an ignored
    box is not background.

    Args:
        candidates: `(A, 4)` or `(B, A, 4)`.
        boxes: `(B, N, 4)`, N > 0.
        labels: `(B, N)`; -1 is padding.
        ignored: `(B, N)` bool: boxes that are neither found nor missed.
        positive: The least overlap (intersection over union) with a box that
            makes a match.
        negative: The overlap below which a candidate is background.

    Returns:
        `(B, A)` int32 matches; `(B, A, N)` overlaps, -1 where there is no
        object.
    """
    overlaps = _iou(candidates, boxes)
    # Match with objects: boxes that are neither padding nor ignored.
    ignored = ignored & (labels != PADDING)
    is_object = (labels != PADDING) & ~ignored
    objects = ops.where(is_object[:, None], overlaps, -1.0)
    best = ops.max(objects, axis=-1)
    matches = ops.where(
        best >= positive,
        ops.cast(ops.argmax(objects, axis=-1), "int32"),
        ops.where(best < negative, BACKGROUND, UNCOUNTED),
    )
    # A candidate inside an ignored box is not background either.
    covered = _largest_share(candidates, boxes, overlaps, ignored)
    is_ignored = (matches == BACKGROUND) & (covered >= negative)
    return ops.where(is_ignored, UNCOUNTED, matches), objects


def _largest_share(candidates, boxes, overlaps, ignored):
    """Return `(B, A)`, the largest share of a candidate in an ignored box."""
    own, other = area(candidates)[..., None], area(boxes)[:, None]
    # The intersection I follows from iou = I / (a + b - I).
    shares = overlaps / (1.0 + overlaps) * (own + other)
    shares = shares / ops.maximum(own, keras.config.epsilon())
    return ops.max(ops.where(ignored[:, None], shares, 0.0), axis=-1)


def force(matches, overlaps, allowed):
    """Give every object the allowed candidate that overlaps it most.

    Of candidates with the same overlap, that is the first. A candidate that is
    the best of several objects is matched with the last of them.

    Args:
        matches: `(B, A)`.
        overlaps: `(B, A, N)`, -1 where there is no object.
        allowed: `(B, A)` bool: the candidates that count.

    Returns:
        `(B, A)` matches, `UNCOUNTED` for candidates that do not count.

    References:
        The `argmax_matcher` of the TensorFlow Object Detection API, with
        `force_match_for_each_row`.
    """
    # The best candidate of each object, if any.
    overlaps = ops.where(allowed[..., None], overlaps, -1.0)
    nearest = ops.cast(ops.argmax(overlaps, axis=1), "int32")  # (B, N)
    nearest = ops.where(ops.max(overlaps, axis=1) >= 0, nearest, -1)
    # The last object of each candidate that is the best of some.
    places = ops.arange(ops.shape(matches)[1], dtype="int32")
    is_nearest = places[None, :, None] == nearest[:, None]
    objects = ops.arange(ops.shape(overlaps)[2], dtype="int32")
    forced = ops.max(ops.where(is_nearest, objects, -1), axis=-1)
    matches = ops.where(forced >= 0, forced, matches)
    return ops.where(allowed, matches, UNCOUNTED)


def sample(matches, size, most_positive, seed):
    """Draw candidates: objects first, then background up to `size`.

    Args:
        matches: `(B, A)`.
        size: S, the samples per image.
        most_positive: The most samples that stand for a box.
        seed: A seed for `keras.random.uniform`.

    Returns:
        `(B, S)` int32 indices of candidates and their `(B, S)` int32 matches,
        which are `UNCOUNTED` in rows that are left over.
    """
    # The candidates with the largest random numbers are a random choice.
    noise = keras.random.uniform(ops.shape(matches), seed=seed)
    positives, is_positive = _draw(noise, matches >= 0, most_positive)
    negatives, is_negative = _draw(noise, matches == BACKGROUND, size)
    count = ops.sum(ops.cast(is_positive, "int32"), axis=-1, keepdims=True)
    is_negative &= ops.arange(size, dtype="int32") < size - count
    indices = ops.concatenate([positives, negatives], axis=-1)
    is_sampled = ops.concatenate([is_positive, is_negative], axis=-1)
    # Move rows without a sample to the end; the others keep their order.
    _, order = ops.top_k(ops.cast(is_sampled, "float32"), size)
    indices = ops.take_along_axis(indices, order, axis=-1)
    is_sampled = ops.take_along_axis(is_sampled, order, axis=-1)
    sampled = ops.take_along_axis(matches, indices, axis=-1)
    return indices, ops.where(is_sampled, sampled, UNCOUNTED)


def _draw(noise, allowed, number):
    """Return indices of the largest allowed noise, and which are drawn.

    Both are `(B, number)`; an index that is not drawn is 0.
    """
    noise = ops.where(allowed, noise, -1.0)
    # There may be fewer candidates than `number`.
    padded = ops.pad(noise, ((0, 0), (0, number)), constant_values=-1.0)
    values, indices = ops.top_k(padded, number)
    is_drawn = values >= 0
    return ops.where(is_drawn, ops.cast(indices, "int32"), 0), is_drawn
