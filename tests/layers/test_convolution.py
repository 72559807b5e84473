"""Conv2D: against Keras's own and loops in NumPy."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import startup
from keras_jft.layers import Conv2D

pytestmark = pytest.mark.rewritten


@pytest.mark.ops
@pytest.mark.parametrize("rows, columns", [(1, 1), (2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_pointwise_convolution_is_a_product_at_each_position(
    rng, dtype, rows, columns
):
    images = rng.normal(0, 1, (2, 5, 7, 6)).astype("float32")
    kernel = rng.normal(0, 1, (1, 1, 6, 4)).astype("float32")
    bias = rng.normal(0, 1, 4).astype("float32")
    layer = Conv2D(4, 1, (rows, columns), activation="relu", dtype=dtype)
    layer.build(images.shape)
    layer.set_weights([kernel, bias])
    expected = np.maximum(images[:, ::rows, ::columns] @ kernel[0, 0] + bias, 0)
    outputs = ops.convert_to_numpy(ops.cast(layer(images), "float32"))
    tolerance = 1e-5 if dtype == "float32" else 0.05
    np.testing.assert_allclose(outputs, expected, tolerance, tolerance)


@pytest.mark.parametrize(
    "arguments",
    [
        {"filters": 4, "kernel_size": 1},
        {"filters": 4, "kernel_size": 1, "strides": (2, 3)},
        {"filters": 4, "kernel_size": 3, "strides": 2},
        {"filters": 4, "kernel_size": (7, 6), "strides": (2, 3)},
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


def test_the_gradient_of_a_branch_writes_each_number_a_few_times():
    import tensorflow as tf

    layer = Conv2D(2, 3, padding="same", dilation_rate=4, use_bias=False)
    layer.build((1, 16, 16, 32))

    @tf.function
    def gradients(images):
        kernel = layer.kernel.value
        with tf.GradientTape() as tape:
            tape.watch([images, kernel])
            outputs = layer(images)
        return tape.gradient(outputs, [images, kernel], outputs)

    graph = gradients.get_concrete_function(tf.zeros((1, 16, 16, 32))).graph
    written = sum(
        output.shape.num_elements() or 0
        for operation in graph.get_operations()
        for output in operation.outputs
        if output.dtype == "float32" and output.shape.is_fully_defined()
    )
    # 9 taps of 2 numbers at each position, and the 32 of the images.
    assert written < 10 * 16 * 16 * (9 * 2 + 32)


@pytest.mark.slow
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


@pytest.mark.slow
def test_strides_with_few_channels_do_not_corrupt_memory():
    """Under the instructions of any CPU, whatever the batches' sizes.

    oneDNN's own gradient crashes with AVX-512, at a smaller last batch, and is
    wrong with AVX2.
    """
    # A CPU without AVX-512 has the same under both names.
    has_more = "avx512f" in startup.cpu_flags()
    for instructions in ("ALL", "AVX2") if has_more else ("ALL",):
        subprocess.run(
            [sys.executable, "-c", TRAIN_POINTWISE],
            env={
                **os.environ,
                "TF_ENABLE_ONEDNN_OPTS": "1",
                "ONEDNN_MAX_CPU_ISA": instructions,
            },
            check=True,
            timeout=120,
        )


TRAIN_POINTWISE = """
import numpy as np, tensorflow as tf
from keras_jft.layers import Conv2D

tf.config.set_visible_devices([], "GPU")
rng = np.random.default_rng(0)
for side, features in (16, 4), (8, 3), (16, 8), (16, 15), (16, 16), (16, 17):
    layer = Conv2D(4, 1, strides=2)
    layer.build((None, side, side, features))

    @tf.function(input_signature=[tf.TensorSpec((None, side, side, features))])
    def gradient(images, layer=layer):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(images))
        return tape.gradient(loss, layer.kernel.value)

    for size in 4 * (16, 8, 5, 1):
        images = rng.normal(0, 1, (size, side, side, features))
        images = images.astype("float32")
        expected = images[:, ::2, ::2].sum((0, 1, 2), dtype="float64")
        found = gradient(images)[0, 0]
        np.testing.assert_allclose(found, expected[:, None] + np.zeros(4),
                                   rtol=1e-4, atol=1e-3)
"""


@pytest.mark.parametrize("side", [1, 2, 5, None])
@pytest.mark.parametrize("sides, strides", [(3, 2), ((7, 2), (3, 2))])
def test_a_tap_that_sees_no_pixel_has_no_gradient(side, sides, strides):
    """oneDNN leaves it uninitialized in bfloat16."""
    import tensorflow as tf

    layer = Conv2D(
        8, sides, strides, padding="same", use_bias=False, dtype="bfloat16"
    )
    layer.build((None, side, side, 4))

    @tf.function(
        input_signature=[tf.TensorSpec((4, side, side, 4), "bfloat16")]
    )
    def gradient(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(images))
        return tape.gradient(loss, layer.kernel.value)

    side = side or 1
    for _ in range(5):
        garbage = tf.fill(layer.kernel.shape, tf.constant(77.0, "bfloat16"))
        del garbage  # Its memory is given to the next that asks.
        found = gradient(tf.ones((4, side, side, 4), "bfloat16"))
        rows, columns = (
            _pixels_seen(side, length, stride)
            for length, stride in zip(
                layer.kernel_size, layer.strides, strict=True
            )
        )
        expected = 4 * np.outer(rows, columns)[:, :, None, None]
        np.testing.assert_array_equal(
            tf.cast(found, "int32"), expected + np.zeros((4, 8))
        )


def _pixels_seen(side, length, stride):
    """How many pixels of a side each tap of a kernel sees, under "same"."""
    stops = -(-side // stride)
    before = max((stops - 1) * stride + length - side, 0) // 2
    return [
        sum(0 <= stop * stride + tap - before < side for stop in range(stops))
        for tap in range(length)
    ]
