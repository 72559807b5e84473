"""FusedBatchNormalization: against Keras's own and the formula by NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.layers import FusedBatchNormalization

pytestmark = pytest.mark.rewritten

EPSILON, MOMENTUM = 1e-5, 0.9


def _arrays(rng, shape):
    """Inputs off the origin, an output gradient, and weights of a layer."""
    inputs = rng.normal(2, 3, shape).astype("float32")
    gradient = rng.normal(0, 1, shape).astype("float32")
    weights = rng.uniform(0.5, 1.5, (4, shape[-1])).astype("float32")
    return inputs, gradient, list(weights)


def _step(layer, arrays, training=True, jit_compile=False):
    """Outputs, gradients, moving statistics after one step, in float32."""
    import tensorflow as tf

    inputs, gradient, weights = arrays
    layer.build(inputs.shape)
    layer.set_weights(weights[: len(layer.weights)])

    @tf.function(jit_compile=jit_compile)
    def step(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
        variables = [v.value for v in (layer.gamma, layer.beta)]
        return [y, *tape.gradient(y, [x, *variables], output_gradients=dy)]

    x, dy = (tf.cast(a, layer.compute_dtype) for a in (inputs, gradient))
    y, dx, dgamma, dbeta = step(x, dy)
    named = {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}
    named |= {"mean": layer.moving_mean, "variance": layer.moving_variance}
    return {
        name: ops.convert_to_numpy(ops.cast(value, "float32"))
        for name, value in named.items()
    }


def _fused(dtype="float32", **kwargs):
    return FusedBatchNormalization(
        momentum=MOMENTUM, epsilon=EPSILON, dtype=dtype, **kwargs
    )


def _stock(dtype="float32", **kwargs):
    return keras.layers.BatchNormalization(
        momentum=MOMENTUM, epsilon=EPSILON, dtype=dtype, **kwargs
    )


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(8, 7, 5, 6), (16, 16, 16, 3)])
def test_float32_equals_keras(rng, shape, training, jit_compile):
    arrays = _arrays(rng, shape)
    ours = _step(_fused(), arrays, training, jit_compile)
    theirs = _step(_stock(), arrays, training)
    for name, value in theirs.items():
        atol = 1e-5 * np.abs(value).max()
        np.testing.assert_allclose(
            ours[name], value, rtol=1e-5, atol=atol, err_msg=name
        )


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_bfloat16_is_within_one_unit_in_the_last_place_of_float32(
    rng, training, jit_compile
):
    inputs, gradient, weights = _arrays(rng, (16, 9, 9, 5))
    as_stored = [
        ops.convert_to_numpy(ops.cast(ops.cast(a, "bfloat16"), "float32"))
        for a in (inputs, gradient)
    ]
    arrays = (*as_stored, weights)
    ours = _step(_fused("mixed_bfloat16"), arrays, training, jit_compile)
    theirs = _step(_stock("float32"), arrays, training)
    for name, value in theirs.items():
        # bfloat16 has 8 significant bits; parameters stay in float32.
        unit = 2.0 ** (np.floor(np.log2(np.abs(value) + 1e-30)) - 7)
        if name not in ("y", "dx"):
            unit = 1e-5 * np.abs(value).max()
        excess = np.abs(ours[name] - value) - unit
        assert excess.max() <= 1e-5 * np.abs(value).max(), name


def test_one_value_per_channel_normalizes_to_the_offset(rng):
    inputs, gradient, weights = _arrays(rng, (1, 1, 1, 4))
    ours = _step(_fused(), (inputs, gradient, weights))
    _, beta, mean, variance = weights
    np.testing.assert_allclose(ours["y"][0, 0, 0], beta, rtol=1e-5)
    np.testing.assert_allclose(
        ours["mean"], 0.9 * mean + 0.1 * inputs[0, 0, 0], rtol=1e-5
    )
    np.testing.assert_allclose(ours["variance"], 0.9 * variance, rtol=1e-5)


def test_an_empty_batch_changes_nothing_and_has_no_gradient(rng):
    arrays = _arrays(rng, (0, 3, 3, 4))
    ours = _step(_fused(), arrays)
    assert ours["y"].shape == (0, 3, 3, 4)
    np.testing.assert_array_equal(ours["mean"], arrays[2][2])
    np.testing.assert_array_equal(ours["variance"], arrays[2][3])
    np.testing.assert_array_equal(ours["dgamma"], np.zeros(4))
    np.testing.assert_array_equal(ours["dbeta"], np.zeros(4))


@pytest.mark.ops
def test_training_equals_the_formula_of_the_paper(rng):
    x = rng.normal(5, 2, (6, 4, 4, 3))
    layer = _fused()
    outputs = ops.convert_to_numpy(layer(x.astype("float32"), training=True))
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    expected = (x - mean) / np.sqrt(variance + EPSILON)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.moving_mean), 0.1 * mean, rtol=1e-5
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.moving_variance),
        0.9 + 0.1 * variance,
        rtol=1e-5,
    )


@pytest.mark.ops
@pytest.mark.parametrize(
    "shape, arguments",
    [
        ((4, 5, 5, 3), {"scale": False}),
        ((4, 5, 5, 3), {"center": False}),
        ((4, 3, 5, 5), {"axis": 1}),
        ((4, 5, 3), {}),
        ((4, 3), {}),
        ((4, 2, 5, 5, 3), {}),
        ((4, 5, 5, 3), {"renorm": True}),
    ],
    ids=str,
)
def test_every_other_case_equals_keras(rng, shape, arguments):
    x = rng.normal(5, 2, shape).astype("float32")
    for training in (True, False):
        ours, theirs = (
            make(**arguments)(x, training=training) for make in (_fused, _stock)
        )
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(
            ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), atol=1e-5
        )


def test_float64_is_not_narrowed(rng):
    x = rng.normal(5, 2, (4, 5, 5, 3))
    ours, theirs = (
        make("float64")(x, training=True) for make in (_fused, _stock)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.ops
def test_masked_positions_do_not_count(rng):
    x = rng.normal(5, 2, (4, 5, 5, 3)).astype("float32")
    mask = rng.random((4, 5, 5)) < 0.5
    layer = _fused()
    layer(x, training=True, mask=mask)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.moving_mean),
        0.1 * x[mask].mean(0),
        rtol=1e-4,
    )


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_images_take_the_kernel(rng, monkeypatch, dtype):
    import tensorflow as tf

    def stop(**_):
        raise RuntimeError("the kernel")

    monkeypatch.setattr(tf.raw_ops, "FusedBatchNormV3", stop)
    with pytest.raises(RuntimeError, match="the kernel"):
        _fused(dtype)(rng.normal(0, 1, (2, 3, 3, 4)), training=True)


@pytest.mark.ops
def test_a_frozen_layer_uses_and_keeps_its_moving_statistics(rng):
    x = rng.normal(5, 2, (4, 5, 5, 3)).astype("float32")
    layer = _fused()
    layer(x, training=True)
    layer.trainable = False
    before = [ops.convert_to_numpy(w) for w in layer.weights]
    frozen = layer(x, training=True)
    for old, new in zip(before, layer.weights, strict=True):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(new))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(frozen),
        ops.convert_to_numpy(layer(x, training=False)),
    )


def test_replicas_normalize_their_own_images(rng):
    import tensorflow as tf

    x = rng.normal(2, 3, (7, 4, 4, 3)).astype("float32")
    halves = [x[:5], x[5:]]
    from keras_jft.training import strategy as get_strategy

    strategy = get_strategy("mirrored", devices=["CPU:0", "CPU:1"])
    with strategy.scope():
        layer = _fused()
        layer.build(x.shape)

    def half(context):
        return tf.constant(halves[context.replica_id_in_sync_group])

    values = strategy.experimental_distribute_values_from_function(half)

    @tf.function
    def step(values):
        return strategy.run(lambda v: layer(v, training=True), (values,))

    outputs = strategy.experimental_local_results(step(values))
    for output, part in zip(outputs, halves, strict=True):
        expected = (part - part.mean((0, 1, 2))) / part.std((0, 1, 2))
        np.testing.assert_allclose(output, expected, atol=1e-4)


@pytest.mark.ops
def test_batch_normalization_is_saved_with_its_arguments(tmp_path, rng):
    model = keras.Sequential([keras.Input((4, 4, 3)), _fused(center=False)])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[0]) is FusedBatchNormalization
    assert loaded.layers[0].get_config() == model.layers[0].get_config()
    assert loaded.layers[0].momentum == MOMENTUM


@pytest.mark.ops
@pytest.mark.parametrize("mode", ["affine", "frozen"])
def test_statistics_may_stay_in_training(rng, mode):
    layer = _fused(mode=mode)
    x = rng.normal(5, 2, (6, 4, 4, 3)).astype("float32")
    layer.build(x.shape)
    mean, variance = np.array([1, 2, 3.0]), np.array([4, 1, 0.25])
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    outputs = ops.convert_to_numpy(layer(x, training=True))
    expected = (x - mean) / np.sqrt(variance + EPSILON)
    np.testing.assert_allclose(outputs, expected, atol=1e-4)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.moving_mean), mean)
    names = [w.name for w in layer.trainable_weights]
    assert names == (["gamma", "beta"] if mode == "affine" else [])
    # Freezing and freeing a layer does not change what trains.
    layer.trainable = False
    layer.trainable = True
    assert [w.name for w in layer.trainable_weights] == names
    again = FusedBatchNormalization.from_config(layer.get_config())
    assert again.mode == mode


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="`mode` must be one of"):
        _fused(mode="off")
