import numpy as np
import pytest
from keras import ops

from keras_jft import training

pytestmark = pytest.mark.ops


@pytest.mark.parametrize("epsilon", [1.0, 1e-3, 1e-10])
def test_rmsprop_equals_tensorflow_1_over_ten_steps(epsilon, rng):
    import keras

    variable = keras.Variable(rng.normal(size=(5,)).astype("float32"))
    optimizer = training.TF1RMSprop(
        0.01, rho=0.9, momentum=0.9, epsilon=epsilon
    )
    optimizer.build([variable])
    value = ops.convert_to_numpy(variable).astype("float64")
    mean_square, momentum = np.ones(5), np.zeros(5)
    for _ in range(10):
        gradient = rng.normal(size=(5,)).astype("float32")
        optimizer.apply([ops.array(gradient)], [variable])
        mean_square = 0.9 * mean_square + 0.1 * gradient.astype("float64") ** 2
        momentum = 0.9 * momentum + 0.01 * gradient / np.sqrt(
            mean_square + epsilon
        )
        value -= momentum
    np.testing.assert_allclose(ops.convert_to_numpy(variable), value, rtol=1e-5)
