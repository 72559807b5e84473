"""The mean IoU as a Keras metric: `jft.metrics.Segmentation` in a model.

Shapes: B batch, H W image side, h w logits, C classes.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_jft.data.batch import VOID
from keras_jft.metrics.segmentation import warn_of_one_class
from keras_jft.text import number_of
from keras_jft.transfer.heads.upsampling import upsample
from keras_jft.typing import Tensor

# Counts are a remainder and carried multiples of this, so that int32, the
# widest integer that all backends have, can count the pixels of any data set.
CARRY = 2**20


@keras.saving.register_keras_serializable("keras_jft")
class MeanIoU(keras.metrics.Metric):
    """Mean intersection over union of all pixels seen, streaming and exact.

    It keeps one confusion matrix for all images. Void pixels do not count, and
    classes that occur in no mask and no prediction are left out of the mean.
    Memory does not grow with the number of images. Under a strategy the counts
    of the replicas are added. By contrast, `keras.metrics.MeanIoU` needs
    predictions of the size of the mask and counts in 32 bits, which suffices
    for 8,000 images of 513 x 513.

    `fit` computes it on validation data, not in training steps; `evaluate`
    computes it at the end. Masks are those of the transformed images, whereas
    `jft.evaluation` scores in original pixels.

    Args:
        num_classes: Number of classes C.
        stride: Pixels between two logits.
        name: Name of the metric.

    Example:

    >>> metric = MeanIoU(num_classes=3, stride=1)
    >>> metric.update_state([[[[0], [0], [1], [255]]]],
    ...                     np.eye(3)[[[[0, 1, 1, 2]]]])
    >>> float(metric.result())
    0.5
    """

    result_at_epoch_end = True

    def __init__(self, num_classes: int, stride: float, name: str = "miou"):
        super().__init__(name=name, dtype="float32")
        self.num_classes = num_classes
        self.stride = stride
        square = (num_classes, num_classes)
        self.confusion = self._count(square, "confusion")
        self.carried = self._count(square, "carried")
        self.strays = self._count((), "strays")

    def _count(self, shape, name):
        return self.add_variable(shape, "zeros", dtype="int32", name=name)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None
    ) -> None:
        """Add masks `(B, H, W, 1)` and logits `(B, h, w, C)`."""
        if sample_weight is not None:
            raise ValueError(
                "MeanIoU does not weigh images or pixels. Received a "
                "`sample_weight`: list the metric under `metrics=`, not "
                "`weighted_metrics=`, and mark pixels as void, 255, to leave "
                "them out."
            )
        num = self.num_classes
        masks = ops.cast(ops.convert_to_tensor(y_true)[..., 0], "int32")
        logits = ops.cast(ops.convert_to_tensor(y_pred), "float32")
        logits = upsample(logits, ops.shape(masks)[1:], self.stride)
        classes = ops.cast(ops.argmax(logits, axis=-1), "int32")
        is_stray = (masks != VOID) & ((masks < 0) | (masks >= num))
        is_counted = (masks != VOID) & ~is_stray
        # Pixels that do not count go to one more bin, which is cut off.
        bins = ops.where(is_counted, masks * num + classes, num * num)
        bins = ops.reshape(bins, (-1,))
        counts = ops.segment_sum(
            ops.ones_like(bins), bins, num_segments=num * num + 1
        )
        total = self.confusion + ops.reshape(counts[:-1], (num, num))
        self.carried.assign_add(total // CARRY)
        self.confusion.assign(total % CARRY)
        self.strays.assign_add(ops.sum(ops.cast(is_stray, "int32")))

    def merge(self, states: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Return the state that one device would have, from those of several.

        Args:
            states: One list per device, of arrays in the order of `variables`.

        Returns:
            Arrays in the order of `variables`.
        """
        confusion, carried, strays = (
            np.sum(parts, axis=0, dtype="int64")
            for parts in zip(*states, strict=True)
        )
        carried, confusion = carried + confusion // CARRY, confusion % CARRY
        return [part.astype("int32") for part in (confusion, carried, strays)]

    def result(self) -> Tensor:
        """Return the mean IoU, a scalar; nan if no pixel counts."""
        self._check()
        confusion = ops.cast(self.confusion, "float32")
        confusion += ops.cast(self.carried, "float32") * CARRY
        hits = ops.diagonal(confusion)
        union = ops.sum(confusion, 0) + ops.sum(confusion, 1) - hits
        is_present = ops.cast(union > 0, "float32")
        total = ops.sum(hits / ops.maximum(union, 1.0))
        present = ops.sum(is_present)
        mean = total / ops.maximum(present, 1.0)
        usable = (present > 0) & (self.strays == 0)
        return ops.where(usable, mean, float("nan"))

    def _check(self):
        try:
            strays = int(ops.convert_to_numpy(self.strays))
            counts = ops.convert_to_numpy(self.confusion + self.carried)
        except (NotImplementedError, TypeError):  # Inside a compiled step.
            return
        (present,) = np.nonzero(counts.sum(0) + counts.sum(1))
        if len(present) == 1:
            warn_of_one_class(int(present[0]), self.num_classes)
        if strays:
            are = number_of(strays, "pixel of masks is", "pixels of masks are")
            raise ValueError(
                f"{are} neither 0.."
                f"{self.num_classes - 1} nor void, {VOID}. Give the model as "
                "many classes as the masks need."
            )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "num_classes": self.num_classes,
            "stride": self.stride,
            "name": self.name,
        }
