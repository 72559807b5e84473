"""Upsampling of feature maps to pixels, shared by the dense heads.

Shapes: B batch, H W image side, h w feature side, C channels.
"""

from keras import ops


def upsample(features, size, stride):
    """Features at every pixel, bilinear, with feature i at pixel `stride * i`.

    Strided convolutions with symmetric padding put feature i there. At sides of
    the form `stride * n + 1` (513, 353, 257) this is `align_corners=True`; at
    others the last features reach on to the border.

    Args:
        features: `(B, h, w, C)`.
        size: `(H, W)`, integers or scalar tensors.
        stride: Pixels a feature.

    Returns:
        `(B, H, W, C)` in the dtype of `features`.

    Example:

    >>> features = np.array([[0.0, 2.0]]).reshape(1, 1, 2, 1)
    >>> pixels = upsample(features, size=(1, 3), stride=2)
    >>> print(keras.ops.convert_to_numpy(pixels)[0, 0, :, 0])
    [0. 1. 2.]
    """
    rows = _interpolation(size[0], ops.shape(features)[1], stride)
    columns = _interpolation(size[1], ops.shape(features)[2], stride)
    rows = ops.cast(rows, features.dtype)
    columns = ops.cast(columns, features.dtype)
    return ops.einsum("Hh,bhwc,Ww->bHWc", rows, features, columns)


def _interpolation(pixels, features, stride):
    """`(pixels, features)` weights; each row sums to one."""
    at = ops.cast(ops.arange(pixels), "float32") / stride
    at = ops.minimum(at, ops.cast(features - 1, "float32"))
    nodes = ops.cast(ops.arange(features), "float32")
    return ops.maximum(0.0, 1.0 - ops.abs(at[:, None] - nodes[None, :]))
