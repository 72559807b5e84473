"""The adapter gives what KerasCV's RetinaNet gives."""

import sys

import keras
import numpy as np
import pytest
from keras import ops

import keras_jft as jft


def test_outputs_and_loss_are_those_of_keras_cv(tiny_backbone, rng):
    model = jft.RetinaNet(tiny_backbone, 3)
    detector = model._keras_cv.detector
    images = rng.uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    boxes = np.array([[[1, 2, 9, 9]], [[0, 0, 16, 16]]], "float32")
    y = {"boxes": boxes, "labels": np.array([[1], [-1]], "int32")}
    ours, theirs = model(images), detector({"images": images})
    for name in ("box", "classification"):
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5)
    truth = {"boxes": boxes, "classes": np.float32([[1], [-1]])}
    expected = detector.compute_loss(images, truth, theirs, None)
    found = model.compute_loss(images, y, ours)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert ops.convert_to_numpy(found) > 0
    assert model.count_params() == detector.count_params()


def test_detections_have_the_form_of_faster_rcnn(tiny_backbone, rng):
    model = jft.RetinaNet(tiny_backbone, 3)
    # Where no class is likely there is nothing; where one is, one of three.
    bias = [w for w in model.trainable_weights if w.shape == (27,)][0]
    images = rng.integers(0, 256, (2, 16, 16, 3)).astype("uint8")
    found = model.predict(images, verbose=0)
    assert (found["labels"] == -1).all() and (found["boxes"] == -1).all()
    bias.assign(np.tile([-9.0, -9.0, 4.0], 9))
    found = model.predict(images, verbose=0)
    is_box = found["labels"] >= 0
    assert (
        set(found["labels"][is_box]) == {2} and found["labels"].dtype == "int32"
    )
    assert is_box.any(axis=1).all()
    assert (found["scores"][is_box] > 0.9).all()
    assert (
        (found["boxes"][is_box] >= 0) & (found["boxes"][is_box] <= 16)
    ).all()


def test_backbones_of_other_sizes_and_no_tensorflow_are_refused(
    tiny_backbone, monkeypatch
):
    with pytest.raises(ValueError, match="a fixed size"):
        jft.RetinaNet(tiny_backbone.rebuild(image_shape=(None, None, 3)), 3)
    with pytest.raises(ValueError, match=r"\(18, 16\) with levels"):
        jft.RetinaNet(tiny_backbone.rebuild(image_shape=(18, 16, 3)), 3)
    with monkeypatch.context() as patched:
        patched.setattr(keras.backend, "backend", lambda: "jax")
        with pytest.raises(ValueError, match="only on TensorFlow"):
            jft.RetinaNet(tiny_backbone, 3)
    monkeypatch.setitem(sys.modules, "keras_cv", None)
    with pytest.raises(ImportError, match="needs TensorFlow"):
        jft.RetinaNet(tiny_backbone, 3)


def test_boxes_that_do_not_count_cost_what_padding_costs(tiny_backbone, rng):
    model = jft.RetinaNet(tiny_backbone, 3)
    outputs = model(rng.uniform(0, 255, (2, 16, 16, 3)).astype("float32"))
    images = np.zeros((2, 16, 16, 3), "float32")

    def loss(boxes, label, **more):
        boxes = np.float32([[[1, 2, 9, 9]], [[0, 0, 16, 16]]])[:, :boxes]
        labels = np.full(boxes.shape[:2], label, "int32")
        y = {"boxes": boxes, "labels": labels, **more}
        return float(model.compute_loss(images, y, outputs))

    background = loss(1, -1)
    assert loss(0, -1) == pytest.approx(background)
    ignored = np.ones((2, 1), bool)
    assert loss(1, 0, ignored=ignored) == pytest.approx(background)
    assert loss(1, 0, ignored=~ignored) > 1.01 * background
    model.compile(loss="mse")
    with pytest.raises(
        ValueError, match="its own loss, which weighs no images"
    ):
        loss(1, 0)
