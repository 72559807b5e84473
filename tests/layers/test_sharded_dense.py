"""ShardedDense: against one Dense layer, and the paper's widths."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.layers import ShardedDense

pytestmark = pytest.mark.rewritten


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
