"""Base of the segmentation heads: masks as targets and as predictions.

Shapes: B batch, H W image side, h w logits, C classes.
"""

import warnings
from typing import Any

import numpy as np
from keras import ops

from keras_jft import checks, training
from keras_jft.data.batch import VOID
from keras_jft.transfer.heads.mean_iou import MeanIoU
from keras_jft.transfer.heads.upsampling import upsample
from keras_jft.typing import Batch, Tensor


class Segmenter(training.Model):
    """A model from images to logits `(B, h, w, C)` that predicts masks.

    A subclass sets `num_classes` and defines `logits_stride`.
    """

    _instead_of_class_weight = "Weigh classes in a loss of your own"

    @property
    def logits_stride(self) -> float:
        """Return the pixels between two logits; the first is at (0, 0)."""
        raise NotImplementedError

    def targets(self, batch: Batch) -> Any:
        """Return masks `(B, H, W, 1)`; 255 is void."""
        return self.entry(batch, "segmentation_masks")

    def check_targets(self, y: Any) -> None:
        """Raise a `ValueError` unless `y` holds masks of class ids."""
        shape = tuple(y.shape)
        if len(shape) != 4 or shape[-1] not in (1, None):
            raise ValueError(
                "Masks must be class ids, (batch, height, width, 1). Received: "
                f"shape {shape}. Add the last axis; for one-hot masks, take "
                "`argmax(axis=-1)` first."
            )
        if isinstance(y, np.ndarray) and y.size:
            if y.dtype.kind not in "iub" and not (
                y.dtype.kind == "f" and np.all(y == np.floor(y))
            ):
                raise ValueError(
                    "Masks must hold whole class ids. Received: dtype "
                    f"{y.dtype}, with values that are not whole numbers. Find "
                    "what divided or interpolated them, or round them to ids."
                )
            self._check_ids(y)

    def _check_ids(self, masks):
        known = masks[masks != VOID]
        if known.size and (known.min() < 0 or known.max() >= self.num_classes):
            raise ValueError(
                f"Masks must hold class ids in 0..{self.num_classes - 1}, or "
                f"255 for void. Received values in {known.min()}.."
                f"{known.max()}. Build the model with as many `num_classes` as "
                "there are."
            )
        if not known.size:
            warnings.warn(
                "Every pixel of the masks is 255, which is void and counts in "
                "no loss: nothing is learned. Give objects ids from 1.",
                stacklevel=3,
            )
        # With more classes, a batch may well show only the background.
        elif (
            self.num_classes == 2 and not known.any() and (masks == VOID).any()
        ):
            warnings.warn(
                "The masks hold 0 and 255, and no pixel of class 1. 255 is "
                "void, so that only the background is learned. If 255 marks "
                "objects, give `masks // 255`.",
                stacklevel=3,
            )

    def default_metrics(self) -> list[Any] | None:
        """Return the mean IoU over pixels, which only `evaluate` computes."""
        return [MeanIoU(self.num_classes, self.logits_stride)]

    def decode(self, outputs: Tensor, images: Tensor) -> Any:
        """Return the class of the largest upsampled logit at each pixel."""
        size = ops.shape(images)[1:3]
        logits = upsample(outputs, size, self.logits_stride)
        return ops.cast(ops.argmax(logits, axis=-1), "int32")


def check_num_classes(num_classes):
    """Raise unless masks can tell `num_classes` classes, and void, apart."""
    if num_classes is not None and not 2 <= num_classes <= VOID:
        raise ValueError(
            f"`num_classes` must be in 2..{VOID}: the background is a class "
            "too (the softmax of one class learns nothing), and in masks, "
            f"which are uint8, {VOID} is void. Received: "
            f"num_classes={num_classes}."
        )


def check_rates(rates):
    """Raise unless `rates` are dilation rates, each given once."""
    checks.numbers_of("rates", rates, 1, whole=True)
    if len({*rates}) < len(rates):
        raise ValueError(
            "`rates` must be dilation rates, one or more, each once. "
            f"Received: rates={rates}."
        )
