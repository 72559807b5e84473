"""Intersection over union of segmentation masks.

Computed from one confusion matrix over all pixels of all images, as VOC 2012
does; it is not a mean over images.

Shapes: B images of a batch, N images, H W image side, C classes.

References:
    Everingham et al. 2015, "The Pascal Visual Object Classes Challenge: A
    Retrospective", section 3.2 (segmentation accuracy).
"""

import warnings
from typing import Any

import numpy as np

from keras_jft.metrics.metric import Metric
from keras_jft.text import number_of
from keras_jft.typing import Arrays


def evaluate_segmentation(
    masks: Arrays, predictions: Arrays, num_classes: int, void: int = 255
) -> dict[str, Any]:
    """Return IoU scores: `{"miou", "pixel_accuracy", "counted", ...}`.

    Args:
        masks: `(N, H, W)` or `(N, H, W, 1)` integers, the true class of each
            pixel; or a list of N arrays, one per image, of any sizes.
        predictions: The predicted class of each pixel, in the same form.
        num_classes: Number of classes C.
        void: The mask value of pixels that do not count.

    Returns:
        `miou`, the mean IoU over the classes that occur in a mask or in a
        prediction; `counted`, the number of those classes; `pixel_accuracy`;
        `per_class`, `(C,)` IoUs, nan for classes that do not occur;
        `confusion`, `(C, C)` pixels by true (row) and predicted (column) class.
        Fractions are nan if no pixel counts.

    Raises:
        ValueError: If sizes differ or a value is out of range.

    Example:
        >>> result = evaluate_segmentation(
        ...     masks=[[[0, 0, 1, 255]]],
        ...     predictions=[[[0, 1, 1, 0]]],
        ...     num_classes=3,
        ... )
        >>> result["miou"], result["counted"], result["per_class"].tolist()
        (0.5, 2, [0.5, 0.5, nan])
    """
    if len(masks) != len(predictions):
        raise ValueError(
            "Expected one prediction per mask. Received: "
            f"{number_of(len(masks), 'mask')}, "
            f"{number_of(len(predictions), 'prediction')}."
        )
    metric = Segmentation(num_classes, void=void)
    return metric.evaluate([(list(masks), predictions)])


class Segmentation(Metric):
    """Streaming confusion matrix of pixels, and the IoU computed from it.

    Args:
        num_classes: Number of classes C.
        void: The mask value of pixels that do not count.
    """

    score = "miou"
    title = "Mean IoU"

    def __init__(self, num_classes: int, void: int = 255):
        if num_classes < 1 or 0 <= void < num_classes:
            raise ValueError(
                "`num_classes` must be above 0, and `void` not a class id. "
                f"Received: num_classes={num_classes}, void={void}"
            )
        self.num_classes = num_classes
        self.void = void
        self._confusion = np.zeros((num_classes, num_classes), np.int64)

    def update(self, truth: Any, predictions: Any) -> None:
        """Add masks and predictions.

        Args:
            truth: `(B, H, W)` or `(B, H, W, 1)`, or a list of B masks of any
                sizes.
            predictions: In the same form.
        """
        if isinstance(truth, list):
            for mask, prediction in zip(truth, predictions, strict=True):
                self.update(
                    np.asarray(mask)[None], np.asarray(prediction)[None]
                )
            return
        masks = _pixels(truth, "masks")
        predictions = _pixels(predictions, "predictions")
        if masks.shape != predictions.shape:
            raise ValueError(
                "A prediction must have the size of its mask: resize the "
                "logits to the mask, not the mask to the logits. Received: "
                f"masks {masks.shape}, predictions {predictions.shape}."
            )
        counted = masks != self.void
        masks = self._in_range(masks[counted], "Mask")
        predictions = self._in_range(predictions[counted], "Prediction")
        self._confusion += np.bincount(
            masks * self.num_classes + predictions,
            minlength=self.num_classes**2,
        ).reshape(self._confusion.shape)

    def result(self) -> dict[str, Any]:
        """Return the numbers that `evaluate_segmentation` returns."""
        hits = np.diag(self._confusion)
        union = self._confusion.sum(0) + self._confusion.sum(1) - hits
        present = union > 0
        per_class = np.full(self.num_classes, np.nan)
        np.divide(hits, union, out=per_class, where=present)
        pixels = self._confusion.sum()
        if present.sum() == 1:
            warn_of_one_class(int(np.argmax(present)), self.num_classes)
        return {
            "miou": float(per_class[present].mean()) if pixels else np.nan,
            "pixel_accuracy": float(hits.sum() / pixels) if pixels else np.nan,
            "counted": int(present.sum()),
            "per_class": per_class,
            "confusion": self._confusion.copy(),
        }

    def _in_range(self, values, what):
        """Return `values` as int64, checked to be class ids."""
        low, high = (values.min(), values.max()) if values.size else (0, 0)
        if low < 0 or high >= self.num_classes:
            raise ValueError(
                f"{what} values must be classes 0..{self.num_classes - 1}"
                f" (or void, {self.void}, in a mask). Received: values from "
                f"{low} to {high} where the mask is not void."
            )
        return values.astype(np.int64)


def warn_of_one_class(label, num_classes):
    """Warn that only one of several classes occurs, so that the mean is its.

    Args:
        label: The class.
        num_classes: Number of classes C.
    """
    if num_classes > 1:
        warnings.warn(
            f"The mean IoU is that of one class: of {num_classes}, only class "
            f"{label} occurs in a mask or in a prediction. Check that the "
            "masks hold the other classes: 255 is void.",
            stacklevel=3,
        )


def _pixels(values, what):
    """Return `values` as an integer array `(B, H, W)`."""
    values = np.asarray(values)
    if values.ndim == 4 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3 or values.dtype.kind not in "iu":
        raise ValueError(
            f"`{what}` must be integer class indices (B, H, W) or (B, H, W, "
            "1): decode the palette of an RGB mask, take the argmax of logits. "
            f"Received: shape {values.shape}, dtype {values.dtype}."
        )
    return values
