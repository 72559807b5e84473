"""`DeepLabV3Plus`: the decoder of KerasCV or KerasHub on our backbones."""

from collections.abc import Sequence
from typing import Any, Self

import keras
from keras import ops

from keras_jft import checks
from keras_jft.data.batch import VOID
from keras_jft.training import dtype_policy
from keras_jft.transfer.heads import head, levels, libraries
from keras_jft.transfer.heads.mask_losses import UpsampledCrossentropy
from keras_jft.transfer.heads.segmenter import (
    Segmenter,
    check_num_classes,
    check_rates,
)
from keras_jft.typing import Tensor

# How far the decoder upsamples: features of P2 per feature of P5.
ENLARGED = 8


@keras.saving.register_keras_serializable("keras_jft")
class DeepLabV3Plus(Segmenter):
    """DeepLabV3+ by KerasCV or KerasHub, with the contract of our heads.

    The spatial pyramid pooling of P5 is enlarged eight times and decoded with
    P2. The graph is the library's up to its end: here the loss applies the
    softmax, and logits are upsampled after the last 1x1 convolution instead of
    before, which is the same as it has no bias.

    Targets are `segmentation_masks` `(B, H, W, 1)`; 255 is void. The loss is
    the softmax cross entropy at each pixel that is not void. Calling returns
    logits `(B, h, w, C)` in float32 at the stride of P2; predicting returns
    int32 masks `(B, H, W)`.

    Args:
        backbone: A backbone that keeps the contract of `jft.backbones`, for
            images of a fixed size whose sides are multiples of P5's stride
            (32). One that is dilated is rebuilt, with the same weights. It
            needs the levels P2 and P5.
        num_classes: Number of classes, background included.
        implementation: `"keras_cv"`, or `"keras_hub"`
            (`pip install keras_jft[hub]`), which needs no TensorFlow.
        rates: Dilation rates of the pyramid's branches.
        projection_filters: Channels of P2 in the decoder.
        name: Name of the model.

    Raises:
        ImportError: If the library is not installed, or TensorFlow, which
            KerasCV needs on every backend.
        ValueError: If the sides of the images do not fit, the backbone has no
            P2 or no P5, or there are more classes than masks can hold.

    References:
        Chen et al. 2018, https://arxiv.org/abs/1802.02611, Figure 2.
    """

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        *,
        implementation: str = libraries.IMPLEMENTATIONS[0],
        rates: Sequence[int] = (6, 12, 18),
        projection_filters: int = 48,
        name: str = "deeplab_v3_plus",
        **kwargs: Any,
    ):
        _check_options(
            num_classes,
            implementation=implementation,
            rates=rates,
            projection_filters=projection_filters,
        )
        backbone = _undilated(backbone)
        network = {"keras_cv": _of_keras_cv, "keras_hub": _of_keras_hub}

        # === Layers ===
        # Under the backbone's dtype policy, also when a file is loaded.
        with dtype_policy(backbone.dtype_policy.name):
            model = network[implementation](
                backbone, num_classes, rates, projection_filters
            )
        super().__init__(
            inputs=model.input, outputs=model.output, name=name, **kwargs
        )

        # === Config ===
        self.backbone = backbone
        self.num_classes = num_classes
        self.implementation = implementation
        self.rates = tuple(rates)
        self.projection_filters = projection_filters

    @property
    def logits_stride(self) -> float:
        """Return the pixels between logits; the first is at pixel (0, 0)."""
        return self.backbone.strides["P2"]

    def default_loss(self) -> Any:
        """Return `UpsampledCrossentropy` at the stride of P2."""
        return UpsampledCrossentropy(self.logits_stride)

    def loss_count(self, x: Any, y: Any) -> Tensor:
        """Return how many pixels count in the loss."""
        return ops.sum(ops.cast(y != VOID, "int32"))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "implementation": self.implementation,
            "rates": list(self.rates),
            "projection_filters": self.projection_filters,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a model with these arguments."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _of_keras_cv(backbone, num_classes, rates, projection_filters):
    keras_cv = libraries.keras_cv(
        "DeepLabV3Plus",
        "`DeepLabASPP`, which needs neither",
        needs_tensorflow=False,
    )
    pyramid = keras_cv.layers.SpatialPyramidPooling(
        dilation_rates=list(rates), name="aspp"
    )
    decoder = keras.Sequential(
        [
            keras.layers.Conv2D(256, 1, use_bias=False, name="head_conv"),
            keras.layers.BatchNormalization(name="head_bn"),
            keras.layers.ReLU(name="head_relu"),
            _last_convolution(num_classes),
        ],
        name="head",
    )
    return keras_cv.models.DeepLabV3Plus(
        levels.with_named_levels(backbone),
        num_classes,
        projection_filters=projection_filters,
        spatial_pyramid_pooling=pyramid,
        segmentation_head=decoder,
    )


