"""Layers: against Keras's own, NumPy formulas and numbers worked by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import layers
from keras_jft.layers import (
    Conv2D,
    ImageScaling,
    ShardedDense,
)


@pytest.mark.ops
def test_caffe_scaling_is_that_of_keras_applications(rng):
    images = rng.integers(0, 256, (2, 4, 5, 3)).astype("uint8")
    expected = keras.applications.imagenet_utils.preprocess_input(
        images.astype("float32"), data_format="channels_last", mode="caffe"
    )
    scaled = ops.convert_to_numpy(ImageScaling("caffe")(images))
    np.testing.assert_allclose(scaled, expected, atol=1e-4)


@pytest.mark.ops
def test_bfloat16_keeps_all_256_pixel_values_apart():
    pixels = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1).repeat(3, -1)
    scaled = ImageScaling("jft", dtype="mixed_bfloat16")(pixels)
    assert keras.backend.standardize_dtype(scaled.dtype) == "bfloat16"
    assert (
        len(np.unique(ops.convert_to_numpy(ops.cast(scaled, "float32")))) == 256
    )


@pytest.mark.ops
def test_bfloat16_rounds_once_and_after_scaling(rng):
    pixels = rng.uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    scaled = ImageScaling("jft", dtype="mixed_bfloat16")(pixels)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(scaled, "float32")),
        pixels / 127.5 - 1,
        # Half a unit in the last place of what is below 1.
        atol=2.0**-9,
    )


@pytest.mark.ops
def test_unknown_scaling_is_refused():
    with pytest.raises(ValueError, match="`scaling` must be one of .*caffe"):
        ImageScaling("torch")


def _sharded_and_dense(units, shards, features, **kwargs):
    """A ShardedDense and the Dense of its concatenated weights."""
    sharded = ShardedDense(units, shards, **kwargs)
    sharded.build((None, features))
    dense = keras.layers.Dense(units)
    dense.build((None, features))
    dense.kernel.assign(ops.concatenate(sharded.kernels, axis=-1))
    dense.bias.assign(ops.concatenate(sharded.biases, axis=-1))
    return sharded, dense


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


def test_dilated_kernels_need_no_gradient_of_tensorflow(monkeypatch, rng):
    images = rng.normal(0, 1, (1, 5, 7, 16)).astype("float32")
    layer = Conv2D(16, 3, dilation_rate=2, padding="same")
    expected = layer(images)
    monkeypatch.setattr(layers, "_trains_dilated", lambda: False)
    np.testing.assert_allclose(layer(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.ops
@pytest.mark.parametrize("shards", [1, 3, 7])
def test_shards_compute_what_one_dense_layer_does(rng, shards):
    sharded, dense = _sharded_and_dense(
        7, shards, 5, bias_initializer="random_normal"
    )
    for shape in [(4, 5), (2, 3, 5)]:
        x = rng.normal(0, 1, shape).astype("float32")
        np.testing.assert_allclose(
            ops.convert_to_numpy(sharded(x)),
            ops.convert_to_numpy(dense(x)),
            rtol=1e-6,
            atol=1e-6,
        )


def test_gradients_of_shards_are_those_of_one_dense_layer(rng):
    import tensorflow as tf

    sharded, dense = _sharded_and_dense(7, 3, 5)
    x = tf.constant(rng.normal(0, 1, (4, 5)).astype("float32"))
    dy = rng.normal(0, 1, (4, 7)).astype("float32")

    def gradients(layer, variables):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        values = [v.value for v in variables]
        return tape.gradient(y, [x, *values], output_gradients=dy)

    dx, *rest = gradients(sharded, [*sharded.kernels, *sharded.biases])
    expected = gradients(dense, [dense.kernel, dense.bias])
    np.testing.assert_allclose(dx, expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        np.concatenate(rest[:3], axis=-1), expected[1], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        np.concatenate(rest[3:], axis=-1), expected[2], rtol=1e-5, atol=1e-6
    )


@pytest.mark.ops
def test_the_paper_s_head_has_41_shards_of_366_and_9_of_365():
    layer = ShardedDense(18_291, 50)
    layer.build((None, 2))
    widths = [kernel.shape[-1] for kernel in layer.kernels]
    assert widths == [366] * 41 + [365] * 9
    assert sum(widths) == 18_291
    assert [bias.shape for bias in layer.biases] == [(w,) for w in widths]


@pytest.mark.ops
def test_variables_placed_in_turn_spread_kernels_evenly_over_servers():
    layer = ShardedDense(10, 10)
    layer.build((None, 2))
    for servers in (2, 3, 5):
        placed = [layer.weights[i::servers] for i in range(servers)]
        kernels = [
            sum(v.name.startswith("kernel") for v in held) for held in placed
        ]
        assert max(kernels) - min(kernels) <= 1


@pytest.mark.ops
@pytest.mark.parametrize("prior", ["zeros", "array"])
def test_initial_weights_are_those_of_a_dense_layer_of_one_seed(prior):
    kernel = keras.initializers.GlorotUniform(seed=3)
    bias = {
        "zeros": "zeros",
        "array": keras.initializers.Constant(np.arange(7, dtype="float32")),
    }[prior]
    arguments = {"kernel_initializer": kernel, "bias_initializer": bias}
    dense = keras.layers.Dense(7, **arguments)
    sharded = ShardedDense(7, 3, **arguments)
    dense.build((None, 5))
    sharded.build((None, 5))
    for whole, parts in (
        (dense.kernel, sharded.kernels),
        (dense.bias, sharded.biases),
    ):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(whole),
            ops.convert_to_numpy(ops.concatenate(parts, axis=-1)),
        )


@pytest.mark.ops
def test_a_sharded_layer_is_saved_with_its_arguments(tmp_path, rng):
    layer = ShardedDense(
        7, 3, kernel_initializer="he_normal", bias_initializer="ones"
    )
    model = keras.Sequential([keras.Input((5,)), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].get_config() == layer.get_config()
    x = rng.normal(0, 1, (4, 5)).astype("float32")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(loaded(x)), ops.convert_to_numpy(model(x))
    )


@pytest.mark.ops
@pytest.mark.parametrize("shards", [0, 8])
def test_more_shards_than_units_are_refused(shards):
    with pytest.raises(ValueError, match="between 1 and `units`"):
        ShardedDense(7, shards)
