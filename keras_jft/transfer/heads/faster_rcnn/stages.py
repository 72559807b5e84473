"""The layers between the convolutions: what Faster R-CNN does with boxes.

All compute in float32, and no gradient flows through boxes.

Shapes: B batch, h w feature side, A anchors, N boxes of an image, R regions, S
samples, C classes without background.
"""

import keras
from keras import ops

from keras_jft.transfer.heads.faster_rcnn import boxes as box_lib
from keras_jft.transfer.heads.faster_rcnn import matching, regions
from keras_jft.transfer.heads.faster_rcnn.suppression import suppress

# Spec of Huang et al. 2017: overlaps with which a candidate stands for a box
# or for background, and the largest share of samples that stand for boxes.
ANCHOR_OVERLAPS = {"positive": 0.7, "negative": 0.3}
PROPOSAL_OVERLAPS = {"positive": 0.5, "negative": 0.5}
ANCHOR_SHARE, PROPOSAL_SHARE = 0.5, 0.25
PROPOSAL_IOU = 0.7


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
        return matching.sample(matches, self.size, int(share * self.size), seed)


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
        matches, overlaps = matching.match(
            anchors, boxes, labels, ignored, **ANCHOR_OVERLAPS
        )
        allowed = box_lib.are_inside(anchors, image_sizes)
        matches = matching.force(matches, overlaps, allowed)
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
        matches, _ = matching.match(
            proposals, boxes, labels, ignored, **PROPOSAL_OVERLAPS
        )
        is_proposal = box_lib.area(proposals) > 0
        matches = ops.where(is_proposal, matches, matching.UNCOUNTED)
        indices, matches = self._sample(matches, PROPOSAL_SHARE, training)
        proposals = ops.take_along_axis(proposals, indices[..., None], axis=1)
        is_sample = matches != matching.UNCOUNTED
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
        return regions.crop(features, proposals / limits, self.size)


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
