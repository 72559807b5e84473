"""The layers of Faster R-CNN that handle boxes, between its convolutions.

In the order of the data:

1. `Anchors` places boxes of fixed sizes on the image (Ren et al., section 3.1).
2. `AnchorSampling` draws the anchors for the loss of the first stage (3.1.3).
3. `Proposals` moves the anchors as the first stage predicts, and keeps the best
   that do not overlap (3.3).
4. `ProposalSampling` draws the proposals for the loss of the second stage
   (Girshick, section 2.3).
5. `Regions` crops the features of each proposal, for the second stage.
6. `OfEachImage` sorts the outputs of the second stage by image.

All compute in float32; no gradient flows through boxes.

Shapes: B batch, H W image side, h w feature side, K anchors per feature, A
anchors, N true boxes of an image, R proposals, S samples, C channels.

References:
    Ren et al. 2015, https://arxiv.org/abs/1506.01497 (Faster R-CNN).
    Girshick 2015, https://arxiv.org/abs/1504.08083 (Fast R-CNN).
    Huang et al. 2017, https://arxiv.org/abs/1611.10012 (the configuration).
"""

import keras
from keras import ops

from keras_jft.transfer.heads.faster_rcnn import boxes as box_lib
from keras_jft.transfer.heads.faster_rcnn.suppression import suppress

# A candidate (an anchor or a proposal) whose IoU with a true box is at least
# "positive" is an object; one whose IoU with all of them is below "negative" is
# background. Ren et al., section 3.1.2; Girshick, section 2.3, but without his
# lower limit of 0.1 for background, as in Huang et al.
ANCHOR_OVERLAPS = {"positive": 0.7, "negative": 0.3}
PROPOSAL_OVERLAPS = {"positive": 0.5, "negative": 0.5}
# The largest fraction of objects among the samples: Ren et al., section 3.1.3;
# Girshick, section 2.3.
ANCHOR_SHARE, PROPOSAL_SHARE = 0.5, 0.25
# Proposals that overlap a better one by more are dropped: Ren et al., 3.3.
PROPOSAL_IOU = 0.7
# Crops end this much before the last feature: if rounding put them beyond it,
# the kernel would read zeros.
INSIDE = 1.0 - 1e-6


