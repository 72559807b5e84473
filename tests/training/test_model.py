import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import training
from keras_jft.pretrain import MultiLabelClassifier


def _batches(rng, sizes, num_classes=3):
    """Contract batches of the given sizes, as a tf.data.Dataset."""
    import tensorflow as tf

    def generate():
        for size in sizes:
            yield {
                "images": rng.integers(0, 256, (size, 16, 16, 3), "uint8"),
                "labels": rng.integers(-1, num_classes, (size, 2), "int32"),
            }

    return tf.data.Dataset.from_generator(
        generate,
        output_signature={
            "images": tf.TensorSpec((None, 16, 16, 3), tf.uint8),
            "labels": tf.TensorSpec((None, 2), tf.int32),
        },
    ).apply(tf.data.experimental.assert_cardinality(len(sizes)))


def test_fit_evaluate_and_predict_take_contract_batches(plain_backbone, rng):
    model = MultiLabelClassifier(plain_backbone, 3)
    model.compile("sgd")
    history = model.fit(
        _batches(rng, [4, 4, 3]),
        validation_data=_batches(rng, [4]),
        epochs=1,
        verbose=0,
    )
    assert set(history.history) == {"loss", "val_loss"}
    assert np.isfinite(model.evaluate(_batches(rng, [4, 1]), verbose=0))
    assert model.predict(_batches(rng, [4, 1]), verbose=0).shape == (5, 3)


@pytest.mark.ops
def test_a_loss_that_is_not_finite_stops_the_step(plain_backbone, rng):
    model = MultiLabelClassifier(plain_backbone, 3)
    model.compile(keras.optimizers.SGD(1e30))
    seen = []
    watcher = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda step, logs: seen.append(float(logs["loss"]))
    )
    batch = {
        "images": rng.integers(0, 256, (32, 16, 16, 3)).astype("uint8"),
        "labels": rng.integers(0, 3, (32, 2)).astype("int32"),
    }
    with pytest.raises(FloatingPointError, match="epoch 1, step [2-8]"):
        model.fit(batch, batch_size=4, epochs=3, callbacks=[watcher], verbose=0)
    assert np.isfinite(seen).all()


@pytest.mark.ops
def test_reset_trains_as_a_fresh_model_does(rng):
    def fresh():
        keras.utils.set_random_seed(3)
        inputs = keras.Input((3,))
        x = keras.layers.Dropout(0.5)(inputs)
        return training.Model(inputs, keras.layers.Dense(2)(x))

    x = rng.normal(size=(16, 3)).astype("float32")
    y = rng.normal(size=(16, 2)).astype("float32")

    def train(model):
        keras.utils.set_random_seed(4)
        model.fit(x, y, batch_size=4, epochs=2, verbose=0, shuffle=False)
        return [ops.convert_to_numpy(v) for v in model.weights]

    schedule = training.warmup_cosine(0.1, steps=8)
    model = fresh()
    model.compile(keras.optimizers.Adam(schedule), loss="mse")
    first = train(model)
    training.reset(model, fresh())
    for again, before in zip(train(model), first, strict=True):
        np.testing.assert_array_equal(again, before)


@pytest.mark.ops
def test_xla_stays_off_on_a_cpu_under_tensorflow(plain_backbone):
    model = MultiLabelClassifier(plain_backbone, 3)
    model.compile("sgd")
    assert model.jit_compile is (keras.backend.backend() == "jax")
