"""Cross entropy of masks, at each logit or at each pixel.

Shapes: B batch, H W image side, h w logits, C classes.
"""

import keras
from keras import ops

from keras_jft.data.batch import VOID
from keras_jft.transfer.heads.upsampling import upsample


def mask_cross_entropy(masks, logits):
    """Return the cross entropy at each position, and where it counts.

    Args:
        masks: `(B, h, w)` integers; 255 is void.
        logits: `(B, h, w, C)`.

    Returns:
        `(B, h, w)` losses, zero at void, and `(B, h, w)` bool: not void.
    """
    labels = ops.cast(masks, "int32")
    counted = labels != VOID
    labels = ops.where(counted, labels, 0)
    losses = ops.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    )
    # Some backends accept a label that is not a class; nan makes it visible.
    known = (labels >= 0) & (labels < logits.shape[-1])
    losses = ops.where(known, losses, float("nan"))
    return ops.where(counted, losses, 0.0), counted


def subsampled_cross_entropy(masks, logits, stride):
    """Return `mask_cross_entropy` at each logit, against the pixel there.

    Args:
        masks: `(B, H, W, 1)` integers; 255 is void.
        logits: `(B, h, w, C)`, h = ceil(H / stride).
        stride: Pixels between two logits.

    Returns:
        `(B, h, w)` losses, zero at void, and `(B, h, w)` bool: not void.

    References:
        Chen et al. 2017, https://arxiv.org/abs/1606.00915, section 4 (a loss at
        the resolution of the output).
    """
    return mask_cross_entropy(masks[:, ::stride, ::stride, 0], logits)


def upsampled_cross_entropy(masks, logits, stride):
    """Return `mask_cross_entropy` at each pixel, with interpolated logits.

    Args:
        masks: `(B, H, W, 1)` integers; 255 is void.
        logits: `(B, h, w, C)`.
        stride: Pixels between two logits.

    Returns:
        `(B, H, W)` losses, zero at void, and `(B, H, W)` bool: not void.

    References:
        Chen et al. 2018, https://arxiv.org/abs/1802.02611, section 4 (and
        2017, https://arxiv.org/abs/1706.05587, section 4.1).
    """
    logits = upsample(logits, ops.shape(masks)[1:3], stride)
    return mask_cross_entropy(masks[..., 0], logits)


class _MaskLoss(keras.losses.Loss):
    """The mean over the positions that count.

    Args:
        stride: Pixels between two logits.
        name: Name of the loss.
    """

    def __init__(self, stride, name):
        super().__init__(name=name, dtype="float32")
        self.stride = stride

    def call(self, y_true, y_pred):
        """Return `(B,)` losses whose mean is that over counted positions."""
        losses, counted = self.unreduced(y_true, y_pred, self.stride)
        count = ops.sum(ops.cast(counted, losses.dtype))
        images = ops.cast(ops.shape(losses)[0], losses.dtype)
        share = images / ops.maximum(count, 1.0)
        return ops.sum(losses, axis=(1, 2)) * share

    def get_config(self):
        """Return the constructor's arguments."""
        return {"stride": self.stride, "name": self.name}


@keras.saving.register_keras_serializable("keras_jft")
class SubsampledCrossentropy(_MaskLoss):
    """`subsampled_cross_entropy`, averaged over the positions that count.

    Args:
        stride: Pixels between two logits.
        name: Name of the loss.
    """

    unreduced = staticmethod(subsampled_cross_entropy)

    def __init__(self, stride, name="subsampled_crossentropy"):
        super().__init__(stride, name)


@keras.saving.register_keras_serializable("keras_jft")
class UpsampledCrossentropy(_MaskLoss):
    """`upsampled_cross_entropy`, averaged over the pixels that count.

    Args:
        stride: Pixels between two logits.
        name: Name of the loss.
    """

    unreduced = staticmethod(upsampled_cross_entropy)

    def __init__(self, stride, name="upsampled_crossentropy"):
        super().__init__(stride, name)
