"""Convolution with the fastest kernel that TensorFlow has on a CPU."""

import itertools
import math

import keras
from keras import ops

from keras_jft.typing import Tensor

# Below so many input channels, oneDNN's filter gradient of a strided 1x1
# convolution crashes with AVX-512; with 4 or fewer it is wrong with AVX2.
_SAFE_FEATURES = 16


@keras.saving.register_keras_serializable("keras_jft")
class Conv2D(keras.layers.Conv2D):
    """A convolution with the fastest kernel that TensorFlow has on a CPU.

    Behaves exactly like `keras.layers.Conv2D`: same arguments, results, weights
    and saved names. On the TensorFlow backend:

    - A 1x1 kernel without strides becomes a matrix product, because oneDNN's
      filter gradient takes two to three times as long in bfloat16.
    - A 1x1 kernel with strides becomes a matrix product of every n-th pixel,
      but only with fewer than 16 input channels, where oneDNN's filter
      gradient corrupts memory. With more, the gradient of skipping pixels
      would cost more than it saves.
    - A larger kernel with strides is padded so that every tap sees at least
      one pixel, because oneDNN leaves the bfloat16 gradient of a tap that sees
      only padding uninitialized.
    - A dilated kernel with height x width x filters below the number of input
      channels, as in DeepLab's branches, becomes one matrix product, whose
      parts are shifted and added.
    - Any other dilated kernel with odd sides is applied directly, while Keras
      would split the image into one sub-image per dilation offset. Its
      gradients are written out, because TensorFlow has none on a CPU without
      oneDNN.

    Everything else uses Keras's own code. `benchmarks/speed/segmentation.py`
    has the timings.

    Example:

    >>> layer = Conv2D(8, 1)
    >>> tuple(layer(ops.ones((2, 4, 4, 3))).shape)
    (2, 4, 4, 8)
    """

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Return the convolution without its bias.

        Args:
            inputs: `(B, H, W, C)`.
            kernel: `(h, w, C, F)`.
        """
        rates, features = self.dilation_rate, kernel.shape[2]
        if not self._is_plain():
            return super().convolution_op(inputs, kernel)
        rows, columns = self.strides
        if self.kernel_size == (1, 1):
            if rows == columns == 1:
                return _product(inputs, kernel)
            if features < _SAFE_FEATURES:
                return _product(inputs[:, ::rows, ::columns], kernel)
            return super().convolution_op(inputs, kernel)
        if max(rows, columns) > 1 and self.padding == "same":
            return _strided(inputs, kernel, self.strides)
        is_dilated = max(rates) > 1 and self.padding == "same"
        is_odd = all(side % 2 for side in self.kernel_size)
        if not (is_dilated and is_odd):
            return super().convolution_op(inputs, kernel)
        if math.prod(kernel.shape) < features**2:
            return _shifted_sum(inputs, kernel, rates)
        return _dilated(inputs, kernel, rates)

    def _is_plain(self):
        return (
            keras.backend.backend() == "tensorflow"
            and self.groups == 1
            and self.data_format == "channels_last"
        )


def _strided(inputs, kernel, strides):
    """Convolve with strides and padding "same"; each tap sees a pixel.

    That is the case if the image is at least as large as the kernel. Otherwise
    it is padded with zeros explicitly, which count as pixels.
    """
    import tensorflow as tf

    padding, paddings = "SAME", [(0, 0)]
    for side, length, stride in zip(
        ops.shape(inputs)[1:3], kernel.shape[:2], strides, strict=True
    ):
        if not isinstance(side, int) or side < length:
            padding = "VALID"
        missing = (-(-side // stride) - 1) * stride + length - side
        missing = tf.maximum(missing, 0)
        paddings.append((missing // 2, missing - missing // 2))
    if padding == "VALID":
        inputs = tf.pad(inputs, [*paddings, (0, 0)])
    return tf.nn.conv2d(inputs, kernel, strides, padding)


def _shifted_sum(inputs, kernel, rates):
    """Convolve with a dilated, odd-sided kernel by one matrix product.

    The product has the outputs of all taps, which are split, shifted and added.
    They are split in one operation: a slice per tap would have a gradient as
    large as the whole product.
    """
    height, width, features, _ = kernel.shape
    kernel = ops.transpose(kernel, (2, 0, 1, 3))
    taps = _product(inputs, ops.reshape(kernel, (1, 1, features, -1)))
    offsets = itertools.product(
        _offsets(height, rates[0]), _offsets(width, rates[1])
    )
    return sum(
        _shifted(tap, *offset)
        for tap, offset in zip(
            ops.split(taps, height * width, axis=-1), offsets, strict=True
        )
    )


def _offsets(side, rate):
    """Return the offsets of the taps of an odd side from its middle."""
    return range(-(side // 2) * rate, side // 2 * rate + 1, rate)


def _shifted(images, down, right):
    """Return the pixel `down` and `right` of each position, or 0 outside."""
    rows, columns = ops.shape(images)[1:3]
    above, left = max(-down, 0), max(-right, 0)
    below, beyond = max(down, 0), max(right, 0)
    images = ops.pad(images, ((0, 0), (above, below), (left, beyond), (0, 0)))
    return images[:, below : below + rows, beyond : beyond + columns]


def _dilated(inputs, kernel, rates):
    """Convolve with a dilated, odd-sided kernel, trainable on every device.

    On a CPU without oneDNN, TensorFlow's own gradients raise an error, and when
    a convolution is traced, the device and kernel that will run it are not
    known. So the gradients use operations that every device has: the gradient
    with respect to the inputs is the same convolution with a rotated kernel,
    and that of the kernel is one matrix product per tap.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradients(upstream):
            turned = tf.transpose(tf.reverse(kernel, (0, 1)), (0, 1, 3, 2))
            of_outputs = tf.reshape(upstream, (-1, kernel.shape[3]))
            of_taps = [
                tf.matmul(
                    tf.reshape(window, (-1, kernel.shape[2])),
                    of_outputs,
                    transpose_a=True,
                )
                for window in _windows(inputs, kernel.shape[:2], rates)
            ]
            return (
                _dilated(upstream, turned, rates),
                tf.reshape(tf.stack(of_taps), kernel.shape),
            )

        outputs = tf.nn.conv2d(inputs, kernel, 1, "SAME", dilations=rates)
        return outputs, gradients

    return convolve(tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel))


def _windows(images, sides, rates):
    """Yield the pixels that each tap of a dilated, odd-sided kernel sees.

    Args:
        images: `(B, H, W, C)`.
        sides: Height and width of the kernel.
        rates: Dilation rates of the kernel.

    Yields:
        `(B, H, W, C)`, zero beyond the border.
    """
    rows, columns = ops.shape(images)[1:3]
    down, right = (
        side // 2 * rate for side, rate in zip(sides, rates, strict=True)
    )
    images = ops.pad(images, ((0, 0), (down, down), (right, right), (0, 0)))
    for i in range(0, sides[0] * rates[0], rates[0]):
        for j in range(0, sides[1] * rates[1], rates[1]):
            yield images[:, i : i + rows, j : j + columns]


def _product(inputs, kernel):
    features, filters = kernel.shape[2:]
    outputs = ops.matmul(
        ops.reshape(inputs, (-1, features)),
        ops.reshape(kernel, (features, filters)),
    )
    return ops.reshape(outputs, (*ops.shape(inputs)[:3], filters))
