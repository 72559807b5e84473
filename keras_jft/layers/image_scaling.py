"""Scaling of pixels to the range that a backbone's weights expect."""

from typing import Any

import keras
from keras import ops

from keras_jft import checks
from keras_jft.typing import Tensor

_CAFFE_BGR_MEANS = (103.939, 116.779, 123.68)


@keras.saving.register_keras_serializable("keras_jft")
class ImageScaling(keras.layers.Layer):
    """Scale pixels from 0..255 to the range that a backbone's weights expect.

    The arithmetic is float32 under any policy: bfloat16 would round neighboring
    values to the same one.

    Args:
        scaling: `"jft"`: `x / 127.5 - 1`. `"caffe"`: BGR minus the means of
            ImageNet, as the weights of `keras.applications` expect.

    Raises:
        ValueError: If `scaling` is unknown.

    Example:

    >>> images = ops.array([[[[0, 0, 255]]]], "uint8")
    >>> print(ops.convert_to_numpy(ImageScaling("jft")(images)))
    [[[[-1. -1.  1.]]]]
    """

    def __init__(self, scaling: str, **kwargs: Any):
        checks.one_of("scaling", scaling, ("jft", "caffe"))
        super().__init__(autocast=False, **kwargs)
        self.scaling = scaling

    def call(self, images: Tensor) -> Tensor:
        """Return `images`, scaled.

        Args:
            images: `(B, H, W, 3)` RGB in 0..255, of any dtype.

        Returns:
            `(B, H, W, 3)` in the layer's compute dtype.
        """
        images = ops.cast(images, "float32")
        if self.scaling == "jft":
            images = images / 127.5 - 1.0
        else:
            images = ops.flip(images, axis=-1) - ops.array(_CAFFE_BGR_MEANS)
        return ops.cast(images, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "scaling": self.scaling}
