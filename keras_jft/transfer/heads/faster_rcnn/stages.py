"""The layers between the convolutions: what Faster R-CNN does with boxes.

All compute in float32, and no gradient flows through boxes.

Shapes: B batch, h w feature side, A anchors, N boxes of an image, R regions, S
samples or the side of a crop, C classes without background or channels.
"""

import keras
from keras import ops

from keras_jft.transfer.heads.faster_rcnn import boxes as box_lib
from keras_jft.transfer.heads.faster_rcnn.suppression import suppress

# Spec of Huang et al. 2017: overlaps with which a candidate stands for a box
# or for background, and the largest share of samples that stand for boxes.
ANCHOR_OVERLAPS = {"positive": 0.7, "negative": 0.3}
PROPOSAL_OVERLAPS = {"positive": 0.5, "negative": 0.5}
ANCHOR_SHARE, PROPOSAL_SHARE = 0.5, 0.25
PROPOSAL_IOU = 0.7
# A crop ends this much short of the last feature: rounded up beyond it, the
# kernel would read zeros.
_INSIDE = 1.0 - 1e-6


class _Stage(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        # XLA has no kernels for suppression; JAX compiles the loop.
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def get_config(self):
        """Refused: a copy of the graph would ask for boxes to predict."""
        raise ValueError(
            "A `FasterRCNN` is not copied layer by layer, as `keras.models."
            "clone_model` does: its inputs of truth are optional. Make another "
            "one by `FasterRCNN.from_config(model.get_config())`, and give it "
            "the weights by `set_weights(model.get_weights())`."
        )


class Anchors(_Stage):
    """The anchors of a feature map.

    Args:
        stride: Pixels a feature.
        sizes: `(K, 2)` heights and widths.
        **kwargs: As for a Keras layer.
    """

    def __init__(self, stride, sizes, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride
        self.sizes = sizes

    def call(self, features):
        """`(A, 4)` anchors of features `(B, h, w, C)`."""
        grid = ops.shape(features)[1:3]
        return box_lib.anchors(grid, self.stride, self.sizes)


class Proposals(_Stage):
    """The most likely objects among the anchors, moved as predicted.

    Args:
        most: R, the number of proposals.
        **kwargs: As for a Keras layer.
    """

    def __init__(self, most, **kwargs):
        super().__init__(**kwargs)
        self.most = most

    def call(self, anchors, logits, codes, image_sizes):
        """Proposals by falling score.

        Args:
            anchors: `(A, 4)`.
            logits: `(B, A, 2)`, background first.
            codes: `(B, A, 4)`.
            image_sizes: `(B, 2)` heights and widths without padding.

        Returns:
            `(B, R, 4)` boxes in the image; rows of zeros are padding.
        """
        logits, codes = ops.stop_gradient(logits), ops.stop_gradient(codes)
        boxes = box_lib.decode(codes, anchors)
        boxes, is_left = box_lib.clip(boxes, image_sizes)
        scores = ops.softmax(logits, axis=-1)[..., 1]
        scores = ops.where(is_left, scores, 0.0)
        kept = suppress(boxes, scores, PROPOSAL_IOU, self.most)
        proposals = ops.take_along_axis(
            boxes, ops.maximum(kept, 0)[..., None], axis=1
        )
        return ops.where((kept >= 0)[..., None], proposals, 0.0)


class _Sampling(_Stage):
    """Draws what a step trains on: at random in training, else always alike."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.seed_generator = keras.random.SeedGenerator()

    def _sample(self, matches, share, training):
        seed = self.seed_generator if training else 0
        return box_lib.sample(matches, self.size, int(share * self.size), seed)


class AnchorSampling(_Sampling):
    """The anchors that the first stage trains on, and what they stand for.

    Args:
        size: S, samples of an image.
        **kwargs: As for a Keras layer.
    """

    def call(
        self, anchors, image_sizes, boxes, labels, ignored=None, training=None
    ):
        """Samples of the anchors that lie in the image.

        Args:
            anchors: `(A, 4)`.
            image_sizes: `(B, 2)`.
            boxes: `(B, N, 4)` objects; None where there is no truth.
            labels: `(B, N)`, -1 is padding.
            ignored: `(B, N)` bool; None: no box is ignored.
            training: Whether to draw at random.

        Returns:
            `{"indices": (B, S), "classes": (B, S), "codes": (B, S, 4)}`:
            anchors; 1 for an object, 0 for background, -1 for no sample; the
            codes of the objects. Or three None.
        """
        if boxes is None:
            return {"indices": None, "classes": None, "codes": None}
        boxes, labels, ignored = box_lib.at_least_one(boxes, labels, ignored)
        matches, overlaps = box_lib.match(
            anchors, boxes, labels, ignored, **ANCHOR_OVERLAPS
        )
        allowed = box_lib.are_inside(anchors, image_sizes)
        matches = box_lib.force(matches, overlaps, allowed)
        indices, matches = self._sample(matches, ANCHOR_SHARE, training)
        matched = _boxes_of(matches, boxes)
        anchors = ops.take(anchors, indices, axis=0)
        classes = ops.where(matches >= 0, 1, matches + 1)  # -1 to 0, -2 to -1
        return {
            "indices": indices,
            "classes": classes,
            "codes": box_lib.encode(matched, anchors),
        }


class ProposalSampling(_Sampling):
    """The proposals that the second stage trains on; all where it does not.

    Args:
        size: S, samples of an image.
        **kwargs: As for a Keras layer.
    """

    def call(self, proposals, boxes, labels, ignored=None, training=None):
        """Samples of the proposals.

        Args:
            proposals: `(B, R, 4)`; rows of zeros are padding.
            boxes: `(B, N, 4)` objects; None where there is no truth.
            labels: `(B, N)`, -1 is padding.
            ignored: `(B, N)` bool; None: no box is ignored.
            training: Whether to draw at random.

        Returns:
            `{"proposals": (B, S, 4), "classes": (B, S), "codes": (B, S, 4)}`:
            classes are 0 for background, label + 1 for an object, -1 for no
            sample, whose proposal is zeros. Without truth all proposals, and
            None.
        """
        if boxes is None:
            return {"proposals": proposals, "classes": None, "codes": None}
        boxes, labels, ignored = box_lib.at_least_one(boxes, labels, ignored)
        matches, _ = box_lib.match(
            proposals, boxes, labels, ignored, **PROPOSAL_OVERLAPS
        )
        is_proposal = box_lib.area(proposals) > 0
        matches = ops.where(is_proposal, matches, box_lib.UNCOUNTED)
        indices, matches = self._sample(matches, PROPOSAL_SHARE, training)
        proposals = ops.take_along_axis(proposals, indices[..., None], axis=1)
        is_sample = matches != box_lib.UNCOUNTED
        proposals = ops.where(is_sample[..., None], proposals, 0.0)
        matched = ops.take_along_axis(labels, ops.maximum(matches, 0), axis=-1)
        return {
            "proposals": proposals,
            "classes": ops.where(matches >= 0, matched + 1, matches + 1),
            "codes": box_lib.encode(_boxes_of(matches, boxes), proposals),
        }


def _boxes_of(matches, boxes):
    """`(B, S, 4)` the box that each sample stands for, or any."""
    return ops.take_along_axis(
        boxes, ops.maximum(matches, 0)[..., None], axis=1
    )


class Regions(_Stage):
    """The features of each proposal, cropped to one size.

    Args:
        size: Side of a crop.
        **kwargs: As for a Keras layer.
    """

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, features, proposals, images):
        """Crops of all images, one after the other.

        Args:
            features: `(B, h, w, C)`.
            proposals: `(B, R, 4)` in pixels.
            images: `(B, H, W, 3)`: their padded size is that of the features.

        Returns:
            `(B R, size, size, C)`.
        """
        height, width = (ops.cast(x, "float32") for x in ops.shape(images)[1:3])
        limits = ops.stack([width, height, width, height])
        return crop(features, proposals / limits, self.size)


class OfEachImage(_Stage):
    """Gives regions back to their images: `(B R, ...)` to `(B, R, ...)`.

    Args:
        shape: Of what belongs to a region.
        **kwargs: As for a Keras layer.
    """

    def __init__(self, shape, **kwargs):
        super().__init__(**kwargs)
        self.shape = tuple(shape)

    def call(self, outputs, proposals):
        """`outputs` `(B R, ...)` as `(B, R, *shape)`.

        Args:
            outputs: `(B R, ...)`.
            proposals: `(B, R, 4)`.
        """
        size = ops.shape(proposals)[:2]
        return ops.reshape(outputs, (*size, *self.shape))


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
