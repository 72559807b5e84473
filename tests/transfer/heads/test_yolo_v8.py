"""The adapter gives what KerasCV's YOLOV8Detector gives."""

import sys

import keras
import numpy as np
import pytest
from keras import ops

import keras_jft as jft


@pytest.fixture(scope="module")
def model():
    """A detector whose P3 has a feature for every two pixels."""
    backbone = jft.ResNet(
        (1, 1, 1, 1),
        width=4,
        block="basic",
        stem="small",
        image_shape=(16, 16, 3),
    )
    return jft.YOLOV8(backbone, 3, depth=1)


@pytest.fixture
def outputs(rng):
    """Distances and probabilities of the 64 + 16 + 4 places of 16 px."""
    return {
        "boxes": rng.normal(0, 2, (2, 84, 64)).astype("float32"),
        "classes": rng.uniform(0, 1, (2, 84, 3)).astype("float32") ** 4,
    }


def test_outputs_and_loss_are_those_of_keras_cv(rng):
    import keras_cv

    backbone = jft.ResNet(
        (1, 1, 1, 1), width=4, block="basic", image_shape=(32, 32, 3)
    )
    model = jft.YOLOV8(backbone, 3, depth=1)
    stock = keras_cv.models.YOLOV8Detector(
        backbone, 3, bounding_box_format="xyxy", fpn_depth=1
    )
    stock.set_weights(model.get_weights())
    stock.compile(box_loss="ciou", classification_loss="binary_crossentropy")
    images = rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    ours, theirs = model(images), stock(images)
    for name in ("boxes", "classes"):
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5)
    boxes = np.float32([[[1, 2, 19, 19]], [[0, 0, 32, 16]]])
    truth = {"boxes": boxes, "classes": np.float32([[1], [2]])}
    expected = stock.compute_loss(images, truth, theirs)
    y = {"boxes": boxes, "labels": np.int32([[1], [2]])}
    found = model.compute_loss(images, y, ours)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_loss_is_the_same_at_any_stride(model, outputs):
    """KerasCV counts on images four times as large."""
    boxes = np.float32([[[1, 2, 9, 9], [3, 0, 16, 16]], [[0, 0, 16, 8]] * 2])
    labels = np.int32([[1, 2], [0, -1]])
    detector = model._keras_cv.detector
    expected = detector.compute_loss(
        ops.zeros((2, 64, 64, 3)),
        {
            "boxes": np.where(labels[..., None] < 0, -1, 4 * boxes),
            "classes": labels.astype("float32"),
        },
        outputs,
    )
    y = {"boxes": boxes, "labels": labels}
    images = np.zeros((2, 16, 16, 3), "float32")
    found = model.compute_loss(images, y, outputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # What leaves the image is no padding.
    y["boxes"][0, 1, 1] = -3
    np.testing.assert_allclose(
        model.compute_loss(images, y, outputs), found, rtol=1e-5
    )
    # What is ignored is.
    y["ignored"] = np.array([[False, True], [False, False]])
    fewer = model.compute_loss(images, y, outputs)
    y = {"boxes": boxes, "labels": np.int32([[1, -1], [0, -1]])}
    np.testing.assert_allclose(fewer, model.compute_loss(images, y, outputs))
    assert abs(float(fewer) - float(found)) > 0.01


def test_detections_are_decoded_and_suppressed_as_by_hand(model, outputs):
    images = np.zeros((2, 16, 16, 3), "uint8")
    found = {k: v.numpy() for k, v in model.decode(outputs, images).items()}
    places, strides = [], []
    for stride in (2, 4, 8):
        at = (np.arange(16 // stride) + 0.5) * stride
        places += [(x, y) for y in at for x in at]
        strides += [stride] * len(at) ** 2
    places, strides = np.array(places), np.array(strides)[:, None]
    for image in range(2):
        logits = outputs["boxes"][image].reshape(84, 4, 16)
        likely = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        distances = (likely * np.arange(16)).sum(-1) * strides
        boxes = np.hstack(
            [places - distances[:, :2], places + distances[:, 2:]]
        )
        labels = outputs["classes"][image].argmax(1)
        scores = outputs["classes"][image].max(1)
        kept = []
        for i in np.argsort(-scores, kind="stable"):
            low = np.maximum(boxes[kept, :2], boxes[i, :2])
            high = np.minimum(boxes[kept, 2:], boxes[i, 2:])
            both = np.prod(np.maximum(high - low, 0), -1)
            areas = np.prod(boxes[:, 2:] - boxes[:, :2], -1)
            union = areas[kept] + areas[i] - both
            if scores[i] > 0.05 and (both <= 0.7 * union).all():
                kept.append(i)
        assert 3 < len(kept) < 84
        for key, values in (
            ("boxes", boxes.clip(0, 16)),
            ("scores", scores),
            ("labels", labels),
        ):
            of_image = found[key][image]
            np.testing.assert_allclose(
                of_image[: len(kept)], values[kept], atol=1e-4
            )
            assert (of_image[len(kept) :] == -1).all()


def test_what_it_cannot_be_built_on_is_refused(tiny_backbone, monkeypatch):
    with pytest.raises(ValueError, match="`YOLOV8` needs.*a fixed size"):
        jft.YOLOV8(tiny_backbone.rebuild(image_shape=(None, None, 3)), 3)
    with pytest.raises(ValueError, match=r"\(18, 16\) with levels"):
        jft.YOLOV8(tiny_backbone.rebuild(image_shape=(18, 16, 3)), 3)
    with monkeypatch.context() as patched:
        patched.setattr(keras.backend, "backend", lambda: "jax")
        with pytest.raises(ValueError, match="only on TensorFlow"):
            jft.YOLOV8(tiny_backbone, 3)
    monkeypatch.setitem(sys.modules, "keras_cv", None)
    with pytest.raises(ImportError, match="needs TensorFlow"):
        jft.YOLOV8(tiny_backbone, 3)


def test_every_argument_survives_saving(model):
    config = model.get_config()
    assert config["depth"] == 1
    assert jft.YOLOV8.from_config(config).get_config() == config
