import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.transfer import Classifier
from keras_jft.transfer.heads.classification import smoothed_cross_entropy

pytestmark = pytest.mark.ops


def test_label_smoothing_is_that_of_keras_over_dense_targets(rng):
    logits = rng.normal(0, 2, (5, 7)).astype("float32")
    labels = np.array([0, 6, 3, 3, 1])
    for smoothing in (0.0, 0.3):
        dense = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=smoothing, reduction=None
        )
        np.testing.assert_allclose(
            ops.convert_to_numpy(
                smoothed_cross_entropy(labels, ops.array(logits), smoothing)
            ),
            ops.convert_to_numpy(dense(np.eye(7)[labels], logits)),
            rtol=1e-5,
        )


def test_a_classifier_trains_with_its_own_smoothing(tiny_backbone, rng):
    batch = {
        "images": rng.integers(0, 256, (4, 16, 16, 3)).astype("uint8"),
        "labels": np.array([0, 1, 2, 1], "int32"),
    }
    model = Classifier(tiny_backbone, 3, label_smoothing=0.4)
    model.compile("sgd")
    scores = model.evaluate(batch, verbose=0, return_dict=True)
    logits = model.predict(batch, verbose=0).astype("float64")
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = 0.6 * np.eye(3)[batch["labels"]] + 0.4 / 3
    np.testing.assert_allclose(
        scores["loss"], -(targets * logs).sum(axis=1).mean(), rtol=1e-5
    )
    assert model.get_config()["label_smoothing"] == 0.4
    with pytest.raises(ValueError, match="`label_smoothing` must lie in"):
        Classifier(tiny_backbone, 3, label_smoothing=1.0)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_not_a_class_is_not_learned(label):
    logits = np.zeros((1, 3), "float32")
    if keras.backend.backend() == "tensorflow":
        with pytest.raises(Exception, match="outside the valid range"):
            smoothed_cross_entropy(np.int32([label]), logits, 0.1)
    else:
        found = smoothed_cross_entropy(np.int32([label]), logits, 0.1)
        assert np.isnan(ops.convert_to_numpy(found)).all()
