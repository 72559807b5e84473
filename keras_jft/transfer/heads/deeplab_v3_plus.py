"""`DeepLabV3Plus`: KerasCV's decoder on a backbone of ours, an adapter."""

import keras
from keras import ops

from keras_jft import checks
from keras_jft.data.batch import VOID
from keras_jft.training import dtype_policy
from keras_jft.transfer.heads import head
from keras_jft.transfer.heads.mask_losses import UpsampledCrossentropy
from keras_jft.transfer.heads.segmenter import (
    Segmenter,
    check_num_classes,
    check_rates,
    rebuilt,
)

# Features of P2 on a feature of P5: how far KerasCV's decoder upsamples.
ENLARGED = 8


@keras.saving.register_keras_serializable("keras_jft")
class DeepLabV3Plus(Segmenter):
    """KerasCV's DeepLabV3+ with the targets and the contract of our heads.

    Pooled pyramid of P5, enlarged eight times and decoded with P2. KerasCV's
    graph, but for its end: the softmax is in the loss, and the logits come
    before they are enlarged, which a 1x1 convolution without bias allows.

    Targets are `segmentation_masks` `(B, H, W, 1)`, 255 is void. The loss is
    the softmax cross entropy at each pixel, void left out. Calling gives logits
    `(B, h, w, C)` in float32 at the stride of P2; predicting gives int32 masks
    `(B, H, W)`.

    Args:
        backbone: A backbone, by the contract of `jft.backbones`, for images of
            a size: sides that P5 divides (multiples of 32). One that is
            dilated is rebuilt with its weights.
        num_classes: Number of classes, background included.
        rates: Dilation rates of the pyramid's branches.
        projection_filters: Channels of P2 in the decoder.
        name: Name of the model.

    Raises:
        ImportError: KerasCV or TensorFlow, which it needs on every backend, is
            not installed.
        ValueError: The images have sides that do not fit, the backbone has no
            P2, or there are more classes than masks can hold.

    References:
        Chen et al. 2018, https://arxiv.org/abs/1802.02611, Figure 2.
    """

    def __init__(
        self,
        backbone,
        num_classes,
        *,
        rates=(6, 12, 18),
        projection_filters=48,
        name="deeplab_v3_plus",
        **kwargs,
    ):
        _check_options(
            num_classes, rates=rates, projection_filters=projection_filters
        )
        keras_cv = _keras_cv()
        backbone = rebuilt(backbone, output_stride=_undilated(backbone))

        # === Layers ===
        # In the backbone's policy, when it is loaded, too.
        with dtype_policy(backbone.dtype_policy.name):
            model = _network(
                keras_cv, backbone, num_classes, rates, projection_filters
            )
        super().__init__(
            inputs=model.input, outputs=model.output, name=name, **kwargs
        )

        # === Config ===
        self.backbone = backbone
        self.num_classes = num_classes
        self.rates = tuple(rates)
        self.projection_filters = projection_filters

    @property
    def logits_stride(self):
        """Pixels between two logits; the first is that of pixel (0, 0)."""
        return self.backbone.output_stride // ENLARGED

    def default_loss(self):
        """`UpsampledCrossentropy` at the stride of P2."""
        return UpsampledCrossentropy(self.logits_stride)

    def loss_count(self, x, y):
        """How many pixels count."""
        return ops.sum(ops.cast(y != VOID, "int32"))

    def get_config(self):
        """The constructor's arguments."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "rates": list(self.rates),
            "projection_filters": self.projection_filters,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        """A model of the same arguments."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _network(keras_cv, backbone, num_classes, rates, projection_filters):
    pyramid = keras_cv.layers.SpatialPyramidPooling(
        dilation_rates=list(rates), name="aspp"
    )
    decoder = keras.Sequential(
        [
            keras.layers.Conv2D(256, 1, use_bias=False, name="head_conv"),
            keras.layers.BatchNormalization(name="head_bn"),
            keras.layers.ReLU(name="head_relu"),
            keras.layers.Conv2D(
                num_classes,
                1,
                use_bias=False,
                dtype="float32",
                name="head_logits",
            ),
        ],
        name="head",
    )
    return keras_cv.models.DeepLabV3Plus(
        backbone,
        num_classes,
        projection_filters=projection_filters,
        spatial_pyramid_pooling=pyramid,
        segmentation_head=decoder,
    )


def _keras_cv():
    try:
        import keras_cv
    except ImportError as error:
        raise ImportError(
            "`DeepLabV3Plus` is KerasCV's, which needs TensorFlow, whatever "
            "the backend. Install keras-cv and tensorflow, or take "
            "`DeepLabASPP`, which needs neither."
        ) from error
    return keras_cv


def _undilated(backbone):
    """The output stride at which P5 is an eighth of P2, for sides that fit."""
    if "P2" not in getattr(backbone, "pyramid_outputs", {}):
        raise ValueError(
            "`DeepLabV3Plus` decodes with the level 'P2' of "
            "`backbone.pyramid_outputs`. Received a backbone without it: "
            f"{backbone!r}. Use one of `jft.backbones`."
        )
    sizes = [
        tensor.shape[1:3]
        for tensor in (backbone.input, backbone.pyramid_outputs["P2"])
    ]
    height, width = sizes[0]
    if height is not None and width is not None:
        stride = ENLARGED * -(-height // sizes[1][0])
        if not (height % stride or width % stride):
            return stride
    raise ValueError(
        "`DeepLabV3Plus` needs images of known sides that P5 divides (32, or "
        "8 with a small stem): its decoder enlarges P5 to the size of P2. "
        f"Received a backbone for images of {sizes[0]}. Use "
        "`backbone.rebuild(image_shape=...)`, for 513 with 512, and resize or "
        "pad to it."
    )


def _check_options(num_classes, *, rates, projection_filters, **_):
    check_num_classes(num_classes)
    check_rates(rates)
    checks.number("projection_filters", projection_filters, 1, whole=True)


HEAD = head.Head(
    build=DeepLabV3Plus, task="segmentation", check_options=_check_options
)
