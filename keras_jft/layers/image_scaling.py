"""Scaling of pixels to the range that a backbone's weights expect."""

import math
import numbers
from typing import Any

import keras
from keras import ops

from keras_jft.typing import Tensor

_CAFFE_BGR_MEANS = (103.939, 116.779, 123.68)
# Of ImageNet, in RGB, for pixels in 0..1.
_TORCH_MEANS = (0.485, 0.456, 0.406)
_TORCH_DEVIATIONS = (0.229, 0.224, 0.225)

SCALINGS = ("jft", "tf", "torch", "caffe", "none")


def check_scaling(scaling):
    """Return a scaling as plain values; raise `ValueError` for any other.

    Args:
        scaling: As for `ImageScaling`.

    Returns:
        A name, or `(scale, offset)`, each a float or a tuple of three.

    Example:

    >>> check_scaling([1 / 255, (0, 0, 0)])
    (0.00392156862745098, (0.0, 0.0, 0.0))
    """
    if isinstance(scaling, str) and scaling in SCALINGS:
        return scaling
    if isinstance(scaling, (tuple, list)) and len(scaling) == 2:
        pair = tuple(map(_per_channel, scaling))
        if None not in pair:
            return pair
    raise ValueError(
        f"`scaling` must be one of {list(SCALINGS)}, or a pair (scale, "
        "offset), each a finite number or three of them, for `pixels * scale + "
        f"offset`. Received: {scaling!r}."
    )


def _per_channel(value):
    """Return one float or a tuple of three; None if it is neither."""
    if isinstance(value, (tuple, list)):
        channels = tuple(map(_per_channel, value))
        plain = all(isinstance(channel, float) for channel in channels)
        return channels if len(channels) == 3 and plain else None
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


@keras.saving.register_keras_serializable("keras_jft")
class ImageScaling(keras.layers.Layer):
    """Scale pixels from 0..255 to the range that a backbone's weights expect.

    The arithmetic is float32 under any policy: bfloat16 would round neighboring
    values to the same one.

    Args:
        scaling: `"jft"` or `"tf"`: `x / 127.5 - 1`. `"torch"`: `x / 255`, minus
            the means of ImageNet, divided by its standard deviations.
            `"caffe"`: BGR minus the means of ImageNet. The last three are the
            modes of `keras.applications`. `"none"`: pixels as they are, for a
            net that scales them itself. `(scale, offset)`, each a number or
            one per channel: `x * scale + offset`.

    Raises:
        ValueError: If `scaling` is none of these.

    Example:

    >>> images = ops.array([[[[0, 0, 255]]]], "uint8")
    >>> print(ops.convert_to_numpy(ImageScaling("jft")(images)))
    [[[[-1. -1.  1.]]]]
    """

    def __init__(self, scaling: str | tuple | list, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.scaling = check_scaling(scaling)

    def call(self, images: Tensor) -> Tensor:
        """Return `images`, scaled.

        Args:
            images: `(B, H, W, 3)` RGB in 0..255, of any dtype.

        Returns:
            `(B, H, W, 3)` in the layer's compute dtype.
        """
        images = ops.cast(images, "float32")
        if self.scaling in ("jft", "tf"):
            images = images / 127.5 - 1.0
        elif self.scaling == "torch":
            images = images / 255.0 - ops.array(_TORCH_MEANS)
            images = images / ops.array(_TORCH_DEVIATIONS)
        elif self.scaling == "caffe":
            images = ops.flip(images, axis=-1) - ops.array(_CAFFE_BGR_MEANS)
        elif self.scaling != "none":
            scale, offset = self.scaling
            images = images * ops.array(scale) + ops.array(offset)
        return ops.cast(images, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "scaling": self.scaling}
