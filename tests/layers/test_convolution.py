"""Conv2D: against Keras's own and loops in NumPy."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.layers import Conv2D


@pytest.mark.ops
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_pointwise_convolution_is_a_product_at_each_position(rng, dtype):
    images = rng.normal(0, 1, (2, 5, 7, 6)).astype("float32")
    kernel = rng.normal(0, 1, (1, 1, 6, 4)).astype("float32")
    bias = rng.normal(0, 1, 4).astype("float32")
    layer = Conv2D(4, 1, activation="relu", dtype=dtype)
    layer.build(images.shape)
    layer.set_weights([kernel, bias])
    expected = np.maximum(images @ kernel[0, 0] + bias, 0)
    outputs = ops.convert_to_numpy(ops.cast(layer(images), "float32"))
    tolerance = 1e-5 if dtype == "float32" else 0.05
    np.testing.assert_allclose(outputs, expected, tolerance, tolerance)


@pytest.mark.parametrize(
    "arguments",
    [
        {"filters": 4, "kernel_size": 1},
        {"filters": 4, "kernel_size": 1, "strides": 2},
        {"filters": 4, "kernel_size": 3},
        {"filters": 3, "kernel_size": 3, "dilation_rate": 2},
        {"filters": 16, "kernel_size": 3, "dilation_rate": 2},
    ],
)
def test_gradients_of_any_size_are_those_of_keras(rng, arguments):
    import tensorflow as tf

    images = rng.normal(0, 1, (2, 5, 7, 32)).astype("float32")
    results = []
    for layer in Conv2D, keras.layers.Conv2D:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((None, None, 32))
        model = keras.Model(inputs, layer(padding="same", **arguments)(inputs))

        @tf.function(
            input_signature=[tf.TensorSpec([None, None, None, 32], "float32")]
        )
        def step(x, model=model):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(model(x) ** 3)
            return tape.gradient(loss, [x, model.weights[0].value])

        results.append([g.numpy() for g in step(images)])
    for ours, stock in zip(*results, strict=True):
        np.testing.assert_allclose(ours, stock, rtol=1e-4, atol=1e-4)


# The first is shifted and added, the second runs as it is.
@pytest.mark.ops
@pytest.mark.parametrize("filters", [2, 16])
@pytest.mark.parametrize("rates", [(2, 2), (1, 3), (6, 6)])
def test_a_dilated_convolution_is_its_sum_in_numpy(rng, filters, rates):
    images = rng.normal(0, 1, (2, 5, 7, 32)).astype("float32")
    layer = Conv2D(filters, 3, dilation_rate=rates, padding="same")
    outputs = ops.convert_to_numpy(layer(images))
    kernel = ops.convert_to_numpy(layer.kernel)
    expected = np.zeros((2, 5, 7, filters))
    for y, x, i, j in np.ndindex(5, 7, 3, 3):
        row, column = y + (i - 1) * rates[0], x + (j - 1) * rates[1]
        if 0 <= row < 5 and 0 <= column < 7:
            expected[:, y, x] += images[:, row, column] @ kernel[i, j]
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


def test_dilated_kernels_train_where_tensorflow_lacks_their_gradient():
    """On a CPU with oneDNN off, in both modes of a step, twice over."""
    subprocess.run(
        [sys.executable, "-c", TRAIN_DILATED],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"},
        check=True,
        timeout=120,
    )


TRAIN_DILATED = """
import keras, numpy as np, tensorflow as tf
from keras_jft.layers import Conv2D

tf.config.set_visible_devices([], "GPU")
rng = np.random.default_rng(0)
images = rng.normal(0, 1, (2, 5, 7, 8)).astype("float32")
upstream = rng.normal(0, 1, (2, 5, 7, 8)).astype("float32")

def numpy_gradients(kernel, rates):
    of_images, of_kernel = np.zeros(images.shape), np.zeros(kernel.shape)
    for y, x, i, j in np.ndindex(5, 7, 3, 3):
        row, column = y + (i - 1) * rates[0], x + (j - 1) * rates[1]
        if 0 <= row < 5 and 0 <= column < 7:
            of_kernel[i, j] += images[:, row, column].T @ upstream[:, y, x]
            of_images[:, row, column] += upstream[:, y, x] @ kernel[i, j].T
    return of_images, of_kernel

for dtype in "float32", "mixed_bfloat16":
    for rates in (2, 2), (1, 3):
        layer = Conv2D(8, 3, dilation_rate=rates, padding="same", dtype=dtype)
        layer.build(images.shape)

        def gradients(x):
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    outputs = tf.cast(layer(x), "float32")
                    loss = tf.reduce_sum(outputs * upstream)
                first = tape.gradient(loss, [x, layer.kernel.value])
                square = tf.reduce_sum(tf.square(first[0]))
            # Also the gradient of a gradient exists.
            return first, outer.gradient(square, layer.kernel.value)

        kernel = layer.get_weights()[0]
        expected = numpy_gradients(kernel, rates)
        for run in gradients, tf.function(gradients):
            first, second = run(tf.constant(images))
            tolerance = 1e-4 if dtype == "float32" else 0.3
            for ours, theirs in zip(first, expected, strict=True):
                np.testing.assert_allclose(ours, theirs, 0, tolerance)
            assert np.isfinite(second).all() and np.abs(second).max() > 0
"""
