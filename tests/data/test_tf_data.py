"""`batches` is `iterate` as a `tf.data.Dataset` that Keras can fit on."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_jft import training
from keras_jft.data import transforms
from keras_jft.data.pipeline import iterate
from keras_jft.data.tf_data import batches


def _ids(dataset):
    return [batch["ids"].numpy().tolist() for batch in dataset]


@pytest.mark.parametrize("training", [True, False])
def test_batches_are_those_of_iterate(make_data, training):
    names = [f"{i}.jpg" for i in range(10)]
    options = {
        "batch_size": 4, "training": training, "transforms": "flip", "seed": 3,
        "initial_epoch": int(training), "initial_step": int(training),
    }  # fmt: skip
    dataset = batches(make_data(10, ids=names), **options)
    expected = iterate(make_data(10, ids=names), **options)
    assert len(dataset) == len(expected)
    for _ in range(3):
        for batch, other in zip(dataset, expected, strict=True):
            assert batch.keys() == other.keys()
            assert [i.decode() for i in batch["ids"].numpy()] == (
                other["ids"].tolist()
            )
            for key in ("images", "labels"):
                np.testing.assert_array_equal(batch[key], other[key])


def test_boxes_masks_and_keypoints_travel_too(listed):
    examples = [
        {
            "images": np.zeros((4, 4, 3), "uint8"),
            "labels": np.int32(i),
            "bounding_boxes": {
                "boxes": np.zeros((i, 4), "float32"),
                "labels": np.zeros(i, "int32"),
                "ignored": np.ones(i, "bool"),
            },
            "segmentation_masks": np.full((4, 4, 1), i, "uint8"),
            "keypoints": np.zeros((17, 3), "float32"),
            "ids": i,
        }
        for i in range(6)
    ]
    dataset = batches(listed(examples), 4)
    spec = dataset.element_spec
    assert spec["images"].shape.as_list() == [None, None, None, 3]
    assert spec["labels"].shape.as_list() == [None]
    assert spec["bounding_boxes"]["boxes"].shape.as_list() == [None, None, 4]
    assert spec["keypoints"].shape.as_list() == [None, 17, 3]
    first, last = dataset
    assert first["bounding_boxes"]["boxes"].shape == (4, 3, 4)
    assert last["bounding_boxes"]["labels"].numpy().tolist() == [
        [0, 0, 0, 0, -1],
        [0, 0, 0, 0, 0],
    ]
    assert first["segmentation_masks"][3, 0, 0, 0] == 3


def test_what_a_transform_adds_travels_too(make_data):
    def add(example, rng):
        return {**example, "corner": example["images"][:2, :2, 0]}

    (batch,) = batches(make_data(4), 4, transforms=[add])
    np.testing.assert_array_equal(
        batch["corner"], batch["images"][:, :2, :2, 0]
    )


def test_shapes_are_static_where_they_cannot_change(make_data):
    spec = batches(make_data(9), 4, training=True).element_spec
    assert spec["images"].shape.as_list() == [4, None, None, 3]
    assert spec["labels"].shape.as_list() == [4, 3]
    assert spec["ids"] == tf.TensorSpec((4,), "int64")
    spec = batches(make_data(8), 4).element_spec
    assert spec["labels"].shape.as_list() == [4, 3]
    for options in ({}, {"drop_remainder": True, "tolerate": 1}):
        spec = batches(make_data(9), 4, **options).element_spec
        assert spec["labels"].shape.as_list() == [None, 3]


def test_the_size_of_images_is_static_where_transforms_set_it(make_data):
    flip = transforms.RandomFlip()
    for chain, size in (
        ((transforms.Resize((4, 5)), flip), [4, 5]),
        ((flip, transforms.PadTo((9, 12))), [9, 12]),
        ((transforms.ResizeShortest(3, 9), transforms.PadTo()), [None, None]),
        ((transforms.Resize((4, 5)), lambda e, rng: e), [None, None]),
    ):
        dataset = batches(make_data(8), 4, transforms=chain)
        assert dataset.element_spec["images"].shape.as_list()[1:3] == size
        for batch in dataset:
            if "image_sizes" in batch:
                assert batch["image_sizes"].shape == (4, 2)


def test_a_last_batch_of_another_size_retraces_nothing(make_data):
    dataset = batches(make_data(10), 4)
    traces = []

    @tf.function
    def step(iterator):
        batch = next(iterator)
        traces.append(batch["images"].shape)
        return tf.shape(batch["images"])[0]

    iterator = iter(dataset)
    assert [int(step(iterator)) for _ in range(3)] == [4, 4, 2]
    assert len(traces) == 1


def test_looking_at_the_first_batch_changes_no_pass(make_data):
    dataset = batches(make_data(8), 4, training=True)
    first = [batch["ids"].numpy().tolist() for batch in dataset.take(1)]
    iter(dataset)
    passes = [_ids(dataset) for _ in range(3)]
    assert passes[0][:1] == first
    expected = iterate(make_data(8), 4, training=True)
    for found in passes:
        assert found == [batch["ids"].tolist() for batch in expected]


def _record(dataset, seen):
    """Images and zeros to learn, from `dataset`; ids go to `seen`."""

    def pair(batch):
        tf.numpy_function(
            lambda ids: seen.append(ids.tolist()), [batch["ids"]], []
        )
        images = tf.ensure_shape(batch["images"], (4, 6, 8, 3))
        return images, tf.zeros(4)

    return dataset.map(pair)


@pytest.mark.parametrize("strategy", ["one device", "mirrored"])
def test_fit_sees_every_epoch_in_its_own_order(make_data, strategy):
    strategy = (
        training.strategy("mirrored", devices=["CPU:0", "CPU:1"])
        if strategy == "mirrored"
        else tf.distribute.get_strategy()
    )
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.layers.Input((6, 8, 3)),
                keras.layers.Rescaling(1 / 255),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(1),
            ]
        )
        model.compile("sgd", "mse", jit_compile=False)
    seen, epochs = [], 3
    dataset = _record(batches(make_data(80), 4, training=True), seen)
    model.fit(dataset, epochs=epochs, verbose=0, shuffle=False)
    expected = iterate(make_data(80), 4, training=True)
    for epoch in range(epochs):
        ids = [batch["ids"].tolist() for batch in expected]
        # Keras opens iterators that it leaves; what they read is seen too.
        places = [seen.index(batch) for batch in ids]
        assert places == sorted(places), f"epoch {epoch}"


def test_an_unreadable_image_is_named_in_the_error(make_data):
    data = make_data(
        8, ids=[f"{i}.jpg" for i in range(8)], unreadable=["5.jpg"]
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"'5\.jpg'"):
        _ids(batches(data, 4))


def test_tolerated_images_are_left_out_and_reported(make_data):
    data = make_data(8, unreadable=[0])
    with pytest.warns(UserWarning, match="Skipped example 0, 1 of at most 1"):
        ids = _ids(batches(data, 4, tolerate=1))
    assert ids == [[1, 2, 3], [4, 5, 6, 7]]


def test_without_tensorflow_the_error_points_to_iterate(make_data, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match="needs TensorFlow.*jft.data.iterate"):
        batches(make_data(8), 4)
