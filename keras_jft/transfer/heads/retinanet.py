"""`RetinaNet`: the one-stage detector of KerasCV or KerasHub on our backbones.

Shapes: B batch, A anchors, N boxes of an image, n detections, C classes.
"""

import math
from typing import Any, Self

import keras
from keras import ops

from keras_jft import checks, layers, training
from keras_jft.data.batch import PADDING
from keras_jft.transfer.heads import head, levels, libraries
from keras_jft.transfer.heads.faster_rcnn import boxes as box_lib
from keras_jft.transfer.heads.faster_rcnn.suppression import suppress
from keras_jft.transfer.heads.one_stage import (
    LEAST_SCORE,
    LEVELS,
    MOST_DETECTIONS,
    OneStageDetector,
    canvas,
)
from keras_jft.typing import Tensor

SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
RATIOS = (0.5, 1.0, 2.0)
NMS_IOU = 0.5
# Lin et al. 2017, section 4.1 and 5.1.
_PRIOR = _DEVIATION = 0.01
_HUB_DEVIATION = 0.05  # Of the initializer "random_normal".
_ALPHA, _GAMMA = 0.25, 2.0


@keras.saving.register_keras_serializable("keras_jft")
class RetinaNet(OneStageDetector):
    """RetinaNet by KerasCV or KerasHub: its pyramid, heads and anchors.

    Targets are `bounding_boxes` with `boxes` `(B, N, 4)` in pixels and `labels`
    `(B, N)`, -1 for padding. Calling returns `box` `(B, A, 4)` and
    `classification` `(B, A, C)` of the anchors, in float32. Predicting returns
    `boxes` `(B, n, 4)`, `scores` `(B, n)` and int32 `labels` `(B, n)`, padded
    with -1, as `FasterRCNN` does. It treats ignored objects as background, and
    the padding of images as part of them.

    Args:
        backbone: A backbone that keeps the contract of `jft.backbones`, for
            images of a fixed size whose sides are multiples of P5's stride
            (32). It needs the levels P3, P4 and P5.
        num_classes: Number of classes, background not counted.
        implementation: `"keras_cv"`, on TensorFlow, with its losses and
            suppression; or `"keras_hub"` (`pip install keras_jft[hub]`), on any
            backend: its graph, anchors, codes and matches, with the loss and
            the initial weights of the paper, which are not its defaults: it
            averages over classes, has no alpha, and for images without objects
            no loss. Weights of one do not fit the other, nor do learning rates:
            on a small net at 16 px, KerasCV's learned by SGD at 0.05, where
            KerasHub's diverged; it learned at 0.005, or by Adam at 1e-4.
        anchor_size: Side in pixels of the smallest anchor of P3. None: four
            features, which is 32 px after an ImageNet stem.
        name: Name of the model.

    Raises:
        ImportError: If the library, or for KerasCV TensorFlow, is not
            installed.
        ValueError: If KerasCV is asked for on another backend than TensorFlow,
            or the backbone takes images of any size, or of a size for which P4
            is not twice as large as P5.

    References:
        Lin et al. 2017, "Focal Loss for Dense Object Detection",
        https://arxiv.org/abs/1708.02002.
    """

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        *,
        implementation: str = libraries.IMPLEMENTATIONS[0],
        anchor_size: float | None = None,
        name: str = "retinanet",
        **kwargs: Any,
    ):
        _check_options(implementation=implementation, anchor_size=anchor_size)

        # === Layers ===
        make = {"keras_cv": _KerasCV, "keras_hub": _KerasHub}[implementation]
        # Under the backbone's dtype policy, also when a file is loaded.
        with training.dtype_policy(backbone.dtype_policy.name):
            library: Any = make(backbone, num_classes, anchor_size)

        # === Functional model ===
        features = library.pyramid(
            {key: backbone.pyramid_outputs[key] for key in LEVELS}
        )
        super().__init__(
            inputs=backbone.input,
            outputs={
                "box": _of_all(library.box_head, features, 4, "box"),
                "classification": _of_all(
                    library.classification_head,
                    features,
                    num_classes,
                    "classification",
                ),
            },
            name=name,
            **kwargs,
        )

        # === Config ===
        self.backbone = backbone
        self.num_classes = num_classes
        self.implementation = implementation
        self.anchor_size = anchor_size
        # No layer itself, so that Keras does not track its layers twice.
        self._library = library

    def loss_of(
        self, images: Tensor, boxes: Tensor, labels: Tensor, outputs: Any
    ) -> Tensor:
        """Return the focal loss of classes plus smooth L1 of boxes.

        Args:
            images: Images `(B, H, W, 3)`.
            boxes: `(B, N, 4)`; rows that do not count are -1.
            labels: float32 `(B, N)`; -1 does not count.
            outputs: What calling returned.
        """
        return self._library.loss(images, boxes, labels, outputs)

    def detections(self, outputs: Any, images: Tensor) -> Any:
        """Return boxes, scores and labels; padding has the label -1.

        Args:
            outputs: What calling returned.
            images: Images `(B, H, W, 3)`.
        """
        return self._library.detections(outputs, images)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "implementation": self.implementation,
            "anchor_size": self.anchor_size,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a model with these arguments."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _of_all(predict, features, units, name):
    """Return the predictions of all levels, `(B, A, units)`."""
    flat = [
        keras.layers.Reshape((-1, units), name=f"{name}_{level}")(
            predict(feature)
        )
        for level, feature in _levels(features)
    ]
    return keras.layers.Concatenate(axis=1, dtype="float32", name=name)(flat)


