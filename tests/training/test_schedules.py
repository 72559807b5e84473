import keras
import numpy as np
import pytest

from keras_jft import training

pytestmark = pytest.mark.ops


def _rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_a_staircase_falls_at_every_multiple_of_its_steps():
    schedule = training.staircase(5e-2, 1_200_000, 0.1)
    steps = (0, 1_199_999, 1_200_000, 2_400_000, 4_999_999)
    np.testing.assert_allclose(
        _rates(schedule, steps), [5e-2, 5e-2, 5e-3, 5e-4, 5e-6], rtol=1e-5
    )


def test_a_piecewise_rate_falls_at_its_boundaries():
    # Faster R-CNN on COCO: 4e-4, a tenth at 900K and 1.2M steps.
    schedule = training.piecewise(4e-4, (900_000, 1_200_000), 0.1)
    steps = (0, 899_999, 900_000, 1_199_999, 1_200_000)
    np.testing.assert_allclose(
        _rates(schedule, steps), [4e-4, 4e-4, 4e-5, 4e-5, 4e-6], rtol=1e-5
    )


def test_a_polynomial_ends_at_zero():
    # DeepLab: 1e-3 (1 - step / 30k) ** 0.9; a half to the 0.9 is 0.535887.
    schedule = training.polynomial(1e-3, 30_000, 0.9)
    np.testing.assert_allclose(
        _rates(schedule, (0, 15_000, 29_999, 30_000)),
        [1e-3, 0.535887e-3, 1e-3 * (1 / 30_000) ** 0.9, 0.0],
        # float32 of 1 - 29999 / 30000.
        rtol=2e-3,
    )


def test_warm_up_is_a_line_and_then_a_cosine():
    schedule = training.warmup_cosine(0.8, 1_000, warmup=0.2)
    # Of the 800 steps after the warm-up: a third leaves (1 + cos 60) / 2.
    steps = (0, 50, 200, 200 + 800 / 3, 600, 1_000)
    np.testing.assert_allclose(
        _rates(schedule, steps), [0, 0.2, 0.8, 0.6, 0.4, 0], atol=1e-6
    )


@pytest.mark.parametrize(
    "schedule",
    [
        training.staircase(0.1, 2, 0.5),
        training.piecewise(0.1, (2, 4), 0.5),
        training.polynomial(0.1, 8, 0.9),
        training.warmup_cosine(0.1, 8),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_an_optimizer_is_saved_with_its_schedule(schedule):
    optimizer = keras.optimizers.SGD(schedule)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert _rates(again._learning_rate, range(8)) == _rates(schedule, range(8))
