"""`RetinaNet`: KerasCV's one-stage detector on a backbone of ours.

Shapes: B batch, A anchors, N boxes of an image, n detections, C classes.
"""

import itertools
import types

import keras
from keras import ops

from keras_jft import checks, layers, training
from keras_jft.data.batch import PADDING
from keras_jft.transfer.heads import head
from keras_jft.transfer.heads.faster_rcnn.boxes import (
    at_least_one,
    check_truth,
)

LEVELS = ("P3", "P4", "P5")
SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
RATIOS = (0.5, 1.0, 2.0)


@keras.saving.register_keras_serializable("keras_jft")
class RetinaNet(training.Model):
    """KerasCV's RetinaNet: its pyramid, heads, anchors, losses and decoding.

    Targets are `bounding_boxes` `(B, N, 4)` in pixels with `labels` `(B, N)`,
    -1 for padding. Calling gives `box` `(B, A, 4)` and `classification` `(B,
    A, C)` of the anchors, in float32. Predicting gives `boxes` `(B, n, 4)`,
    `scores` `(B, n)` and int32 `labels` `(B, n)`, padded with -1, as
    `FasterRCNN` does. Ignored objects are background to it, and images that
    are padded are taken whole.

    Args:
        backbone: A backbone, by the contract of `jft.backbones`, for images of
            a fixed size, whose sides P5 divides: multiples of 32.
        num_classes: Number of classes, background not counted.
        anchor_size: Side in pixels of the smallest anchor of P3; None: four
            features, 32 px after an ImageNet stem.
        name: Name of the model.

    Raises:
        ImportError: TensorFlow or KerasCV is not installed.
        ValueError: Keras runs on another backend than TensorFlow, or the
            backbone is for images of any size, or of such a size that P4 is
            not twice as large as P5.

    References:
        Lin et al. 2017, "Focal Loss for Dense Object Detection",
        https://arxiv.org/abs/1708.02002.
    """

    _instead_of_class_weight = "Leave it out"

    def __init__(
        self,
        backbone,
        num_classes,
        *,
        anchor_size=None,
        name="retinanet",
        **kwargs,
    ):
        _check_options(anchor_size=anchor_size)

        # === Layers ===
        keras_cv = _keras_cv()
        stride = _stride(backbone)
        size = anchor_size or 4 * stride
        # In the backbone's policy, when it is loaded, too.
        with training.dtype_policy(backbone.dtype_policy.name):
            detector = _detector(keras_cv, backbone, num_classes, size, stride)
        detector.compile(box_loss="smoothl1", classification_loss="focal")
        pyramid = detector.feature_pyramid

        # === Functional model ===
        features = pyramid(
            {key: backbone.pyramid_outputs[key] for key in LEVELS}
        )
        super().__init__(
            inputs=backbone.input,
            outputs={
                "box": _of_all(detector.box_head, features, 4, "box"),
                "classification": _of_all(
                    detector.classification_head,
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
        self.anchor_size = anchor_size
        # In a namespace, where Keras does not count its layers again.
        self._keras_cv = types.SimpleNamespace(detector=detector)

    def targets(self, batch):
        """Boxes, labels and, if there, which are ignored."""
        entry = self.entry(batch, "bounding_boxes")
        keys = ("boxes", "labels", "ignored")
        return {key: entry[key] for key in keys if key in entry}

    def check_targets(self, y):
        """Raise a `ValueError` unless `y` has boxes in pixels, with labels."""
        check_truth(y, self.num_classes)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """KerasCV's: focal loss of classes and smooth L1 of boxes.

        Args:
            x: Images.
            y: What `targets` gave.
            y_pred: What calling gave.
            sample_weight: None; there are no weights of images.
            training: Not used.
        """
        if self.loss is not None or sample_weight is not None:
            raise ValueError(
                "KerasCV's detector has its own loss, without weights. "
                f"Received: compile(loss={self.loss!r}) or a `sample_weight`. "
                "Leave them out, or use `FasterRCNN`."
            )
        # It knows no images without a row of boxes, and no ignored ones.
        boxes, labels, ignored = at_least_one(
            y["boxes"], y["labels"], y.get("ignored")
        )
        truth = {
            "boxes": ops.cast(boxes, "float32"),
            "classes": ops.cast(ops.where(ignored, PADDING, labels), "float32"),
        }
        return self._keras_cv.detector.compute_loss(
            ops.cast(x, "float32"), truth, y_pred, None
        )

    def decode(self, outputs, images):
        """Detections after KerasCV's non-maximum suppression.

        Args:
            outputs: What calling gave.
            images: Images `(B, H, W, 3)`.

        Returns:
            `{"boxes", "scores", "labels"}`.
        """
        found = self._keras_cv.detector.decode_predictions(outputs, images)
        labels = ops.cast(found["classes"], "int32")
        height, width = (ops.cast(n, "float32") for n in images.shape[1:3])
        limits = ops.stack([width, height, width, height])
        boxes = ops.clip(found["boxes"], 0.0, limits)
        return {
            "boxes": ops.where(
                labels[..., None] == PADDING, float(PADDING), boxes
            ),
            "scores": ops.where(
                labels == PADDING, float(PADDING), found["confidence"]
            ),
            "labels": labels,
        }

    def get_config(self):
        """The constructor's arguments."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "anchor_size": self.anchor_size,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        """A model of the same arguments."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _keras_cv():
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`RetinaNet` is KerasCV's, which trains on TensorFlow alone. "
            f"Received: the backend {keras.backend.backend()!r}. Use "
            "`FasterRCNN`."
        )
    try:
        import keras_cv
    except ImportError as error:
        raise ImportError(
            "`RetinaNet` is KerasCV's, which needs TensorFlow. Install "
            "keras-cv and tensorflow, or use `FasterRCNN`."
        ) from error
    return keras_cv


def _detector(keras_cv, backbone, num_classes, size, stride):
    return keras_cv.models.RetinaNet(
        backbone,
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
        feature_pyramid=_feature_pyramid(),
        # Its own default drops all that scores below 0.5.
        prediction_decoder=keras_cv.layers.NonMaxSuppression(
            bounding_box_format="xyxy",
            from_logits=True,
            confidence_threshold=0.05,
            dtype="float32",
        ),
    )


def _feature_pyramid():
    """KerasCV's, with layers of ours where it has strides.

    Small images leave one feature there, which few taps of a kernel see.
    """
    from keras_cv.src.models.object_detection.retinanet import feature_pyramid

    pyramid = feature_pyramid.FeaturePyramid()
    for name in ("conv_c6_3x3", "conv_c7_3x3"):
        theirs = getattr(pyramid, name)
        # Their initializer draws no other seed: the model starts as KerasCV's.
        config = {
            **theirs.get_config(),
            "kernel_initializer": theirs.kernel_initializer,
        }
        setattr(pyramid, name, layers.Conv2D.from_config(config))
    return pyramid


def _stride(backbone):
    """Pixels a feature of P3."""
    size = backbone.input_shape[1:3]
    shapes = [backbone.pyramid_outputs[level].shape[1:3] for level in LEVELS]
    if None in size:
        raise ValueError(
            "`RetinaNet` needs a backbone for images of a fixed size. "
            f"Received: image shape {backbone.input_shape[1:]}. Call "
            "`backbone.rebuild(image_shape=(height, width, 3))`."
        )
    for finer, coarser in itertools.pairwise(shapes):
        if finer != tuple(2 * side for side in coarser):
            raise ValueError(
                "`RetinaNet` adds a level of the pyramid to the one below, "
                "twice as large: the sides of images must be multiples of the "
                f"stride of P5. Received: images of {size} with levels "
                f"{shapes}. Pad them, and `backbone.rebuild(image_shape=...)`."
            )
    return size[0] // shapes[0][0]


def _of_all(predict, features, units, name):
    """Predictions of all levels, `(B, A, units)`."""
    flat = [
        keras.layers.Reshape((-1, units), name=f"{name}_{level}")(
            predict(feature)
        )
        for level, feature in _levels(features)
    ]
    return keras.layers.Concatenate(axis=1, dtype="float32", name=name)(flat)


def _levels(features):
    """Features by level, P3 first, as KerasCV orders its anchors."""
    if isinstance(features, dict):
        return sorted(features.items())
    return [(f"P{i}", feature) for i, feature in enumerate(features, start=3)]


def _check_options(num_classes=None, *, anchor_size, **_):
    if anchor_size is not None:
        checks.number("anchor_size", anchor_size, 0, above=True)


HEAD = head.Head(
    build=RetinaNet, task="detection", check_options=_check_options
)