def _levels(features):
    """Return features by level, P3 first, as both libraries order anchors."""
    if isinstance(features, dict):
        return sorted(features.items())
    return [(f"P{i}", feature) for i, feature in enumerate(features, start=3)]


# === KerasCV ===


class _KerasCV:
    """KerasCV's detector: its layers, loss and decoding."""

    def __init__(self, backbone, num_classes, anchor_size):
        keras_cv = libraries.keras_cv("RetinaNet", "`FasterRCNN`")
        stride = round(8 / canvas(backbone, "RetinaNet").zoom)
        size = anchor_size or 4 * stride
        detector = keras_cv.models.RetinaNet(
            levels.with_named_levels(backbone),
            num_classes,
            bounding_box_format="xyxy",
            anchor_generator=keras_cv.layers.AnchorGenerator(
                bounding_box_format="xyxy",
                sizes=[size * 2.0**i for i in range(5)],
                aspect_ratios=list(RATIOS),
                scales=list(SCALES),
                strides=[stride * 2**i for i in range(5)],
                clip_boxes=True,
            ),
            feature_pyramid=_feature_pyramid(keras_cv),
            prediction_decoder=keras_cv.layers.NonMaxSuppression(
                bounding_box_format="xyxy",
                from_logits=True,
                iou_threshold=NMS_IOU,
                confidence_threshold=LEAST_SCORE,
                max_detections=MOST_DETECTIONS,
                dtype="float32",
            ),
        )
        detector.compile(box_loss="smoothl1", classification_loss="focal")
        self.detector = detector
        self.pyramid = detector.feature_pyramid
        self.box_head = detector.box_head
        self.classification_head = detector.classification_head

    def loss(self, images, boxes, labels, outputs):
        truth = {"boxes": boxes, "classes": labels}
        return self.detector.compute_loss(images, truth, outputs, None)

    def detections(self, outputs, images):
        found = self.detector.decode_predictions(outputs, images)
        return found["boxes"], found["confidence"], found["classes"]


def _feature_pyramid(keras_cv):
    """Return KerasCV's feature pyramid, with our layers where it has strides.

    Small images have one feature there, which only a few taps of a kernel see:
    Keras's layer would leave the gradients of the others uninitialized.
    """
    pyramid = keras_cv.models.retinanet.FeaturePyramid()
    for name in ("conv_c6_3x3", "conv_c7_3x3"):
        theirs = getattr(pyramid, name)
        # With their initializer no new seed is drawn: weights start as theirs.
        config = {
            **theirs.get_config(),
            "kernel_initializer": theirs.kernel_initializer,
        }
        setattr(pyramid, name, layers.Conv2D.from_config(config))
    return pyramid


# === KerasHub ===


