"""Base of the one-stage detectors: adapters of other libraries.

Shapes: B batch, H W image side, A anchors, N boxes of an image, n detections,
C classes.
"""

import itertools
from typing import Any, NamedTuple

from keras import ops

from keras_jft import training
from keras_jft.data.batch import PADDING
from keras_jft.transfer.heads.faster_rcnn.boxes import (
    at_least_one,
    check_truth,
    with_one_more,
)
from keras_jft.typing import Batch, Tensor

LEVELS = ("P3", "P4", "P5")
MOST_DETECTIONS = 100  # In an image.
LEAST_SCORE = 0.05  # The libraries' own would drop what COCO's metric counts.
_P3_STRIDE = 8  # Pixels per feature of P3 that the libraries count on.


class OneStageDetector(training.Model):
    """A detector whose loss and detections another library computes.

    Targets are `bounding_boxes` with `boxes` `(B, N, 4)` in pixels and `labels`
    `(B, N)`, -1 for padding. Predicting returns `boxes` `(B, n, 4)`, `scores`
    `(B, n)` and int32 `labels` `(B, n)`, padded with -1, as `FasterRCNN` does.

    A subclass sets `num_classes` and defines `loss_of` and `detections`.
    """

    _instead_of_class_weight = "Leave it out"

    def loss_of(
        self, images: Tensor, boxes: Tensor, labels: Tensor, outputs: Any
    ) -> Tensor:
        """Return the loss, a number.

        Args:
            images: Images `(B, H, W, 3)`.
            boxes: `(B, N, 4)`, N at least 1; rows that do not count are -1.
            labels: float32 `(B, N)`; -1 does not count.
            outputs: What calling returned.
        """
        raise NotImplementedError

    def detections(self, outputs: Any, images: Tensor) -> Any:
        """Return boxes, scores and labels; where a label is -1 is none.

        Args:
            outputs: What calling returned.
            images: Images `(B, H, W, 3)`.
        """
        raise NotImplementedError

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
        """Return the detector's own loss.

        Args:
            x: Images.
            y: What `targets` returned.
            y_pred: What calling returned.
            sample_weight: None; images cannot be weighed.
            training: Not used.
        """
        if self.loss is not None or sample_weight is not None:
            raise ValueError(
                f"`{type(self).__name__}` has its own loss, which weighs no "
                f"images. Received: compile(loss={self.loss!r}) or a "
                "`sample_weight`. Leave them out, or use `FasterRCNN`."
            )
        # A row of boxes for every image, none of them ignored.
        boxes, labels, ignored = at_least_one(
            y["boxes"], y["labels"], y.get("ignored")
        )
        labels = ops.where(ignored, PADDING, labels)
        boxes = ops.where(
            labels[..., None] == PADDING,
            float(PADDING),
            ops.cast(boxes, "float32"),
        )
        return self.loss_of(
            ops.cast(x, "float32"), boxes, ops.cast(labels, "float32"), y_pred
        )

    def decode(self, outputs: Tensor, images: Tensor) -> Any:
        """Return detections after non-maximum suppression.

        Args:
            outputs: What calling returned.
            images: Images `(B, H, W, 3)`.

        Returns:
            `{"boxes", "scores", "labels"}`.
        """
        boxes, scores, labels = self.detections(outputs, images)
        labels = ops.cast(labels, "int32")
        height, width = (ops.cast(n, "float32") for n in images.shape[1:3])
        limits = ops.stack([width, height, width, height])
        is_none, none = labels == PADDING, float(PADDING)
        return {
            "boxes": ops.where(
                is_none[..., None], none, ops.clip(boxes, 0.0, limits)
            ),
            "scores": ops.where(is_none, none, scores),
            "labels": labels,
        }


class Canvas(NamedTuple):
    """Images enlarged so that features of P3 are 8 pixels apart.

    The libraries take that stride for granted. Their anchors, matches and
    losses are the same at any scale, so boxes are enlarged and back.

    Attributes:
        zoom: Its pixels per pixel of the images.
        shape: Its `(height, width)`.
    """

    zoom: float
    shape: tuple[int, int]

    def blank(self) -> Tensor:
        """Return an image of these sides, `(1, height, width, 1)`."""
        return ops.zeros((1, *self.shape, 1))


def canvas(backbone, head):
    """Return the `Canvas` of a backbone's images.

    Args:
        backbone: A backbone.
        head: Name of the class that asks, for messages.

    Raises:
        ValueError: If the backbone lacks a level, takes images of any size, or
            of a size for which a level is not twice as large as the next.
    """
    lacking = {*LEVELS} - {*backbone.pyramid_outputs}
    if lacking:
        raise ValueError(
            f"`{head}` needs the levels {[*LEVELS]} of the pyramid. "
            f"Received: {backbone.name!r}, without {sorted(lacking)}. Use a "
            "net whose last stride is 32, or `FasterRCNN`, which needs P4."
        )
    size = backbone.input_shape[1:3]
    shapes = [backbone.pyramid_outputs[level].shape[1:3] for level in LEVELS]
    if None in size:
        raise ValueError(
            f"`{head}` needs a backbone for images of a fixed size. "
            f"Received: image shape {backbone.input_shape[1:]}. Call "
            "`backbone.rebuild(image_shape=(height, width, 3))`."
        )
    for finer, coarser in itertools.pairwise(shapes):
        if finer != tuple(2 * side for side in coarser):
            raise ValueError(
                f"`{head}` adds each level of the pyramid to the next finer "
                "one, which is twice as large: the sides of images must be "
                f"multiples of the stride of P5. Received: images of {size} "
                f"with levels {shapes}. Pad the images, and use "
                "`backbone.rebuild(image_shape=...)`."
            )
    finest = shapes[0]
    return Canvas(
        _P3_STRIDE * finest[0] / size[0],
        (_P3_STRIDE * finest[0], _P3_STRIDE * finest[1]),
    )
