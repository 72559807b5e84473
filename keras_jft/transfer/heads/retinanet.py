"""`RetinaNet`: KerasCV's one-stage detector on a backbone of ours.

Shapes: B batch, A anchors, N boxes of an image, n detections, C classes.
"""

import itertools
import types
from typing import Any, Self

import keras
from keras import ops

from keras_jft import checks, layers, training
from keras_jft.data.batch import PADDING
from keras_jft.transfer.heads import head, levels
from keras_jft.transfer.heads.faster_rcnn.boxes import (
    at_least_one,
    check_truth,
    with_one_more,
)
from keras_jft.typing import Batch, Tensor

LEVELS = ("P3", "P4", "P5")
SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
RATIOS = (0.5, 1.0, 2.0)


@keras.saving.register_keras_serializable("keras_jft")
class RetinaNet(training.Model):
    """KerasCV's RetinaNet: its pyramid, heads, anchors, losses and decoding.

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
        anchor_size: Side in pixels of the smallest anchor of P3. None: four
            features, which is 32 px after an ImageNet stem.
        name: Name of the model.

    Raises:
        ImportError: If TensorFlow or KerasCV is not installed.
        ValueError: If Keras runs on another backend than TensorFlow, or the
            backbone takes images of any size, or of a size for which P4 is not
            twice as large as P5.

    References:
        Lin et al. 2017, "Focal Loss for Dense Object Detection",
        https://arxiv.org/abs/1708.02002.
    """

    _instead_of_class_weight = "Leave it out"

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        *,
        anchor_size: float | None = None,
        name: str = "retinanet",
        **kwargs: Any,
    ):
        _check_options(anchor_size=anchor_size)

        # === Layers ===
        keras_cv = _keras_cv()
        stride = _stride(backbone)
        size = anchor_size or 4 * stride
        # Under the backbone's dtype policy, also when a file is loaded.
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
        # In a namespace, so that Keras does not track its layers twice.
        self._keras_cv = types.SimpleNamespace(detector=detector)

    def targets(self, batch: Batch) -> Any:
        """Return boxes, labels and, if given, which are ignored."""
        entry = self.entry(batch, "bounding_boxes")
        keys = ("boxes", "labels", "ignored")
        return {key: entry[key] for key in keys if key in entry}

    def check_targets(self, y: Any) -> None:
        """Raise a `ValueError` unless `y` has boxes in pixels, with labels."""
        check_truth(y, self.num_classes)

    def widened(self, y: Any) -> Any:
        """Return targets with one more box of padding per image."""
        return with_one_more(y)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """Return KerasCV's focal loss of classes plus smooth L1 of boxes.

        Args:
            x: Images.
            y: What `targets` returned.
            y_pred: What calling returned.
            sample_weight: None; images cannot be weighed.
            training: Not used.
        """
        if self.loss is not None or sample_weight is not None:
            raise ValueError(
                "KerasCV's detector has its own loss, which weighs no images. "
                f"Received: compile(loss={self.loss!r}) or a `sample_weight`. "
                "Leave them out, or use `FasterRCNN`."
            )
        # KerasCV needs a row of boxes for every image, and has no ignored ones.
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

    def decode(self, outputs: Tensor, images: Tensor) -> Any:
        """Return detections after KerasCV's non-maximum suppression.

        Args:
            outputs: What calling returned.
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

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "anchor_size": self.anchor_size,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a model with these arguments."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _keras_cv():
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`RetinaNet` uses KerasCV, which trains only on TensorFlow. "
            f"Received: the backend {keras.backend.backend()!r}. Use "
            "`FasterRCNN`."
        )
    try:
        import keras_cv
    except ImportError as error:
        raise ImportError(
            "`RetinaNet` uses KerasCV, which needs TensorFlow. Install "
            "keras-cv and tensorflow, or use `FasterRCNN`."
        ) from error
    return keras_cv


def _detector(keras_cv, backbone, num_classes, size, stride):
    return keras_cv.models.RetinaNet(
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
        # KerasCV's default drops all detections that score below 0.5.
        prediction_decoder=keras_cv.layers.NonMaxSuppression(
            bounding_box_format="xyxy",
            from_logits=True,
            confidence_threshold=0.05,
            dtype="float32",
        ),
    )


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


def _stride(backbone):
    """Return the pixels per feature of P3, checked to fit the pyramid."""
    lacking = {*LEVELS} - {*backbone.pyramid_outputs}
    if lacking:
        raise ValueError(
            f"`RetinaNet` needs the levels {[*LEVELS]} of the pyramid. "
            f"Received: {backbone.name!r}, without {sorted(lacking)}. Use a "
            "net whose last stride is 32, or `FasterRCNN`, which needs P4."
        )
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
                "`RetinaNet` adds each level of the pyramid to the next finer "
                "one, which is twice as large: the sides of images must be "
                f"multiples of the stride of P5. Received: images of {size} "
                f"with levels {shapes}. Pad the images, and use "
                "`backbone.rebuild(image_shape=...)`."
            )
    return size[0] // shapes[0][0]


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
    """Return features by level, P3 first, as KerasCV orders its anchors."""
    if isinstance(features, dict):
        return sorted(features.items())
    return [(f"P{i}", feature) for i, feature in enumerate(features, start=3)]


def _check_options(num_classes=None, *, anchor_size, **_):
    if anchor_size is not None:
        checks.number("anchor_size", anchor_size, 0, above=True)


HEAD = head.Head(
    build=RetinaNet, task="detection", check_options=_check_options
)
