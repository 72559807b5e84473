"""`DeepLabASPP`: DeepLab's ASPP-L on a dilated backbone.

Shapes: B batch, H W image side, h w feature side, C classes.
"""

import keras
from keras import ops

from keras_jft import training
from keras_jft.transfer.heads import head
from keras_jft.transfer.heads.upsampling import upsample

VOID = 255


@keras.saving.register_keras_serializable("keras_jft")
class DeepLabASPP(training.Model):
    """Four summed 3x3 convolutions of growing rate on the last feature map.

    Targets are `segmentation_masks` `(B, H, W, 1)`, 255 is void. The loss is
    the softmax cross entropy at each feature position with the mask subsampled
    there, all positions equal, void left out. Calling gives logits
    `(B, h, w, C)` in float32; predicting gives int32 masks `(B, H, W)`.

    Args:
        backbone: A backbone, by the contract of `jft.backbones`. One of
            another output stride is rebuilt with its weights.
        num_classes: Number of classes, background included.
        output_stride: Pixels between two features.
        rates: Dilation rates of the branches.
        name: Name of the model.

    References:
        Chen et al. 2017, "DeepLab", https://arxiv.org/abs/1606.00915, section
        3.2, Table 3 (ASPP-L: rates 6, 12, 18, 24). Sun et al. 2017 print
        {6, 12, 8, 24}, taken for a misprint.
    """

    def __init__(
        self,
        backbone,
        num_classes,
        *,
        output_stride=8,
        rates=(6, 12, 18, 24),
        name="deeplab_aspp",
        **kwargs,
    ):
        if backbone.output_stride != output_stride:
            backbone = backbone.rebuild(output_stride=output_stride)

        # === Layers ===
        branches = [
            keras.layers.Conv2D(
                num_classes,
                3,
                dilation_rate=rate,
                padding="same",
                kernel_initializer="glorot_uniform",
                name=f"aspp_{rate}",
            )
            for rate in rates
        ]
        total = keras.layers.Add(dtype="float32", name="aspp_logits")

        # === Functional model ===
        super().__init__(
            inputs=backbone.input,
            outputs=total([branch(backbone.output) for branch in branches]),
            name=name,
            **kwargs,
        )

        # === Config ===
        self.backbone = backbone
        self.num_classes = num_classes
        self.output_stride = output_stride
        self.rates = tuple(rates)

    @property
    def logits_stride(self):
        """Pixels between two logits; the first is that of pixel (0, 0)."""
        return self.output_stride

    def targets(self, batch):
        """Masks `(B, H, W, 1)`."""
        return self.entry(batch, "segmentation_masks")

    def default_loss(self):
        """`SubsampledCrossentropy` at the output stride."""
        return SubsampledCrossentropy(self.output_stride)

    def loss_count(self, x, y):
        """How many positions count."""
        masks = y[:, :: self.output_stride, :: self.output_stride]
        return ops.sum(ops.cast(masks != VOID, "int32"))

    def decode(self, outputs, images):
        """The class of the largest upsampled logit at each pixel."""
        size = ops.shape(images)[1:3]
        logits = upsample(outputs, size, self.output_stride)
        return ops.cast(ops.argmax(logits, axis=-1), "int32")

    def get_config(self):
        """The constructor's arguments."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "output_stride": self.output_stride,
            "rates": list(self.rates),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        """A model of the same arguments."""
        return cls(**keras.saving.deserialize_keras_object(config))


def subsampled_cross_entropy(masks, logits, stride):
    """Cross entropy at each feature position, and where it counts.

    Args:
        masks: `(B, H, W, 1)` integers, 255 is void.
        logits: `(B, h, w, C)`, h = ceil(H / stride).
        stride: Pixels between two features.

    Returns:
        `(B, h, w)` losses, zero at void, and `(B, h, w)` bool: not void.

    References:
        Chen et al. 2017, section 4 (the loss is at the output's resolution).
    """
    labels = ops.cast(masks[:, ::stride, ::stride, 0], "int32")
    counted = labels != VOID
    labels = ops.where(counted, labels, 0)
    losses = ops.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    )
    return ops.where(counted, losses, 0.0), counted


@keras.saving.register_keras_serializable("keras_jft")
class SubsampledCrossentropy(keras.losses.Loss):
    """`subsampled_cross_entropy`, averaged over the positions that count.

    Args:
        stride: Pixels between two features.
        name: Name of the loss.
    """

    def __init__(self, stride, name="subsampled_crossentropy"):
        super().__init__(name=name, dtype="float32")
        self.stride = stride

    def call(self, y_true, y_pred):
        """`(B,)` losses whose mean is that over all positions that count."""
        losses, counted = subsampled_cross_entropy(y_true, y_pred, self.stride)
        count = ops.sum(ops.cast(counted, losses.dtype))
        images = ops.cast(ops.shape(losses)[0], losses.dtype)
        share = images / ops.maximum(count, 1.0)
        return ops.sum(losses, axis=(1, 2)) * share

    def get_config(self):
        """The constructor's arguments."""
        return {"stride": self.stride, "name": self.name}


HEAD = head.Head(build=DeepLabASPP, task="segmentation")
