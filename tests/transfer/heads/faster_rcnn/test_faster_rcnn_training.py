import keras
import numpy as np
import numpy_rcnn
import pytest
from keras import ops

from keras_jft import data, training
from keras_jft.backbones import ResNet
from keras_jft.transfer import FasterRCNN

# Sooner than a graph where a few steps are taken; JAX compiles each operation.
EAGER = keras.backend.backend() == "tensorflow"


def _arrays(outputs):
    return keras.tree.map_structure(ops.convert_to_numpy, outputs)


@pytest.fixture(scope="module")
def compiled(detector):
    """A detector that many a test may fit or fail to fit."""
    model = detector()
    model.compile(keras.optimizers.SGD(0.01), run_eagerly=EAGER)
    return model


@pytest.mark.slow
def test_two_images_of_the_synthetic_world_are_learned():
    examples = data.load(
        "synthetic",
        task="detection",
        num_examples=2,
        image_size=48,
        preset="easy",
    )
    batch = data.collate([examples[i] for i in range(2)])
    backbone = ResNet(
        (1, 1, 1, 1),
        width=16,
        block="basic",
        stem="small",
        image_shape=(48, 48, 3),
    )
    model = FasterRCNN(
        backbone,
        10,
        anchor_base=24,
        rpn_filters=32,
        rpn_samples=64,
        head_samples=32,
        num_proposals=48,
        crop_size=6,
    )
    steps = 150
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(rate))
    # One epoch: the rest of an epoch takes longer than a step.
    repeated = keras.tree.map_structure(
        lambda x: np.concatenate([x] * steps), batch
    )
    model.fit(repeated, batch_size=2, shuffle=False, verbose=0)
    found = model.predict(batch, verbose=0)
    assert numpy_rcnn.average_precision(batch["bounding_boxes"], found) > 0.9


