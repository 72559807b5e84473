import math

import keras
import numpy as np
import pytest

from keras_jft import training
from keras_jft.training import callbacks

pytestmark = pytest.mark.ops


class _Model:
    """What the callbacks ask of a model."""

    train_function = None


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves when it is told to."""
    now = [0.0]
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: now[0])
    return now


def test_throughput_counts_the_images_after_the_first_step(clock):
    throughput = training.Throughput(batch_size=64)
    throughput.set_model(_Model())
    throughput.on_epoch_begin(0)
    clock[0] = 30.0  # Tracing.
    for step in range(5):
        logs = {"loss": 1.0}
        throughput.on_train_batch_end(step, logs)
        clock[0] += 0.5
    assert logs["images_per_second"] == pytest.approx(64 / 0.5)
    clock[0] += 100.0  # Validation.
    logs = {}
    throughput.on_epoch_end(0, logs)
    assert logs["images_per_second"] == pytest.approx(64 / 0.5)


def test_throughput_of_one_step_is_not_said(clock):
    throughput = training.Throughput(batch_size=64)
    throughput.set_model(_Model())
    throughput.on_epoch_begin(0)
    logs = {}
    throughput.on_train_batch_end(0, logs)
    throughput.on_epoch_end(0, logs)
    assert logs == {}


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_names_epoch_and_step(loss):
    stop = training.StopOnNonFiniteLoss()
    stop.on_epoch_begin(3)
    stop.on_train_batch_end(6, {"loss": 2.5})
    with pytest.raises(FloatingPointError, match="epoch 4, step 8"):
        stop.on_train_batch_end(7, {"loss": loss})


def test_a_process_that_leaves_logs_to_another_keeps_the_rest(tmp_path):
    stop = keras.callbacks.EarlyStopping()
    writers = training.loggers(tmp_path, batch_size=4)
    kept = callbacks.without_writers([stop, *writers])
    assert kept == [stop, writers[0]]  # `Throughput` writes nothing.
    whole = keras.callbacks.CallbackList([stop])
    assert callbacks.without_writers(whole) is whole


def test_weights_that_are_not_finite_stop_the_run_whatever_the_loss():
    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    stop = training.StopOnNonFiniteLoss()
    stop.set_model(net)
    stop.on_epoch_end(0, {"loss": 1.0})
    kernel, bias = net.get_weights()
    kernel[1] = math.nan
    net.set_weights([kernel, bias])
    with pytest.raises(FloatingPointError, match=r"kernel.*epoch 3.*images"):
        stop.on_epoch_end(2, {"loss": 1.0})


def test_calls_come_after_their_steps_in_whatever_epoch():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(keras.optimizers.SGD(0.5), "mse")
    seen = []

    def call(step, model, logs):
        assert "loss" in logs
        weights = model.get_weights()
        seen.append((step, float(weights[0].sum())))

    x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
    calls = training.AtSteps({5: call, 2: call, 9: call})
    model.fit(x, y, batch_size=2, epochs=2, verbose=0, callbacks=[calls])
    assert [step for step, _ in seen] == [2, 5]
    assert seen[0][1] != seen[1][1]
    # A run that goes on, with an optimizer that has taken 8 steps.
    model.fit(x, y, batch_size=2, epochs=1, verbose=0, callbacks=[calls])
    assert [step for step, _ in seen] == [2, 5, 9]


def test_a_call_is_made_for_steps_that_are_taken_together():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse", steps_per_execution=4)
    seen = []
    calls = training.AtSteps({2: lambda step, *_: seen.append(step)})
    x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
    model.fit(x, y, batch_size=1, verbose=0, callbacks=[calls])
    assert seen == [2]
