"""`YOLOV8`: KerasCV's anchor-free detector on a backbone of ours.

Shapes: B batch, A places, N boxes of an image, n detections, C classes.
"""

import types
from typing import Any, Self

import keras
from keras import ops

from keras_jft import checks, training
from keras_jft.transfer.heads import head, levels, libraries
from keras_jft.transfer.heads.one_stage import (
    LEAST_SCORE,
    MOST_DETECTIONS,
    OneStageDetector,
    canvas,
)
from keras_jft.typing import Tensor

NMS_IOU = 0.7


@keras.saving.register_keras_serializable("keras_jft")
class YOLOV8(OneStageDetector):
    """KerasCV's `YOLOV8Detector`: its pyramid, heads, losses and decoding.

    It has no anchors: each place on P3, P4 and P5 predicts a box around itself.

    Targets are `bounding_boxes` with `boxes` `(B, N, 4)` in pixels and `labels`
    `(B, N)`, -1 for padding. Calling returns `boxes` `(B, A, 64)` and `classes`
    `(B, A, C)`, in float32: logits of 16 distances, in strides, to each side of
    a box, and probabilities. Predicting returns `boxes` `(B, n, 4)`, `scores`
    `(B, n)` and int32 `labels` `(B, n)`, padded with -1, as `FasterRCNN` does.
    It treats ignored objects as background, and the padding of images as part
    of them.

    Args:
        backbone: A backbone that keeps the contract of `jft.backbones`, for
            images of a fixed size whose sides are multiples of P5's stride
            (32). It needs the levels P3, P4 and P5.
        num_classes: Number of classes, background not counted.
        depth: Layers in each block of the pyramid.
        name: Name of the model.

    Raises:
        ImportError: If TensorFlow or KerasCV is not installed.
        ValueError: If Keras runs on another backend than TensorFlow, or the
            backbone takes images of any size, or of a size for which P4 is not
            twice as large as P5.

    References:
        Jocher et al. 2023, https://github.com/ultralytics/ultralytics; Feng et
        al. 2021, https://arxiv.org/abs/2108.07755 (which places an object
        belongs to); Li et al. 2020, https://arxiv.org/abs/2006.04388
        (distances).
    """

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        *,
        depth: int = 2,
        name: str = "yolo_v8",
        **kwargs: Any,
    ):
        _check_options(depth=depth)
        keras_cv = libraries.keras_cv("YOLOV8", "`FasterRCNN`")
        sides = canvas(backbone, "YOLOV8")

        # === Layers ===
        # Under the backbone's dtype policy, also when a file is loaded.
        with training.dtype_policy(backbone.dtype_policy.name):
            detector = keras_cv.models.YOLOV8Detector(
                levels.with_named_levels(backbone),
                num_classes,
                bounding_box_format="xyxy",
                fpn_depth=depth,
                prediction_decoder=keras_cv.layers.NonMaxSuppression(
                    bounding_box_format="xyxy",
                    from_logits=False,
                    iou_threshold=NMS_IOU,
                    confidence_threshold=LEAST_SCORE,
                    max_detections=MOST_DETECTIONS,
                    dtype="float32",
                ),
            )
        libraries.with_own_convolutions(detector)
        detector.compile(
            box_loss="ciou", classification_loss="binary_crossentropy"
        )

        # === Functional model ===
        super().__init__(
            inputs=detector.input, outputs=detector.output, name=name, **kwargs
        )

        # === Config ===
        self.backbone = backbone
        self.num_classes = num_classes
        self.depth = depth
        # In a namespace, so that Keras does not track its layers twice.
        self._keras_cv = types.SimpleNamespace(detector=detector, canvas=sides)

    def loss_of(
        self, images: Tensor, boxes: Tensor, labels: Tensor, outputs: Any
    ) -> Tensor:
        """Return KerasCV's complete IoU of boxes plus cross entropy of classes.

        Args:
            images: Images `(B, H, W, 3)`.
            boxes: `(B, N, 4)`; rows that do not count are -1.
            labels: float32 `(B, N)`; -1 does not count.
            outputs: What calling returned.
        """
        sides = self._keras_cv.canvas
        # Real ones may not seem padded, as those that leave the image would.
        truth = {
            "boxes": ops.where(
                labels[..., None] < 0,
                boxes,
                ops.maximum(boxes, 0.0) * sides.zoom,
            ),
            "classes": labels,
        }
        return self._keras_cv.detector.compute_loss(
            sides.blank(), truth, outputs, None
        )

    def detections(self, outputs: Any, images: Tensor) -> Any:
        """Return boxes, scores and labels; padding has the label -1.

        Args:
            outputs: What calling returned.
            images: Images `(B, H, W, 3)`.
        """
        sides = self._keras_cv.canvas
        found = self._keras_cv.detector.decode_predictions(
            outputs, sides.blank()
        )
        boxes = found["boxes"] / sides.zoom
        return boxes, found["confidence"], found["classes"]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "depth": self.depth,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a model with these arguments."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _check_options(num_classes=None, *, depth, **_):
    checks.number("depth", depth, 1, whole=True)


HEAD = head.Head(build=YOLOV8, task="detection", check_options=_check_options)
