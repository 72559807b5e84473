import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import metrics, training
from keras_jft.pretrain import MultiLabelClassifier


class _WholeEpoch(keras.metrics.Mean):
    """A metric whose result must not be asked for inside a step."""

    result_at_epoch_end = True

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(ops.mean(y_pred))

    def result(self):
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            assert not tf.inside_function()
        return super().result()


@pytest.mark.ops
def test_a_metric_over_a_whole_epoch_waits_for_the_end_of_evaluation(rng):
    inputs = keras.Input((3,))
    model = training.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", loss="mse", metrics=["mae", _WholeEpoch(name="late")])
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 1))
    history = model.fit(x, y, validation_data=(x, y), verbose=0).history
    assert set(history) == {
        *("loss", "mae"),
        *("val_loss", "val_mae", "val_late"),
    }
    model.fit(x, y, verbose=0)
    np.testing.assert_allclose(
        model.evaluate(x, y, verbose=0, return_dict=True)["late"],
        model.predict(x, verbose=0).mean(),
        rtol=1e-5,
    )


@pytest.mark.ops
def test_validation_reports_the_many_label_metric(plain_backbone, rng):
    metric = metrics.MeanAveragePrecision(k=2, max_images=8)
    model = MultiLabelClassifier(plain_backbone, 3)
    model.compile("sgd", metrics=[metric])
    batch = {
        "images": rng.integers(0, 256, (8, 16, 16, 3)).astype("uint8"),
        "labels": rng.integers(-1, 3, (8, 2)).astype("int32"),
    }
    # Four epochs of eight images do not fill a state made for eight.
    history = model.fit(
        batch, batch_size=4, epochs=4, validation_data=batch, verbose=0
    ).history
    assert set(history) == {"loss", "val_loss", "val_map"}
    expected = metrics.evaluate_multi_label(
        batch["labels"], model.predict(batch, verbose=0), k=2
    )
    np.testing.assert_allclose(
        history["val_map"][-1], expected["map"], rtol=1e-5
    )
