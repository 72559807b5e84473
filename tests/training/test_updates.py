import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import training

pytestmark = pytest.mark.ops


def _model(optimizer, **kwargs):
    inputs = keras.Input((3,))
    x = keras.layers.Dense(4, name="trunk")(inputs)
    x = keras.layers.BatchNormalization(name="trunk_bn")(x)
    outputs = keras.layers.Dense(2, name="aspp_6")(x)
    model = training.Model(inputs, outputs)
    model.compile(optimizer, loss="mse", **kwargs)
    return model


def _step(model, x, y):
    before = {v.path: ops.convert_to_numpy(v) for v in model.variables}
    model.fit(x, y, batch_size=len(x), epochs=1, verbose=0)
    return before, {v.path: ops.convert_to_numpy(v) for v in model.variables}


@pytest.fixture
def pair(rng):
    x = rng.normal(size=(8, 3)).astype("float32")
    return x, rng.normal(size=(8, 2)).astype("float32")


def test_l2_adds_to_the_gradient_of_kernels_alone(pair):
    keras.utils.set_random_seed(1)
    plain_before, plain = _step(_model(keras.optimizers.SGD(0.1)), *pair)
    keras.utils.set_random_seed(1)
    _, decayed = _step(_model(keras.optimizers.SGD(0.1), l2=0.3), *pair)
    for path in plain:
        if path.endswith("kernel"):
            expected = plain[path] - 0.1 * 0.3 * plain_before[path]
            np.testing.assert_allclose(decayed[path], expected, atol=1e-6)
        else:
            np.testing.assert_allclose(decayed[path], plain[path], atol=1e-6)


def test_l2_decays_both_kernels_of_a_separable_layer(rng):
    images = keras.Input((4, 4, 3))
    x = keras.layers.SeparableConv2D(2, 3, name="separable")(images)
    model = training.Model(images, keras.layers.Flatten()(x))
    model.compile(keras.optimizers.SGD(0.1), loss="mse", l2=0.3)
    # Images of zeros: without decay no kernel gets a gradient.
    images = np.zeros((2, 4, 4, 3), "float32")
    targets = rng.normal(size=(2, 8)).astype("float32")
    before, after = _step(model, images, targets)
    for name in ("depthwise_kernel", "pointwise_kernel"):
        path = f"separable/{name}"
        np.testing.assert_allclose(
            after[path], (1 - 0.03) * before[path], atol=1e-6
        )


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_multipliers_scale_the_step_of_their_layers(optimizer, pair):
    def one(multipliers):
        keras.utils.set_random_seed(1)
        model = _model(keras.optimizers.get(optimizer), multipliers=multipliers)
        before, after = _step(model, *pair)
        return {path: after[path] - before[path] for path in after}

    plain = one(None)
    scaled = one({"aspp": 10.0, "aspp/bias": 20.0})
    for path, factor in {
        "trunk/kernel": 1,
        "aspp_6/kernel": 10,
        "aspp_6/bias": 20,
    }.items():
        np.testing.assert_allclose(
            scaled[path], factor * plain[path], rtol=1e-3, atol=1e-6
        )


def test_a_multiplier_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match="starts no layer's name"):
        _model("sgd", multipliers={"heads": 2.0})
    with pytest.raises(ValueError, match="must not be negative"):
        _model("sgd", l2=-1.0)


def test_compiling_again_replaces_what_was_adjusted_before():
    x = np.zeros((4, 3), "float32")  # No gradient: the decay alone moves it.
    y = np.zeros((4, 2), "float32")
    model = _model(keras.optimizers.SGD(0.1), l2=0.1)
    for l2 in (0.1, 0.0):
        model.compile(model.optimizer, loss="mse", l2=l2)
        before, after = _step(model, x, y)
        np.testing.assert_allclose(
            after["trunk/kernel"],
            (1 - 0.1 * l2) * before["trunk/kernel"],
            rtol=1e-5,
        )


def test_layerwise_rates_fall_by_the_factor_from_stage_to_stage(
    tiny_backbone, rng
):
    from keras_jft import transfer

    images = rng.integers(0, 256, (4, 16, 16, 3)).astype("uint8")
    batch = {"images": images, "labels": np.arange(4, dtype="int32") % 3}
    moved = []
    for multipliers in (None, "layerwise:0.5"):
        keras.utils.set_random_seed(0)
        model = transfer.Classifier(tiny_backbone.rebuild(), 3)
        model.get_layer("head_logits").kernel.assign(
            np.linspace(-1, 1, 128 * 3).reshape(128, 3)
        )
        model.compile(keras.optimizers.SGD(0.01), multipliers=multipliers)
        before = {v.path: ops.convert_to_numpy(v) for v in model.variables}
        model.train_on_batch(batch)
        moved.append(
            {
                v.path: ops.convert_to_numpy(v) - before[v.path]
                for v in model.trainable_variables
            }
        )
    stages = ["head", "conv5", "conv4", "conv3", "conv2", "conv1"]
    for path, plain in moved[0].items():
        factor = 0.5 ** stages.index(path.split("_")[0])
        np.testing.assert_allclose(
            moved[1][path], factor * plain, rtol=0.02, atol=1e-6, err_msg=path
        )


@pytest.mark.parametrize(
    "multipliers", ["layerwise:", "layerwise:x", "layerwise:0", "0.75", 3]
)
def test_layerwise_rates_that_are_no_number_are_refused(multipliers):
    with pytest.raises(ValueError, match=r'"layerwise:0.75".*Received'):
        training.check_multipliers(multipliers)


def test_layerwise_rates_need_a_backbone():
    with pytest.raises(ValueError, match="need a model with a backbone"):
        _model("sgd", multipliers="layerwise:0.5")
