import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import pretrain

pytestmark = pytest.mark.ops


def _multi_hot(labels, num_classes):
    dense = np.zeros((len(labels), num_classes), "float32")
    for row, ids in enumerate(labels):
        for label in ids:
            if label >= 0:
                dense[row, label] = 1.0
    return dense


def _random_labels(rng, batch, slots, num_classes):
    labels = rng.integers(0, num_classes, (batch, slots))
    labels[rng.random(labels.shape) < 0.4] = -1
    return labels.astype("int32")


def test_equals_the_dense_binary_cross_entropy(rng):
    labels = _random_labels(rng, 16, 6, 50)
    logits = rng.normal(0, 4, (16, 50)).astype("float32")

    loss = pretrain.sigmoid_cross_entropy(labels, ops.array(logits))

    p = 1 / (1 + np.exp(-logits.astype("float64")))
    y = _multi_hot(labels, 50)
    expected = -(y * np.log(p) + (1 - y) * np.log1p(-p)).sum(axis=1)
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=1e-6)


def test_equals_keras_over_the_dense_target(rng):
    labels = _random_labels(rng, 8, 4, 30)
    logits = rng.normal(0, 3, (8, 30)).astype("float32")

    loss = pretrain.MultiLabelLoss()(labels, logits)

    dense = keras.losses.BinaryCrossentropy(from_logits=True)
    expected = 30 * dense(_multi_hot(labels, 30), logits)
    np.testing.assert_allclose(float(loss), float(expected), rtol=1e-6)


def test_padding_may_stand_anywhere_and_a_repeated_id_counts_once(rng):
    logits = ops.array(rng.normal(size=(1, 9)).astype("float32"))
    plain = pretrain.sigmoid_cross_entropy(np.array([[2, 5]]), logits)
    messy = pretrain.sigmoid_cross_entropy(
        np.array([[-1, 5, -1, 2, 5, 2, -1]]), logits
    )
    np.testing.assert_array_equal(
        ops.convert_to_numpy(plain), ops.convert_to_numpy(messy)
    )


def test_large_logits_do_not_overflow():
    loss = pretrain.sigmoid_cross_entropy(
        np.array([[0]]), ops.array([[-300.0, 300.0]])
    )
    np.testing.assert_allclose(ops.convert_to_numpy(loss), [600.0])


def test_wide_ids_survive_a_bfloat16_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        logits = np.zeros((1, 18_291), "float32")
        logits[0, 18_290] = 30.0
        loss = pretrain.MultiLabelLoss()(np.array([[18_290]]), logits)
    finally:
        keras.config.set_dtype_policy(before)
    # Reading id 18290 as 18304 would add 30, a relative 2e-3.
    np.testing.assert_allclose(float(loss), 18_290 * np.log(2), rtol=1e-5)


def test_loss_survives_its_config():
    loss = pretrain.MultiLabelLoss(name="other", reduction="sum")
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert (again.name, again.reduction) == ("other", "sum")
