import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import training
from keras_jft.training import Optimization


@pytest.mark.ops
def test_the_learning_rate_grows_with_the_batch():
    config = Optimization(
        learning_rate=0.1, base_batch_size=256, schedule="constant"
    )
    for batch_size, rate in ((64, 0.025), (256, 0.1), (8192, 3.2)):
        scaled = dataclasses.replace(config, batch_size=batch_size)
        optimizer = scaled.build_optimizer()
        np.testing.assert_allclose(
            float(optimizer.learning_rate), rate, rtol=1e-6
        )
    assert Optimization(learning_rate=0.1, batch_size=8192).peak == 0.1


@pytest.mark.ops
@pytest.mark.parametrize("saved", [False, True])
def test_adamw_decays_kernels_alone(saved):
    config = Optimization(
        optimizer="adamw",
        weight_decay=0.5,
        learning_rate=0.1,
        schedule="constant",
    )
    kernel, bias = (
        keras.Variable(np.ones(2, "float32"), name=name)
        for name in ("kernel", "bias")
    )
    optimizer = config.build_optimizer()
    if saved:
        optimizer = keras.optimizers.deserialize(
            keras.optimizers.serialize(optimizer)
        )
    optimizer.build([kernel, bias])
    optimizer.apply([ops.zeros(2), ops.zeros(2)], [kernel, bias])
    np.testing.assert_allclose(ops.convert_to_numpy(kernel), 0.95, rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(bias), 1.0)


@pytest.mark.ops
def test_the_gradient_of_each_variable_is_clipped_by_itself():
    config = Optimization(
        clipnorm=1.0, momentum=0.0, learning_rate=1.0, schedule="constant"
    )
    large, small = (keras.Variable(np.zeros(2, "float32")) for _ in range(2))
    optimizer = config.build_optimizer()
    optimizer.build([large, small])
    optimizer.apply([ops.array([30.0, 40.0]), ops.array([0.3, 0.4])])
    np.testing.assert_allclose(ops.convert_to_numpy(large), [-0.6, -0.8])
    np.testing.assert_allclose(ops.convert_to_numpy(small), [-0.3, -0.4])


@pytest.mark.ops
def test_every_named_optimizer_and_schedule_is_built():
    for optimizer in training.OPTIMIZERS:
        for schedule in training.SCHEDULES:
            config = Optimization(
                optimizer=optimizer, schedule=schedule, boundaries=(2, 4)
            )
            built = config.build_optimizer(steps=8)
            assert isinstance(built, keras.optimizers.Optimizer)


def _five_batches():
    import tensorflow as tf

    x = np.ones((10, 3), "float32")
    return tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(2)


@pytest.mark.parametrize(
    "length, taken, epochs",
    [
        ({"epochs": 2}, 10, 2),
        ({"epochs": None, "steps": 3}, 3, 1),
        ({"epochs": None, "steps": 10}, 10, 2),
        ({"epochs": None, "steps": 12}, 12, 3),
    ],
    ids=str,
)
def test_a_run_takes_its_steps(length, taken, epochs):
    inputs = keras.Input((3,))
    model = training.Model(inputs, keras.layers.Dense(1)(inputs))
    config = Optimization(schedule="constant", **length)
    model.compile(config.build_optimizer(), loss="mse")
    history = training.fit(model, _five_batches(), config, verbose=0)
    assert int(model.optimizer.iterations) == taken
    assert len(history.history["loss"]) == epochs


@pytest.mark.ops
def test_bad_optimizations_are_refused():
    for both in ({"steps": 5}, {"epochs": None}):
        with pytest.raises(ValueError, match="Exactly one of `epochs` and"):
            Optimization(**both)
    with pytest.raises(ValueError, match="needs `boundaries`"):
        Optimization(schedule="piecewise")
    with pytest.raises(ValueError, match="needs `steps`"):
        Optimization(schedule="polynomial").build_optimizer()
    assert Optimization(epochs=None, steps=5).build_optimizer()


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"epochs": 0},
        {"epochs": None, "steps": -1},
        {"learning_rate": -1.0},
        {"l2": float("nan")},
        {"warmup": 1.0},
        {"schedule": "piecewise", "boundaries": (20, 10)},
    ],
    ids=str,
)
def test_numbers_out_of_range_are_refused(wrong):
    *_, name = wrong
    with pytest.raises(ValueError, match=f"`{name}`"):
        Optimization(**wrong)


class _Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            raise KeyboardInterrupt


@pytest.mark.ops
def test_a_run_by_steps_that_was_killed_takes_all_of_them(tmp_path):
    def run(*callbacks):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,))
        model = training.Model(inputs, keras.layers.Dense(1)(inputs))
        config = Optimization(schedule="constant", epochs=None, steps=8)
        model.compile(config.build_optimizer(), loss="mse")
        data = _five_batches()
        try:
            training.fit(model, data, config, callbacks, verbose=0)
        except KeyboardInterrupt:
            return None
        return model

    def checkpoint():
        return training.Checkpoint(tmp_path, save_every=1, asynchronous=False)

    whole = run()
    with pytest.warns(UserWarning, match="cannot know the position"):
        assert run(checkpoint(), _Kill()) is None
    with pytest.warns(UserWarning, match="cannot know the position"):
        resumed = run(checkpoint())
    for model in (whole, resumed):
        assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 8
    for ours, theirs in zip(resumed.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs)
        )