@pytest.mark.slow
def test_two_replicas_train_like_one_device(plain, batch):
    # The last replica of the last step has no image.
    devices = ["CPU:0", "CPU:1"]
    results = []
    for strategy in (
        training.strategy("one_device"),
        training.strategy("mirrored", devices=devices),
    ):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            model = plain()
            # The graphs of one device would take longer than its steps.
            model.compile(
                keras.optimizers.SGD(0.05, momentum=0.9),
                run_eagerly=strategy.num_replicas_in_sync == 1,
            )
        history = model.fit(
            batch,
            batch_size=2,
            epochs=2,
            shuffle=False,
            validation_data=batch,
            validation_batch_size=2,
            verbose=0,
        ).history
        results.append((history, _arrays(model.weights)))
    (one, alone), (two, together) = results
    assert set(one) == set(two) == {"loss", "val_loss"}
    for key in one:
        np.testing.assert_allclose(one[key], two[key], rtol=1e-5)
    for ours, theirs in zip(alone, together, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.slow
def test_images_of_any_size_train_and_predict(detector, batch, rng):
    model = detector(image_shape=(None, None, 3))
    model.compile("sgd")
    small = rng.integers(0, 256, (3, 24, 40, 3)).astype("uint8")
    for images in (batch["images"], small):
        # In the last step is one image.
        loss = model.fit(
            {**batch, "images": images}, batch_size=2, verbose=0
        ).history["loss"]
        assert np.isfinite(loss).all()
        found = model.predict(images, batch_size=2, verbose=0)
        assert found["boxes"].shape == (3, 20, 4)


def test_a_data_set_with_a_partial_last_batch_trains(detector, batch):
    import tensorflow as tf

    model = detector()
    model.compile("sgd", run_eagerly=EAGER)
    dataset = tf.data.Dataset.from_tensor_slices(
        {**batch, "image_sizes": np.full((3, 2), 32, "int32")}
    ).batch(2)
    model.fit(dataset, epochs=2, verbose=0)
    assert np.isfinite(model.evaluate(dataset, verbose=0))
    assert model.predict(dataset, verbose=0)["labels"].shape == (3, 20)


@pytest.mark.ops
def test_half_precision_leaves_boxes_and_losses_in_float32(batch, detector):
    with training.dtype_policy("mixed_bfloat16"):
        model = detector()
    model.compile("sgd", run_eagerly=EAGER)
    outputs = model.predict(batch, logits=True, verbose=0)
    assert {str(x.dtype) for x in outputs.values()} == {"float32", "int32"}
    assert model.get_layer("conv5").layers[-1].compute_dtype == "bfloat16"
    history = model.fit(batch, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_pairs_train_as_batches_do(exhaustive, batch):
    model = exhaustive()
    model.compile("sgd", run_eagerly=EAGER)
    loss = model.evaluate(batch, verbose=0)
    pairs = model.evaluate(batch["images"], batch["bounding_boxes"], verbose=0)
    np.testing.assert_allclose(pairs, loss, rtol=1e-6)
    weights = np.array([0.0, 3.0, 0.0], "float32")
    one = {k: v[1:2] for k, v in batch["bounding_boxes"].items()}
    np.testing.assert_allclose(
        model.evaluate(
            batch["images"],
            batch["bounding_boxes"],
            sample_weight=weights,
            verbose=0,
        ),
        model.evaluate(batch["images"][1:2], one, verbose=0),
        rtol=1e-5,
    )


# === Odd and bad batches ===


def _entry(boxes, labels):
    return {
        "boxes": np.array(boxes, "float32"),
        "labels": np.array(labels, "int32"),
    }


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("no row", marks=pytest.mark.ops),
        "padding",
        "500",
        "below a pixel",
        "larger than all",
    ],
)
def test_odd_numbers_and_sizes_of_boxes_train(kind, compiled, detector, rng):
    images = rng.integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    low = rng.uniform(0, 16, (2, 500, 2))
    many = np.concatenate([low, low + rng.uniform(1, 16, low.shape)], -1)
    entry = {
        "no row": _entry(np.zeros((2, 0, 4)), np.zeros((2, 0))),
        "padding": _entry(np.zeros((2, 3, 4)), np.full((2, 3), -1)),
        "500": _entry(many, rng.integers(0, 3, (2, 500))),
        "below a pixel": _entry(
            np.tile([[3.1, 3.1, 3.2, 3.15]], (2, 1, 1)), [[0], [2]]
        ),
        "larger than all": _entry(
            np.tile([[0, 0, 32, 32]], (2, 1, 1)), [[1], [1]]
        ),
    }[kind]
    model = compiled
    if kind == "larger than all":
        model = detector(anchor_base=400)
        model.compile(keras.optimizers.SGD(0.01), run_eagerly=EAGER)
    batch = {"images": images, "bounding_boxes": entry}
    model.fit(batch, epochs=2, verbose=0)
    assert np.isfinite(model.evaluate(batch, verbose=0))
    assert all(
        np.isfinite(ops.convert_to_numpy(w)).all() for w in model.weights
    )


@pytest.mark.ops
def test_another_loss_is_refused(detector, batch):
    model = detector()
    model.compile("sgd", loss=lambda y, y_pred: 0.0)
    with pytest.raises(ValueError, match="own loss"):
        model.fit(batch, verbose=0)


@pytest.mark.ops
@pytest.mark.parametrize(
    "boxes, label, message",
    [
        ([1, 1, 5, 5], 3, r"must be in 0\.\.2.*3\.\.3"),
        ([1, 1, 5, 5], -2, r"must be in 0\.\.2"),
        ([1, 1, np.nan, 5], 0, "finite"),
        ([5, 1, 1, 5], 0, "x1 < x2"),
        ([0.1, 0.1, 0.5, 1.0], 0, r"in pixels, not in 0\.\.1"),
        ([1, 1, 5], 0, r"\(batch, N, 4\).*\(1, 1, 3\) and \(1, 1\)"),
    ],
)
def test_boxes_that_are_wrong_are_refused(boxes, label, message, compiled):
    batch = {
        "images": np.zeros((1, 32, 32, 3), "uint8"),
        "bounding_boxes": _entry([[boxes]], [[label]]),
    }
    with pytest.raises(ValueError, match=message):
        compiled.fit(batch, verbose=0)
    with pytest.raises(ValueError, match=message):
        compiled.fit(batch["images"], batch["bounding_boxes"], verbose=0)


@pytest.mark.ops
def test_images_without_boxes_are_refused(compiled):
    images = np.zeros((1, 32, 32, 3), "uint8")
    with pytest.raises(ValueError, match="without targets"):
        compiled.fit(images, verbose=0)
    with pytest.raises(ValueError, match='are {"boxes"'):
        compiled.fit(images, np.zeros((1, 1, 4), "float32"), verbose=0)