class Stage(keras.layers.Layer):
    """A layer in float32, which only exists as part of a `FasterRCNN`."""

    def __init__(self, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        # XLA has no kernels for suppression; JAX compiles the loop.
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def get_config(self):
        """Refuse: a copy of the graph would need true boxes to predict."""
        raise ValueError(
            "A `FasterRCNN` cannot be copied layer by layer, as `keras.models."
            "clone_model` does: its inputs of truth are optional. Make another "
            "with `FasterRCNN.from_config(model.get_config())`, and copy the "
            "weights with `set_weights(model.get_weights())`."
        )


class Anchors(Stage):
    """The anchors of a feature map.

    Args:
        stride: Pixels between two features.
        sizes: `(K, 2)` heights and widths in pixels.
        **kwargs: As for a Keras layer.
    """

    def __init__(self, stride, sizes, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride
        self.sizes = sizes

    def call(self, features):
        """Return `(A, 4)` anchors of features `(B, h, w, C)`."""
        grid = ops.shape(features)[1:3]
        return box_lib.anchors(grid, self.stride, self.sizes)


class Proposals(Stage):
    """The anchors most likely to be objects, moved by their codes.

    Args:
        most: R, the most proposals per image.
        **kwargs: As for a Keras layer.
    """

    def __init__(self, most, **kwargs):
        super().__init__(**kwargs)
        self.most = most

    def call(self, anchors, logits, codes, image_sizes):
        """Return proposals by falling score.

        Args:
            anchors: `(A, 4)`.
            logits: `(B, A, 2)`, background first.
            codes: `(B, A, 4)`.
            image_sizes: `(B, 2)` heights and widths without padding.

        Returns:
            `(B, R, 4)` boxes inside the image; rows of zeros are padding.
        """
        # The second stage takes proposals as constants, without a gradient.
        logits, codes = ops.stop_gradient(logits), ops.stop_gradient(codes)
        # Move the anchors (Ren et al., equation 2) and clip them to the image.
        boxes = box_lib.decode(codes, anchors)
        boxes, is_left = box_lib.clip(boxes, image_sizes)
        # Rank them by p, the probability of an object; of those that overlap,
        # keep the best.
        scores = ops.softmax(logits, axis=-1)[..., 1]
        scores = ops.where(is_left, scores, 0.0)
        kept = suppress(boxes, scores, PROPOSAL_IOU, self.most)
        proposals = ops.take_along_axis(
            boxes, ops.maximum(kept, 0)[..., None], axis=1
        )
        return ops.where((kept >= 0)[..., None], proposals, 0.0)


class _Sampling(Stage):
    """Draws samples for a loss: random in training, else always the same."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.seed_generator = keras.random.SeedGenerator()

    def _sample(self, matches, share, training):
        seed = self.seed_generator if training else 0
        return box_lib.sample(matches, self.size, int(share * self.size), seed)


class AnchorSampling(_Sampling):
    """Draws the anchors that the first stage trains on, with their targets.

    Args:
        size: S, the samples per image.
        **kwargs: As for a Keras layer.
    """

    def call(
        self, anchors, image_sizes, boxes, labels, ignored=None, training=None
    ):
        """Return samples of the anchors that lie inside the image.

        Args:
            anchors: `(A, 4)`.
            image_sizes: `(B, 2)` heights and widths without padding.
            boxes: `(B, N, 4)` true boxes; None without truth.
            labels: `(B, N)`, -1 is padding.
            ignored: `(B, N)` bool; None: no box is ignored.
            training: Whether to draw at random.

        Returns:
            `{"indices": (B, S), "classes": (B, S), "codes": (B, S, 4)}`: the
            indices of the anchors; p*, which is 1 for an object, 0 for
            background, and -1 for no sample; and t*, the codes that would move
            the anchors to their objects. Without truth, None for each.
        """
        if boxes is None:
            return {"indices": None, "classes": None, "codes": None}
        # Match each anchor inside the image with a box, with background or with
        # neither. Every box gets at least its best anchor (Ren et al., section
        # 3.1.2, i).
        boxes, labels, ignored = box_lib.at_least_one(boxes, labels, ignored)
        matches, overlaps = box_lib.match(
            anchors, boxes, labels, ignored, **ANCHOR_OVERLAPS
        )
        allowed = box_lib.are_inside(anchors, image_sizes)
        matches = box_lib.force(matches, overlaps, allowed)
        # Draw samples and their targets p* and t* (Ren et al., equation 1).
        indices, matches = self._sample(matches, ANCHOR_SHARE, training)
        matched = _boxes_of(matches, boxes)
        anchors = ops.take(anchors, indices, axis=0)
        # BACKGROUND, -1, becomes class 0; UNCOUNTED, -2, becomes -1.
        classes = ops.where(matches >= 0, 1, matches + 1)
        return {
            "indices": indices,
            "classes": classes,
            "codes": box_lib.encode(matched, anchors),
        }


class ProposalSampling(_Sampling):
    """Draws the proposals that the second stage trains on, with targets.

    Args:
        size: S, the samples per image.
        **kwargs: As for a Keras layer.
    """

    def call(self, proposals, boxes, labels, ignored=None, training=None):
        """Return samples of the proposals, or all of them without truth.

        Args:
            proposals: `(B, R, 4)`; rows of zeros are padding.
            boxes: `(B, N, 4)` true boxes; None without truth.
            labels: `(B, N)`, -1 is padding.
            ignored: `(B, N)` bool; None: no box is ignored.
            training: Whether to draw at random.

        Returns:
            `{"proposals": (B, S, 4), "classes": (B, S), "codes": (B, S, 4)}`:
            classes are 0 for background, label + 1 for an object, -1 for no
            sample, whose proposal is zeros. Without truth, all proposals, with
            None for classes and codes.
        """
        if boxes is None:
            return {"proposals": proposals, "classes": None, "codes": None}
        # Match each proposal with a box, with background or with neither.
        boxes, labels, ignored = box_lib.at_least_one(boxes, labels, ignored)
        matches, _ = box_lib.match(
            proposals, boxes, labels, ignored, **PROPOSAL_OVERLAPS
        )
        is_proposal = box_lib.area(proposals) > 0
        matches = ops.where(is_proposal, matches, box_lib.UNCOUNTED)
        # Draw samples; rows that are left over become padding.
        indices, matches = self._sample(matches, PROPOSAL_SHARE, training)
        proposals = ops.take_along_axis(proposals, indices[..., None], axis=1)
        is_sample = matches != box_lib.UNCOUNTED
        proposals = ops.where(is_sample[..., None], proposals, 0.0)
        # The class of an object is its label + 1; the rest as for anchors.
        matched = ops.take_along_axis(labels, ops.maximum(matches, 0), axis=-1)
        return {
            "proposals": proposals,
            "classes": ops.where(matches >= 0, matched + 1, matches + 1),
            "codes": box_lib.encode(_boxes_of(matches, boxes), proposals),
        }


def _boxes_of(matches, boxes):
    """Return each sample's box, `(B, S, 4)`; an arbitrary one if none."""
    return ops.take_along_axis(
        boxes, ops.maximum(matches, 0)[..., None], axis=1
    )


class Regions(Stage):
    """Crops the features of each proposal, all to the same size.

    Args:
        size: Side of a crop, in features.
        **kwargs: As for a Keras layer.
    """

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, features, proposals, images):
        """Return the crops of all images, one image after another.

        Args:
            features: `(B, h, w, C)`.
            proposals: `(B, R, 4)` in pixels.
            images: `(B, H, W, 3)`, whose size, with padding, the features span.

        Returns:
            `(B * R, size, size, C)`.
        """
        height, width = (ops.cast(x, "float32") for x in ops.shape(images)[1:3])
        limits = ops.stack([width, height, width, height])
        return crop(features, proposals / limits, self.size)


class OfEachImage(Stage):
    """Reshapes outputs of regions, `(B * R, ...)`, by image: `(B, R, ...)`.

    Args:
        shape: Shape of the output of one region.
        **kwargs: As for a Keras layer.
    """

    def __init__(self, shape, **kwargs):
        super().__init__(**kwargs)
        self.shape = tuple(shape)

    def call(self, outputs, proposals):
        """Return `outputs` as `(B, R, *shape)`.

        Args:
            outputs: `(B * R, ...)`.
            proposals: `(B, R, 4)`, only for B and R.
        """
        size = ops.shape(proposals)[:2]
        return ops.reshape(outputs, (*size, *self.shape))


def crop(features, boxes, size):
    """Return features at a grid of positions in each box, corners included.

    Features are interpolated bilinearly. No gradient flows to the boxes.

    Args:
        features: `(B, h, w, C)` float32; the first feature is at 0, the last
            at 1.
        boxes: `(B, R, 4)` x1, y1, x2, y2 in 0..1 of the feature map.
        size: Positions along each side of the grid, at least 2.

    Returns:
        `(B * R, size, size, C)`.

    References:
        `tf.image.crop_and_resize`, which Huang et al. 2017,
        https://arxiv.org/abs/1611.10012, trained with.
    """
    boxes = ops.stop_gradient(ops.clip(boxes, 0.0, INSIDE))
    if keras.backend.backend() == "tensorflow":
        return _crop_tensorflow(features, boxes, size)
    return _crop_gathered(features, boxes, size)


def _crop_tensorflow(features, boxes, size):
    """Crop with TensorFlow's kernel, and with a gradient that is exact."""
    import tensorflow as tf

    shape, number = tf.shape(features), tf.shape(boxes)[1]
    images = tf.repeat(tf.range(shape[0]), number)
    yxyx = tf.reshape(tf.gather(boxes, [1, 0, 3, 2], axis=-1), [-1, 4])

    # On a CPU, threads of TensorFlow's own gradient add to the same features at
    # the same time and lose some sums (version 2.21). Cropping is linear:
    # crops = M^T features, where M, `(B h w, positions)` and sparse, has the
    # share of each feature in each position. So the gradient is M upstream.
    @tf.custom_gradient
    def cropped(features):
        def gradient(upstream):
            upstream = tf.reshape(upstream, [-1, shape[3]])
            positions = tf.range(tf.shape(upstream)[0])
            places, shares = zip(*_corners(boxes, shape, size), strict=True)
            places = tf.reshape(tf.stack(places), [-1])
            indices = tf.stack([places, tf.tile(positions, [4])], axis=1)
            matrix = tf.SparseTensor(
                tf.cast(indices, tf.int64),
                tf.reshape(tf.stack(shares), [-1]),
                tf.cast(
                    [tf.reduce_prod(shape[:3]), tf.shape(positions)[0]],
                    tf.int64,
                ),
            )
            product = tf.sparse.sparse_dense_matmul(matrix, upstream)
            return tf.reshape(product, shape)

        crops = tf.image.crop_and_resize(features, yxyx, images, [size, size])
        return crops, gradient

    return cropped(features)


def _crop_gathered(features, boxes, size):
    """Crop by gathering the four features around each position."""
    shape = ops.shape(features)
    flat = ops.reshape(features, (-1, shape[3]))
    crops = sum(
        share[..., None] * ops.take(flat, place, axis=0)
        for place, share in _corners(boxes, shape, size)
    )
    return ops.reshape(crops, (-1, size, size, shape[3]))


def _corners(boxes, shape, size):
    """Return `corners` in a single map `(B, h, w, C)` of a given shape."""
    batch, height, width, _ = (shape[i] for i in range(4))
    first = ops.arange(batch, dtype="int32")[:, None] * (height * width)
    return corners(boxes, first, (height, width), size)


def corners(boxes, first, sides, size):
    """Return the four features around each position, and their shares.

    Args:
        boxes: `(B, R, 4)` x1, y1, x2, y2 in 0..1 of the map.
        first: `(B, 1)` or `(B, R)` int32, flat index of the map's first
            feature.
        sides: Height and width of the map, integers or `(B, R)`.
        size: Positions along each side of the grid.

    Returns:
        Four pairs of `(B, R, size, size)`: the flat index of a feature, and its
        share in the position.
    """
    height, width = (
        ops.cast(ops.convert_to_tensor(side), "int32")[..., None]
        for side in sides
    )
    top, left, bottom, right = (boxes[..., i] for i in (1, 0, 3, 2))
    columns = _neighbors(left, right, width, size)
    found = []
    for row, row_share in _neighbors(top, bottom, height, size):
        start = first[..., None] + row * width
        for column, column_share in columns:
            place = start[..., None] + column[..., None, :]
            share = row_share[..., None] * column_share[..., None, :]
            found.append((place, share))
    return found


def _neighbors(low, high, side, size):
    """Return the features before and after positions on an axis, with shares.

    Args:
        low: `(B, R)`, where the positions begin, in 0..1.
        high: `(B, R)`, where they end.
        side: `(1,)` or `(B, R, 1)` int32, features on the axis.
        size: Number of positions.

    Returns:
        Two pairs of `(B, R, size)`: the index on the axis, and the share.
    """
    steps = ops.arange(size, dtype="float32") / (size - 1)
    at = low[..., None] + steps * (high - low)[..., None]
    last = ops.cast(side - 1, "float32")
    at = ops.minimum(at * last, last)
    before = ops.floor(at)
    share = at - before
    before = ops.cast(before, "int32")
    after = ops.minimum(before + 1, side - 1)
    return (before, 1.0 - share), (after, share)
