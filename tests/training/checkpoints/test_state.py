import keras
import numpy as np
import pytest

from keras_jft.training.checkpoints import state


def _model(units=2):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.ops
def test_a_snapshot_is_a_copy_that_gives_the_state_back():
    model = _model()
    before = state.snapshot(model, metrics=False)
    model.set_weights([w + 1 for w in model.get_weights()])
    state.restore(model, before)
    after = state.snapshot(model, metrics=False)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


@pytest.mark.ops
def test_a_weight_of_another_shape_is_named():
    saved = state.snapshot(_model(units=4), metrics=False)
    with pytest.raises(ValueError, match=r"kernel: \(3, 4\).*\(3, 2\)"):
        state.restore(_model(), saved)


def test_nan_and_infinity_are_named_but_in_metrics():
    arrays = {
        "model/a": np.float32([1, np.nan]),
        "optimizer/b": np.float32([np.inf]),
        "model/c": np.int32([1]),
        "metrics/d": np.float32([np.nan]),
    }
    assert state.not_finite(arrays) == ["model/a", "optimizer/b"]
