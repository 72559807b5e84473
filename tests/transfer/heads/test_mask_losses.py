"""Losses of masks, by hand and by a loop over pixels."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from keras_jft.transfer.heads.mask_losses import (
    SubsampledCrossentropy,
    UpsampledCrossentropy,
    subsampled_cross_entropy,
    upsampled_cross_entropy,
)

pytestmark = pytest.mark.ops


def test_the_loss_leaves_void_out_and_weighs_positions_alike():
    masks = np.full((1, 5, 5, 1), 255, "uint8")
    masks[0, 0, 0, 0], masks[0, 4, 2, 0] = 1, 0
    masks[0, 1, 1, 0] = 1  # between the positions that count
    logits = np.zeros((1, 3, 3, 2), "float32")
    logits[0, 0, 0] = [0.0, np.log(3.0)]
    losses, counted = subsampled_cross_entropy(masks, ops.array(logits), 2)
    assert ops.convert_to_numpy(counted).sum() == 2
    expected = np.zeros((1, 3, 3))
    expected[0, 0, 0], expected[0, 2, 1] = np.log(4 / 3), np.log(2)
    np.testing.assert_allclose(
        ops.convert_to_numpy(losses), expected, atol=1e-6
    )
    mean = SubsampledCrossentropy(2)(masks, logits)
    np.testing.assert_allclose(
        float(mean), (np.log(4 / 3) + np.log(2)) / 2, rtol=1e-6
    )


def test_an_all_void_mask_costs_nothing():
    masks = np.full((2, 4, 4, 1), 255, "uint8")
    assert float(SubsampledCrossentropy(2)(masks, np.ones((2, 2, 2, 3)))) == 0


def test_the_loss_at_each_pixel_is_that_of_interpolated_logits(rng):
    logits = rng.normal(size=(2, 3, 2, 4)).astype("float32")
    masks = rng.integers(0, 4, (2, 5, 3, 1)).astype("uint8")
    masks[rng.random(masks.shape) < 0.3] = 255
    rows, columns = np.meshgrid(
        np.arange(5) / 2, np.arange(3) / 2, indexing="ij"
    )
    expected = np.zeros((2, 5, 3))
    for image, y, x in np.ndindex(expected.shape):
        if masks[image, y, x, 0] == 255:
            continue
        scores = [
            ndimage.map_coordinates(
                logits[image, ..., c], [rows, columns], order=1, mode="nearest"
            )[y, x]
            for c in range(4)
        ]
        truth = scores[masks[image, y, x, 0]]
        expected[image, y, x] = np.log(np.exp(scores).sum()) - truth
    losses, counted = upsampled_cross_entropy(masks, ops.array(logits), 2)
    np.testing.assert_allclose(
        ops.convert_to_numpy(losses), expected, atol=1e-5
    )
    np.testing.assert_array_equal(
        ops.convert_to_numpy(counted), masks[..., 0] != 255
    )
    mean = float(UpsampledCrossentropy(2)(masks, logits))
    assert mean == pytest.approx(expected.sum() / (masks != 255).sum())


@pytest.mark.parametrize("cls", [SubsampledCrossentropy, UpsampledCrossentropy])
def test_the_arguments_of_a_loss_survive_saving(cls):
    loss = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(cls(4, name="other"))
    )
    assert (loss.stride, loss.name) == (4, "other")


@pytest.mark.parametrize("label", [3, 7])
def test_a_label_that_is_not_a_class_is_not_learned(label):
    masks = np.full((1, 4, 4, 1), label, "uint8")
    if keras.backend.backend() == "tensorflow":
        with pytest.raises(Exception, match="outside the valid range"):
            SubsampledCrossentropy(2)(masks, np.ones((1, 2, 2, 3), "float32"))
    else:
        loss = SubsampledCrossentropy(2)(masks, np.ones((1, 2, 2, 3)))
        assert np.isnan(float(loss))