class _KerasHub:
    """KerasHub's layers, anchors and matches, with the paper's loss."""

    def __init__(self, backbone, num_classes, anchor_size):
        keras_hub = libraries.keras_hub("RetinaNet")
        self.canvas = canvas(backbone, "RetinaNet")
        features = 4.0  # A side of the smallest anchor.
        if anchor_size is not None:
            features = anchor_size * self.canvas.zoom / 8
        detector = keras_hub.models.RetinaNetObjectDetector(
            keras_hub.models.RetinaNetBackbone(
                backbone,
                min_level=3,
                max_level=7,
                use_p5=True,  # The backbone's, as in the paper.
                image_shape=backbone.input_shape[1:],
            ),
            num_classes,
            bounding_box_format="xyxy",
            anchor_generator=keras_hub.layers.AnchorGenerator(
                bounding_box_format="xyxy",
                min_level=3,
                max_level=7,
                num_scales=len(SCALES),
                aspect_ratios=list(RATIOS),
                anchor_size=features,
            ),
        )
        self.detector = detector
        self.pyramid = detector.backbone.feature_pyramid
        libraries.with_own_convolutions(self.pyramid)
        self.box_head = detector.box_head
        self.classification_head = detector.classification_head
        prior = -math.log((1 - _PRIOR) / _PRIOR)
        _start(self.box_head, 0.0)
        _start(self.classification_head, prior)

    def loss(self, images, boxes, labels, outputs):
        codes, classes = self.detector.label_encoder(
            images=self.canvas.blank(),
            gt_boxes=boxes * self.canvas.zoom,
            gt_classes=labels,
        )
        return detection_loss(codes, classes, outputs)

    def detections(self, outputs, images):
        anchors = self.detector.anchor_generator(self.canvas.blank())
        boxes = keras.utils.bounding_boxes.decode_deltas_to_boxes(
            ops.concatenate([anchors[key] for key in sorted(anchors)]),
            outputs["box"],
            "xyxy",
            "xyxy",
            encoded_format="center_xywh",
        )
        size = ops.convert_to_tensor([self.canvas.shape], "float32")
        boxes, is_left = box_lib.clip(boxes, size)
        scores = ops.sigmoid(outputs["classification"])
        labels = ops.argmax(scores, axis=-1)
        scores = ops.max(scores, axis=-1)
        # KerasHub's own layer wants to know the size of the batch beforehand.
        kept = suppress(
            boxes,
            ops.where(is_left & (scores > LEAST_SCORE), scores, 0.0),
            NMS_IOU,
            min(MOST_DETECTIONS, boxes.shape[1]),
        )
        index = ops.maximum(kept, 0)
        return (
            ops.take_along_axis(boxes, index[..., None], axis=1)
            / self.canvas.zoom,
            ops.take_along_axis(scores, index, axis=1),
            ops.where(
                kept >= 0,
                ops.cast(ops.take_along_axis(labels, index, axis=1), "int32"),
                PADDING,
            ),
        )


def _start(part, bias):
    """Make the initial weights of a `PredictionHead` those of the paper.

    KerasHub 0.32 draws kernels of five times the deviation, with which four
    layers enlarge features tenfold and more, and gives the prior of classes to
    the boxes.
    """
    for layer in (*part.conv_layers, part.prediction_layer):
        layer.kernel.assign(layer.kernel * (_DEVIATION / _HUB_DEVIATION))
    last = part.prediction_layer.bias
    last.assign(ops.full(last.shape, bias, last.dtype))


def detection_loss(codes, classes, outputs):
    """Return the focal loss of classes plus smooth L1 of boxes.

    Both are sums over all anchors, divided by the number of those that are
    matched to an object, or by 1.

    Args:
        codes: `(B, A, 4)`, the boxes that anchors are matched to.
        classes: `(B, A)`; -1 is background, -2 does not count.
        outputs: `{"box": (B, A, 4), "classification": (B, A, C)}`, codes and
            logits.

    References:
        Lin et al. 2017, https://arxiv.org/abs/1708.02002, section 4.1 and
        equation 5; Girshick 2015, https://arxiv.org/abs/1504.08083, equation 3.
    """
    logits = outputs["classification"]
    is_object = classes >= 0
    counts = ops.cast(classes > box_lib.UNCOUNTED, "float32")
    number = ops.maximum(ops.sum(ops.cast(is_object, "float32")), 1.0)
    # A row of zeros for classes below 0.
    truth = ops.one_hot(ops.cast(classes, "int32"), logits.shape[-1])
    likely = ops.sigmoid(logits)
    wrong = truth * (1 - likely) + (1 - truth) * likely  # 1 - p_t
    balance = truth * _ALPHA + (1 - truth) * (1 - _ALPHA)
    focal = (
        balance
        * wrong**_GAMMA
        * ops.binary_crossentropy(truth, logits, from_logits=True)
    )
    # Without an object codes may be infinite: gradients of what is computed
    # from them would not be finite, even if it counts for nothing.
    distance = ops.abs(
        ops.where(is_object[..., None], outputs["box"] - codes, 0.0)
    )
    smooth = ops.where(distance < 1, 0.5 * distance**2, distance - 0.5)
    return (ops.sum(counts[..., None] * focal) + ops.sum(smooth)) / number


def _check_options(num_classes=None, *, implementation, anchor_size, **_):
    checks.one_of("implementation", implementation, libraries.IMPLEMENTATIONS)
    if anchor_size is not None:
        checks.number("anchor_size", anchor_size, 0, above=True)


HEAD = head.Head(
    build=RetinaNet, task="detection", check_options=_check_options
)
