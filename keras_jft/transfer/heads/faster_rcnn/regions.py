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

    number = tf.shape(boxes)[1]
    images = tf.repeat(tf.range(tf.shape(boxes)[0]), number)
    boxes = tf.reshape(tf.gather(boxes, [1, 0, 3, 2], axis=-1), [-1, 4])

    # TensorFlow's own gradient also makes that of the boxes, which takes many
    # times as long where nobody prunes it.
    @tf.custom_gradient
    def cropped(features):
        def gradient(upstream):
            return tf.raw_ops.CropAndResizeGradImage(
                grads=upstream,
                boxes=boxes,
                box_ind=images,
                image_size=tf.shape(features),
                T=features.dtype,
            )

        crops = tf.image.crop_and_resize(features, boxes, images, [size, size])
        return crops, gradient

    return cropped(features)


def _crop_gathered(features, boxes, size):
    batch, height, width, channels = ops.shape(features)
    top, left, bottom, right = (boxes[..., i] for i in (1, 0, 3, 2))
    rows = _neighbors(top, bottom, height, size)
    columns = _neighbors(left, right, width, size)
    flat = ops.reshape(features, (batch * height * width, channels))
    first = ops.arange(batch, dtype="int32")[:, None, None, None] * height
    crops = 0.0
    for row, row_weight in rows:
        for column, column_weight in columns:
            place = (first + row[..., None]) * width + column[..., None, :]
            weight = row_weight[..., None] * column_weight[..., None, :]
            crops += weight[..., None] * ops.take(flat, place, axis=0)
    return ops.reshape(crops, (-1, size, size, channels))


def _neighbors(low, high, side, size):
    """Index and weight `(B, R, S)` of the features before and after points."""
    steps = ops.arange(size, dtype="float32") / (size - 1)
    at = low[..., None] + steps * (high - low)[..., None]
    at = ops.clip(at * (side - 1), 0, side - 1)
    before = ops.floor(at)
    share = at - before
    before = ops.cast(before, "int32")
    after = ops.minimum(before + 1, side - 1)
    return (before, 1.0 - share), (after, share)
