"""Layers that Keras lacks or runs slowly."""

import functools
import itertools
import math

import keras
from keras import ops

from keras_jft import checks

BATCH_NORMALIZATION_MODES = ("batch", "affine", "frozen")
_FUSED_DTYPES = ("bfloat16", "float16", "float32")
_CAFFE_BGR_MEANS = (103.939, 116.779, 123.68)


@keras.saving.register_keras_serializable("keras_jft")
class ImageScaling(keras.layers.Layer):
    """Pixels in 0..255 brought to the range that a backbone's weights expect.

    The arithmetic is float32 whatever the policy: bfloat16 would make one
    value of many neighboring ones.

    Args:
        scaling: `"jft"`: `x / 127.5 - 1`. `"caffe"`: BGR minus the means of
            ImageNet, as the weights of `keras.applications` expect.

    Raises:
        ValueError: If `scaling` is neither.

    Example:

    >>> images = ops.array([[[[0, 0, 255]]]], "uint8")
    >>> print(ops.convert_to_numpy(ImageScaling("jft")(images)))
    [[[[-1. -1.  1.]]]]
    """

    def __init__(self, scaling, **kwargs):
        checks.one_of("scaling", scaling, ("jft", "caffe"))
        super().__init__(autocast=False, **kwargs)
        self.scaling = scaling

    def call(self, images):
        """`images` scaled.

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

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "scaling": self.scaling}


@keras.saving.register_keras_serializable("keras_jft")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization by one kernel where TensorFlow has one.

    The numbers, the arguments and the weights are those of
    `keras.layers.BatchNormalization`. That layer casts half-precision
    activations to float32 and normalizes them by a chain of elementwise
    operations; this one reads them as they are, and keeps its statistics in
    float32.

    The kernel serves channels-last images on the TensorFlow backend. Other
    backends, ranks, axes and dtypes, masks, renormalization and
    synchronization take Keras's own path. One thing is better than there: an
    empty batch, such as a replica gets at the end of an epoch, leaves the
    moving statistics as they are.

    Args:
        mode: What training does. `"batch"`: normalizes by the statistics of
            the batch and moves towards them. `"affine"`: normalizes by the
            moving statistics, which stay; gamma and beta train. `"frozen"`:
            nothing changes.
        **kwargs: As for `keras.layers.BatchNormalization`.

    Raises:
        ValueError: If there is no such mode.

    Example:

    >>> import numpy as np
    >>> layer = FusedBatchNormalization(momentum=0.9, epsilon=1e-5)
    >>> images = np.random.default_rng(0).normal(3, 2, (8, 4, 4, 16))
    >>> outputs = layer(images.astype("float32"), training=True)
    >>> print(f"{abs(ops.mean(outputs)):.3f} {ops.std(outputs):.3f}")
    0.000 1.000

    References:
        Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167, Algorithm 1.
    """

    def __init__(self, *args, mode="batch", **kwargs):
        checks.one_of("mode", mode, BATCH_NORMALIZATION_MODES)
        super().__init__(*args, **kwargs)
        self.mode = mode

    def add_weight(self, *args, trainable=True, **kwargs):
        """As in Keras; no weight of a frozen layer trains."""
        trainable = trainable and self.mode != "frozen"
        return super().add_weight(*args, trainable=trainable, **kwargs)

    def call(self, inputs, training=None, mask=None):
        """`inputs` normalized; moving statistics updated in training.

        Args:
            inputs: `(B, H, W, C)` for the kernel, any rank otherwise.
            training: Normalize by the statistics of this batch. A layer with
                `trainable=False` normalizes by its moving statistics anyway.
            mask: `(B, ...)` without the channel axis; positions that are
                False do not count in the statistics.

        Returns:
            A tensor of the shape of `inputs`, in the layer's compute dtype.
        """
        training = training and self.mode == "batch"
        if not self._has_kernel(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        gamma, beta = self._scale_and_offset()
        if training and self.trainable:
            return self._normalize_by_batch(inputs, gamma, beta)
        return self._normalize_by_moving_statistics(inputs, gamma, beta)

    def _has_kernel(self, inputs, mask):
        return (
            keras.backend.backend() == "tensorflow"
            and mask is None
            and not (self.renorm or self.synchronized)
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and keras.backend.standardize_dtype(inputs.dtype)
            == self.compute_dtype
            and self.compute_dtype in _FUSED_DTYPES
        )

    def _scale_and_offset(self):
        shape = ops.shape(self.moving_mean)
        gamma = self.gamma if self.scale else ops.ones(shape)
        beta = self.beta if self.center else ops.zeros(shape)
        return ops.cast(gamma, "float32"), ops.cast(beta, "float32")

    def _normalize_by_moving_statistics(self, inputs, gamma, beta):
        import tensorflow as tf

        outputs, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=gamma,
            offset=beta,
            mean=ops.cast(self.moving_mean, "float32"),
            variance=ops.cast(self.moving_variance, "float32"),
            epsilon=self.epsilon,
            is_training=False,
        )
        return outputs

    def _normalize_by_batch(self, inputs, gamma, beta):
        import tensorflow as tf

        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=gamma,
            offset=beta,
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        count = tf.reduce_prod(tf.cast(tf.shape(inputs)[:-1], "float32"))
        # The kernel reports the unbiased variance, Keras keeps the biased one.
        variance *= tf.math.divide_no_nan(count - 1, count)
        # ... some GPUs multiply zero by infinity for a single value.
        variance = tf.where(count > 1, variance, tf.zeros_like(variance))
        self._update(self.moving_mean, mean, count > 0)
        self._update(self.moving_variance, variance, count > 0)
        return outputs

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "mode": self.mode}

    def _update(self, moving, batch, is_counted):
        old = ops.cast(moving, "float32")
        new = old * self.momentum + batch * (1.0 - self.momentum)
        moving.assign(ops.where(is_counted, new, old))


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


