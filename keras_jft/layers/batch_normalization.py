"""Batch normalization by TensorFlow's fused kernel."""

from typing import Any

import keras
from keras import ops

from keras_jft import checks
from keras_jft.typing import Tensor

BATCH_NORMALIZATION_MODES = ("batch", "affine", "frozen")
_FUSED_DTYPES = ("bfloat16", "float16", "float32")


@keras.saving.register_keras_serializable("keras_jft")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization by a single kernel, if TensorFlow has one.

    Results, arguments and weights are those of
    `keras.layers.BatchNormalization`. That layer casts half-precision
    activations to float32 and normalizes them by a chain of elementwise
    operations; this one reads them directly and keeps its statistics in
    float32.

    The kernel is used for channels-last images on the TensorFlow backend. Other
    backends, ranks, axes and dtypes, masks, renormalization and synchronization
    use Keras's own code. Unlike in Keras, an empty batch, which a replica may
    receive at the end of an epoch, leaves the moving statistics unchanged.

    Args:
        mode: The behavior in training. `"batch"`: normalize by the statistics
            of the batch, and update the moving statistics. `"affine"`:
            normalize by the moving statistics, which stay fixed; gamma and
            beta train. `"frozen"`: the same, but nothing trains.
        **kwargs: As for `keras.layers.BatchNormalization`.

    Raises:
        ValueError: If the mode is unknown.

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

    def __init__(self, *args: Any, mode: str = "batch", **kwargs: Any):
        checks.one_of("mode", mode, BATCH_NORMALIZATION_MODES)
        super().__init__(*args, **kwargs)
        self.mode = mode

    def add_weight(
        self, *args: Any, trainable: bool = True, **kwargs: Any
    ) -> keras.Variable:
        """Add a weight as Keras does, untrainable in a frozen layer."""
        trainable = trainable and self.mode != "frozen"
        return super().add_weight(*args, trainable=trainable, **kwargs)

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor = None
    ) -> Tensor:
        """Return `inputs` normalized; update moving statistics in training.

        Args:
            inputs: `(B, H, W, C)` for the kernel, any rank otherwise.
            training: Whether to normalize by the statistics of this batch. A
                layer with `trainable=False` always uses the moving ones.
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
        # The kernel returns the unbiased variance; Keras keeps the biased one.
        variance *= tf.math.divide_no_nan(count - 1, count)
        # With a single value, some GPUs would multiply zero by infinity here.
        variance = tf.where(count > 1, variance, tf.zeros_like(variance))
        self._update(self.moving_mean, mean, count > 0)
        self._update(self.moving_variance, variance, count > 0)
        return outputs

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "mode": self.mode}

    def _update(self, moving, batch, is_counted):
        old = ops.cast(moving, "float32")
        new = old * self.momentum + batch * (1.0 - self.momentum)
        moving.assign(ops.where(is_counted, new, old))
