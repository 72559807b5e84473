"""The losses against NumPy over all pixels."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.transfer.heads.pose.losses import (
    PoseLoss,
    huber_of_norm,
    keypoint_losses,
)
from keras_jft.transfer.heads.upsampling import upsample

pytestmark = pytest.mark.ops
SIZE, STRIDE, RADIUS, K = (17, 13), 4, 3.0, 2


@pytest.fixture
def people():
    """Two crops of two people; in the second one keypoint is not labeled."""
    people = np.zeros((2, 2, K, 3), "float32")
    people[0, 0] = [6.3, 8.2, 2], [12.8, 0.4, 1]
    people[0, 1] = [8.0, 9.0, 2], [3.0, 3.0, 2]
    people[1, 0, 0] = 2.5, 14.5, 2
    people[1, 1, 1] = 5.0, 5.0, 2
    return people


@pytest.fixture
def outputs(rng):
    """Raw outputs, of offsets both shorter and longer than one pixel."""
    return rng.normal(0, 2, (2, 5, 4, 4 * K)).astype("float32")


def _expected(people, outputs):
    """`(3, B, K)`: pixel by pixel, keypoint by keypoint."""
    pixels = ops.convert_to_numpy(upsample(ops.array(outputs), SIZE, STRIDE))
    losses = np.zeros((3, len(people), K))
    for b, crop in enumerate(people):
        for k in range(K):
            if crop[0, k, 2] == 0:
                continue
            for row in range(SIZE[0]):
                for column in range(SIZE[1]):
                    inside = [
                        person[k, 2] > 0
                        and np.hypot(
                            person[k, 0] - column - 0.5,
                            person[k, 1] - row - 0.5,
                        )
                        <= RADIUS
                        for person in crop
                    ]
                    values = pixels[b, row, column].astype("float64")
                    sign = -1 if inside[0] else 1
                    logistic = np.log1p(np.exp(sign * values[[k, 3 * K + k]]))
                    losses[0, b, k] += logistic[0]
                    if inside[0]:
                        error = values[K + 2 * k : K + 2 * k + 2] - (
                            crop[0, k, :2] - [column + 0.5, row + 0.5]
                        )
                        norm = np.hypot(*error)
                        losses[1, b, k] += (
                            norm**2 / 2 if norm < 1 else norm - 0.5
                        )
                    if inside[0] or not inside[1]:
                        losses[2, b, k] += logistic[1]
    return losses


def test_losses_equal_sums_over_all_pixels(people, outputs):
    found = keypoint_losses(
        ops.array(people), ops.array(outputs), SIZE, STRIDE, RADIUS
    )
    found = np.stack([ops.convert_to_numpy(part) for part in found])
    expected = _expected(people, outputs)
    assert (expected[:, 1, 1] == 0).all(), "not labeled"
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_without_people_in_the_background_no_pixel_is_excluded(people, outputs):
    found = keypoint_losses(
        ops.array(people[:, :1]), ops.array(outputs), SIZE, STRIDE, RADIUS
    )
    people[:, 1] = 0
    expected = _expected(people, outputs)
    for part, loss in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(part), loss, rtol=1e-4, atol=1e-3
        )


def test_the_loss_weighs_heat_4_and_offsets_1(people, outputs):
    heat, offsets, auxiliary = _expected(people, outputs)
    loss = PoseLoss(SIZE, STRIDE, RADIUS, weights=(4.0, 1.0))
    total = (4 * (heat + auxiliary) + offsets).sum() / (np.pi * RADIUS**2)
    np.testing.assert_allclose(
        float(loss(people, outputs)), total / 2, rtol=1e-4
    )
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()


def test_crops_without_a_labeled_keypoint_cost_nothing(people, outputs):
    loss = PoseLoss(SIZE, STRIDE, RADIUS)
    assert float(loss(np.zeros_like(people), outputs)) == 0


def test_the_huber_loss_is_that_of_keras_of_the_norm(rng):
    errors = rng.normal(0, 1, (50, 2)).astype("float32")
    norms = np.hypot(*errors.T)
    expected = keras.losses.Huber(delta=1.0, reduction=None)(
        np.zeros((50, 1)), norms[:, None]
    )
    found = huber_of_norm(ops.array(norms**2))
    np.testing.assert_allclose(
        ops.convert_to_numpy(found),
        ops.convert_to_numpy(expected),
        rtol=1e-5,
        atol=1e-7,
    )