@keras.saving.register_keras_serializable("keras_jft")
class ShardedDense(keras.layers.Layer):
    """A wide Dense layer whose columns are split over several variables.

    The numbers are those of `keras.layers.Dense`, initial weights included:
    initializers draw the whole kernel, then it is cut. A parameter-server
    strategy places variables in turn; all kernels are made before all biases,
    so that both spread evenly over any number of servers.

    Args:
        units: Number of outputs.
        shards: Number of kernels. Their widths differ by one at most, wider
            ones first: 18,291 units in 50 shards are 41 of 366 and 9 of 365.
        kernel_initializer: Draws the whole kernel, `(features, units)`.
        bias_initializer: Draws the whole bias, `(units,)`.

    Raises:
        ValueError: If `shards` is not between 1 and `units`.

    Example:

    >>> layer = ShardedDense(units=7, shards=3)
    >>> tuple(layer(ops.ones((2, 4))).shape)
    (2, 7)
    >>> [kernel.shape[-1] for kernel in layer.kernels]
    [3, 2, 2]

    References:
        Sun et al. 2017, https://arxiv.org/abs/1707.02968, section 4.1 (the
        last layer in 50 shards on 17 servers).
    """

    def __init__(
        self,
        units,
        shards=1,
        *,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        **kwargs,
    ):
        if not 1 <= shards <= units:
            raise ValueError(
                "`shards` must be between 1 and `units`. Received: "
                f"shards={shards}, units={units}."
            )
        super().__init__(**kwargs)
        self.units = units
        self.shards = shards
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape):
        """Makes `kernels` and `biases`, one of each a shard.

        Args:
            input_shape: `(..., features)`.
        """
        self.kernels = self._add_shards(
            "kernel", self.kernel_initializer, (input_shape[-1],)
        )
        self.biases = self._add_shards("bias", self.bias_initializer, ())

    def _add_shards(self, name, initializer, rows):
        @functools.cache
        def whole(dtype):
            return initializer((*rows, self.units), dtype=dtype)

        def cut(start, stop):
            return lambda shape, dtype: whole(dtype)[..., start:stop]

        width, wider = divmod(self.units, self.shards)
        widths = [width + (i < wider) for i in range(self.shards)]
        edges = itertools.pairwise(itertools.accumulate(widths, initial=0))
        return [
            self.add_weight(
                (*rows, stop - start), cut(start, stop), name=f"{name}_{i}"
            )
            for i, (start, stop) in enumerate(edges)
        ]

    def call(self, inputs):
        """`inputs @ kernel + bias`.

        Args:
            inputs: `(..., features)`.

        Returns:
            `(..., units)`.
        """
        outputs = [
            ops.matmul(inputs, kernel) + bias
            for kernel, bias in zip(self.kernels, self.biases, strict=True)
        ]
        return ops.concatenate(outputs, axis=-1)

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "shards": self.shards,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
        }
