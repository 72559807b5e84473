"""`DeepLabASPP`: DeepLab's ASPP-L on a dilated backbone."""

from collections.abc import Sequence
from typing import Any, Self

import keras
from keras import ops

from keras_jft import checks, layers
from keras_jft.data.batch import VOID
from keras_jft.layers import Conv2D
from keras_jft.transfer.heads import head, levels
from keras_jft.transfer.heads.mask_losses import SubsampledCrossentropy
from keras_jft.transfer.heads.segmenter import (
    Segmenter,
    check_num_classes,
    check_rates,
)
from keras_jft.transfer.heads.upsampling import Resample
from keras_jft.typing import Tensor


@keras.saving.register_keras_serializable("keras_jft")
class DeepLabASPP(Segmenter):
    """The sum of 3x3 convolutions of growing rate on the last feature map.

    A backbone that can be dilated, such as `jft.ResNet`, is. Any other keeps
    its own stride: the rates become smaller by as much as its features are
    coarser, so that branches see as much of the image (but at least 1), and
    logits are upsampled to `output_stride`, bilinearly, before the loss.

    Targets are `segmentation_masks` `(B, H, W, 1)`; 255 is void. The loss is
    the softmax cross entropy against the mask's pixel at each feature, averaged
    over all features whose pixel is not void. Calling returns logits
    `(B, h, w, C)` in float32; predicting returns int32 masks `(B, H, W)`.

    Args:
        backbone: A backbone that keeps the contract of `jft.backbones`. One
            with another output stride is rebuilt, with the same weights,
            if it can be dilated.
        num_classes: Number of classes, background included.
        output_stride: Pixels between two logits.
        rates: Dilation rates of the branches, in features at `output_stride`.
        bn_mode: What the backbone's batch normalization does in training, see
            `FusedBatchNormalization`. `"affine"` keeps the moving statistics,
            as public DeepLabs do because of their small batches (the recipe
            `"voc2012"` sets it). Do not use it with random weights, whose
            moving statistics mean nothing.
        name: Name of the model.

    Raises:
        ValueError: If there are more classes than masks can hold, a rate
            occurs twice, or the backbone cannot be rebuilt.

    References:
        Chen et al. 2017, "DeepLab", https://arxiv.org/abs/1606.00915, section
        3.2, Table 3 (ASPP-L: rates 6, 12, 18, 24). Sun et al. 2017 print
        {6, 12, 8, 24}, taken for a misprint.
    """

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        *,
        output_stride: int = 8,
        rates: Sequence[int] = (6, 12, 18, 24),
        bn_mode: str = "batch",
        name: str = "deeplab_aspp",
        **kwargs: Any,
    ):
        _check_options(
            num_classes,
            output_stride=output_stride,
            rates=rates,
            bn_mode=bn_mode,
        )
        backbone = levels.at_stride(backbone, output_stride, bn_mode=bn_mode)
        stride = backbone.output_stride

        # === Layers ===
        branches = [
            Conv2D(
                num_classes,
                3,
                dilation_rate=max(round(rate * output_stride / stride), 1),
                padding="same",
                kernel_initializer="glorot_uniform",
                dtype=backbone.dtype_policy,
                name=f"aspp_{rate}",
            )
            for rate in rates
        ]
        total = keras.layers.Add(dtype="float32", name="aspp_logits")

        # === Functional model ===
        logits = total([branch(backbone.output) for branch in branches])
        if stride != output_stride:
            logits = Resample(
                stride, output_stride, dtype="float32", name="logits_upsampling"
            )(logits, backbone.input)
        super().__init__(
            inputs=backbone.input,
            outputs=logits,
            name=name,
            **kwargs,
        )

        # === Config ===
        self.backbone = backbone
        self.num_classes = num_classes
        self.output_stride = output_stride
        self.rates = tuple(rates)
        self.bn_mode = bn_mode

    @property
    def logits_stride(self) -> int:
        """Return the pixels between logits; the first is at pixel (0, 0)."""
        return self.output_stride

    def default_loss(self) -> Any:
        """Return `SubsampledCrossentropy` at the output stride."""
        return SubsampledCrossentropy(self.output_stride)

    def loss_count(self, x: Any, y: Any) -> Tensor:
        """Return how many features count in the loss."""
        masks = y[:, :: self.output_stride, :: self.output_stride]
        return ops.sum(ops.cast(masks != VOID, "int32"))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "output_stride": self.output_stride,
            "rates": list(self.rates),
            "bn_mode": self.bn_mode,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a model with these arguments."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _check_options(num_classes, *, output_stride, rates, bn_mode, **_):
    check_num_classes(num_classes)
    check_rates(rates)
    checks.one_of("output_stride", output_stride, head.OUTPUT_STRIDES)
    checks.one_of("bn_mode", bn_mode, layers.BATCH_NORMALIZATION_MODES)


HEAD = head.Head(
    build=DeepLabASPP, task="segmentation", check_options=_check_options
)
