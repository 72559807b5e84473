"""Crops of a feature map, bilinear, all of one size.

Shapes: B batch, h w feature side, R regions, S side of a crop, C channels.
"""

import keras
from keras import ops

# A crop ends this much short of the last feature: rounded up beyond it, the
# kernel would read zeros.
_INSIDE = 1.0 - 1e-6


def crop(features, boxes, size):
    """Features at S x S points of each box, its corners included.

    No gradient flows to the boxes.

    Args:
        features: `(B, h, w, C)` float32; the first feature is at 0, the last
            at 1.
        boxes: `(B, R, 4)` x1, y1, x2, y2 in 0..1 of the feature map.
        size: S.

    Returns:
        `(B R, S, S, C)`.

    References:
        `tf.image.crop_and_resize`, with which Huang et al. 2017,
        https://arxiv.org/abs/1611.10012, trained.
    """
    boxes = ops.stop_gradient(ops.clip(boxes, 0.0, _INSIDE))
    if keras.backend.backend() == "tensorflow":
        return _crop_tensorflow(features, boxes, size)
    return _crop_gathered(features, boxes, size)


def _crop_tensorflow(features, boxes, size):
    import tensorflow as tf

    shape, number = tf.shape(features), tf.shape(boxes)[1]
    images = tf.repeat(tf.range(shape[0]), number)
    yxyx = tf.reshape(tf.gather(boxes, [1, 0, 3, 2], axis=-1), [-1, 4])

    # On a CPU several threads of TensorFlow's own gradient add to the same
    # features at once, and some of what they add is lost (2.21). The product
    # with the sparse matrix of the weights loses nothing.
    @tf.custom_gradient
    def cropped(features):
        def gradient(upstream):
            upstream = tf.reshape(upstream, [-1, shape[3]])
            points = tf.range(tf.shape(upstream)[0])
            places, weights = zip(*_corners(boxes, shape, size), strict=True)
            places = tf.reshape(tf.stack(places), [-1])
            indices = tf.stack([places, tf.tile(points, [4])], axis=1)
            matrix = tf.SparseTensor(
                tf.cast(indices, tf.int64),
                tf.reshape(tf.stack(weights), [-1]),
                tf.cast(
                    [tf.reduce_prod(shape[:3]), tf.shape(points)[0]], tf.int64
                ),
            )
            product = tf.sparse.sparse_dense_matmul(matrix, upstream)
            return tf.reshape(product, shape)

        crops = tf.image.crop_and_resize(features, yxyx, images, [size, size])
        return crops, gradient

    return cropped(features)


def _crop_gathered(features, boxes, size):
    shape = ops.shape(features)
    flat = ops.reshape(features, (-1, shape[3]))
    crops = sum(
        weight[..., None] * ops.take(flat, place, axis=0)
        for place, weight in _corners(boxes, shape, size)
    )
    return ops.reshape(crops, (-1, size, size, shape[3]))


def _corners(boxes, shape, size):
    """Index and weight `(B, R, S, S)` of the four features around points."""
    batch, height, width, _ = (shape[i] for i in range(4))
    top, left, bottom, right = (boxes[..., i] for i in (1, 0, 3, 2))
    first = ops.arange(batch, dtype="int32")[:, None, None, None] * height
    columns = _neighbors(left, right, width, size)
    corners = []
    for row, row_weight in _neighbors(top, bottom, height, size):
        for column, column_weight in columns:
            place = (first + row[..., None]) * width + column[..., None, :]
            weight = row_weight[..., None] * column_weight[..., None, :]
            corners.append((place, weight))
    return corners


def _neighbors(low, high, side, size):
    """Index and weight `(B, R, S)` of the features before and after points."""
    steps = ops.arange(size, dtype="float32") / (size - 1)
    at = low[..., None] + steps * (high - low)[..., None]
    last = ops.cast(side - 1, "float32")
    at = ops.minimum(at * last, last)
    before = ops.floor(at)
    share = at - before
    before = ops.cast(before, "int32")
    after = ops.minimum(before + 1, side - 1)
    return (before, 1.0 - share), (after, share)
