"""Upsampling of feature maps to pixels, for segmentation and pose.

Shapes: B batch, H W image side, h w feature side, C channels.
"""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_jft")
class Resample(keras.layers.Layer):
    """Features at another stride, by `upsample`.

    Args:
        stride: Pixels between two of the features.
        wanted: Pixels between two features of the result.
        **kwargs: As for a Keras layer.
    """

    def __init__(self, stride, wanted, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride
        self.wanted = wanted

    def call(self, features, images):
        """Return `(B, ceil(H / wanted), ceil(W / wanted), C)`.

        Args:
            features: `(B, h, w, C)`.
            images: `(B, H, W, 3)`, only for H and W.
        """
        size = [self._count(side) for side in ops.shape(images)[1:3]]
        return upsample(features, size, self.stride / self.wanted)

    def compute_output_shape(self, features_shape, images_shape):
        """Return the shape of the result; None for sides of any length."""
        size = [side and self._count(side) for side in images_shape[1:3]]
        return (features_shape[0], *size, features_shape[-1])

    def _count(self, side):
        if isinstance(side, int):
            return math.ceil(side / self.wanted)
        return -(-side // self.wanted)

    def get_config(self):
        """Return the constructor's arguments."""
        own = {"stride": self.stride, "wanted": self.wanted}
        return {**super().get_config(), **own}


def upsample(features, size, stride):
    """Return features at every pixel, bilinear, feature i at `stride * i`.

    Strided convolutions with symmetric padding put feature i at that pixel. For
    sides of the form `stride * n + 1` (513, 353, 257) this is
    `align_corners=True`; for others the last features extend to the border.

    Args:
        features: `(B, h, w, C)`.
        size: `(H, W)`, integers or scalar tensors.
        stride: Pixels between two features.

    Returns:
        `(B, H, W, C)` in the dtype of `features`.

    Example:

    >>> features = np.array([[0.0, 2.0]]).reshape(1, 1, 2, 1)
    >>> pixels = upsample(features, size=(1, 3), stride=2)
    >>> print(keras.ops.convert_to_numpy(pixels)[0, 0, :, 0])
    [0. 1. 2.]
    """
    rows, columns = (
        ops.cast(interpolation(ops.arange(side), count, stride), features.dtype)
        for side, count in zip(size, ops.shape(features)[1:3], strict=True)
    )
    return ops.einsum("Hh,bhwc,Ww->bHWc", rows, features, columns)


def upsample_planes(features, size, stride):
    """Return what `upsample` does, channels first, by two matrix products.

    Args:
        features: `(B, h, w, C)`.
        size: `(H, W)`, integers.
        stride: Pixels between two features.

    Returns:
        `(B, C, H, W)`.
    """
    height, width = size
    h, w, channels = features.shape[1:]
    rows = interpolation(ops.arange(height), h, stride)
    columns = interpolation(ops.arange(width), w, stride)
    planes = ops.transpose(features, (0, 3, 2, 1))  # (B, C, w, h)
    planes = ops.reshape(planes, (-1, h)) @ ops.transpose(rows)
    planes = ops.reshape(planes, (-1, channels, w, height))
    planes = ops.transpose(planes, (0, 1, 3, 2))  # (B, C, H, w)
    planes = ops.reshape(planes, (-1, w)) @ ops.transpose(columns)
    return ops.reshape(planes, (-1, channels, height, width))


def interpolation(pixels, features, stride):
    """Return the share of each feature at pixels of one axis.

    Args:
        pixels: `(..., S)` positions of pixels on the axis.
        features: Number of features on the axis.
        stride: Pixels between two features.

    Returns:
        `(..., S, features)` float32; the shares of a pixel add up to one.
    """
    at = ops.cast(pixels, "float32") / stride
    at = ops.clip(at, 0.0, ops.cast(features - 1, "float32"))
    nodes = ops.cast(ops.arange(features), "float32")
    return ops.maximum(0.0, 1.0 - ops.abs(at[..., None] - nodes))