def _of_keras_hub(backbone, num_classes, rates, projection_filters):
    keras_hub = libraries.keras_hub("DeepLabV3Plus")
    outputs = {key: backbone.pyramid_outputs[key] for key in ("P2", "P5")}
    # It would keep all levels in its graph; those of tokens have weights.
    encoder = keras.Model(backbone.inputs, outputs, name="encoder")
    encoder.pyramid_outputs = outputs
    network = keras_hub.models.DeepLabV3Backbone(
        encoder,
        spatial_pyramid_pooling_key="P5",
        low_level_feature_key="P2",
        upsampling_size=ENLARGED,
        dilation_rates=list(rates),
        projection_filters=projection_filters,
        image_shape=backbone.input_shape[1:],
    )
    # What its upsampling to the size of the images comes after.
    features = network.get_layer("segmentation_head_relu").output
    return keras.Model(network.input, _last_convolution(num_classes)(features))


def _last_convolution(num_classes):
    return keras.layers.Conv2D(
        num_classes, 1, use_bias=False, dtype="float32", name="head_logits"
    )


def _undilated(backbone):
    """Return the backbone with its P2 eight times as large as its P5."""
    lacking = {"P2", "P5"} - {*getattr(backbone, "pyramid_outputs", ())}
    if lacking:
        raise ValueError(
            "`DeepLabV3Plus` decodes the level 'P5' with 'P2' of "
            f"`backbone.pyramid_outputs`. Received: {backbone!r}, without "
            f"{sorted(lacking)}. Use a backbone of `jft.backbones` that has "
            "both, or `DeepLabASPP`, which needs neither."
        )
    if getattr(backbone, "dilatable", True):
        stride = ENLARGED * backbone.strides["P2"]
        backbone = levels.rebuilt(backbone, output_stride=stride)
    size, finest, coarsest = (
        tensor.shape[1:3]
        for tensor in (
            backbone.input,
            backbone.pyramid_outputs["P2"],
            backbone.pyramid_outputs["P5"],
        )
    )
    if None in size or finest != tuple(ENLARGED * n for n in coarsest):
        raise ValueError(
            "`DeepLabV3Plus` needs images of a fixed size, with sides that are "
            "multiples of the stride of P5 (32, or 8 with a small stem): its "
            "decoder enlarges P5 to the size of P2. Received a backbone for "
            f"images of {size}, with a P2 of {finest} and a P5 of {coarsest}. "
            "Use `backbone.rebuild(image_shape=...)`, with 512 for 513, and "
            "resize or pad images to it."
        )
    return backbone


def _check_options(
    num_classes, *, implementation, rates, projection_filters, **_
):
    checks.one_of("implementation", implementation, libraries.IMPLEMENTATIONS)
    check_num_classes(num_classes)
    check_rates(rates)
    checks.number("projection_filters", projection_filters, 1, whole=True)


HEAD = head.Head(
    build=DeepLabV3Plus, task="segmentation", check_options=_check_options
)
