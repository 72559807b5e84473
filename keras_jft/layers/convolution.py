"""A convolution by the fastest kernel that TensorFlow has on a CPU."""

import functools
import math

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_jft")
class Conv2D(keras.layers.Conv2D):
    """A convolution by the fastest kernel that TensorFlow has on a CPU.

    The numbers, the arguments, the weights and their names in a file are those
    of `keras.layers.Conv2D`. On the TensorFlow backend, without strides:

    - A 1x1 kernel is the matrix product that it is: oneDNN's filter gradient
      takes two to three times as long in bfloat16.
    - A dilated kernel whose taps give fewer numbers than the inputs have, as
      DeepLab's branches, is one matrix product, shifted and added.
    - Another dilated kernel runs as it is where TensorFlow has its gradient
      (oneDNN, cuDNN); Keras cuts the image into one small image a phase.

    All else takes Keras's own path. `benchmarks/speed/segmentation.py` has the
    timings.

    Example:

    >>> layer = Conv2D(8, 1)
    >>> tuple(layer(ops.ones((2, 4, 4, 3))).shape)
    (2, 4, 4, 8)
    """

    def convolution_op(self, inputs, kernel):
        """The convolution without its bias.

        Args:
            inputs: `(B, H, W, C)`.
            kernel: `(h, w, C, F)`.
        """
        rates, features = self.dilation_rate, kernel.shape[2]
        if not self._is_plain():
            return super().convolution_op(inputs, kernel)
        if self.kernel_size == (1, 1):
            return _product(inputs, kernel)
        is_dilated = max(rates) > 1 and self.padding == "same"
        is_odd = all(side % 2 for side in self.kernel_size)
        if is_dilated and is_odd and math.prod(kernel.shape) < features**2:
            return _shifted_sum(inputs, kernel, rates)
        if is_dilated and _trains_dilated():
            import tensorflow as tf

            return tf.nn.conv2d(inputs, kernel, 1, "SAME", dilations=rates)
        return super().convolution_op(inputs, kernel)

    def _is_plain(self):
        return (
            keras.backend.backend() == "tensorflow"
            and self.strides == (1, 1)
            and self.groups == 1
            and self.data_format == "channels_last"
        )


def _shifted_sum(inputs, kernel, rates):
    """A dilated convolution with odd sides as one product, cut and added."""
    height, width, _, filters = kernel.shape
    rows, columns = ops.shape(inputs)[1:3]
    kernel = ops.transpose(kernel, (2, 0, 1, 3))
    taps = _product(inputs, ops.reshape(kernel, (1, 1, kernel.shape[0], -1)))
    down, right = height // 2 * rates[0], width // 2 * rates[1]
    taps = ops.pad(taps, ((0, 0), (down, down), (right, right), (0, 0)))
    return sum(
        taps[
            :,
            i * rates[0] : i * rates[0] + rows,
            j * rates[1] : j * rates[1] + columns,
            (i * width + j) * filters : (i * width + j + 1) * filters,
        ]
        for i in range(height)
        for j in range(width)
    )


def _product(inputs, kernel):
    features, filters = kernel.shape[2:]
    outputs = ops.matmul(
        ops.reshape(inputs, (-1, features)),
        ops.reshape(kernel, (features, filters)),
    )
    return ops.reshape(outputs, (*ops.shape(inputs)[:3], filters))


@functools.cache
def _trains_dilated():
    """Whether TensorFlow has the gradients of a dilated convolution here."""
    import tensorflow as tf

    @tf.function
    def gradients(images, kernel):
        outputs = tf.nn.conv2d(images, kernel, 1, "SAME", dilations=2)
        return tf.gradients(outputs, [images, kernel])

    try:
        with tf.init_scope():
            gradients(tf.ones((1, 5, 5, 16)), tf.ones((3, 3, 16, 16)))
    except tf.errors.OpError:
        return False
    return True
