"""The adapters give what the RetinaNet of KerasCV and of KerasHub give."""

import sys

import keras
import numpy as np
import pytest
from keras import ops

import keras_jft as jft
from keras_jft.transfer.heads.retinanet import detection_loss


def test_outputs_and_loss_are_those_of_keras_cv(tiny_backbone, rng):
    model = jft.RetinaNet(tiny_backbone, 3)
    detector = model._library.detector
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
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match=r"`RetinaNet\(imp.*jft\[hub\]"):
        jft.RetinaNet(tiny_backbone, 3, implementation="keras_hub")


@pytest.mark.parametrize("implementation", ["keras_cv", "keras_hub"])
def test_boxes_that_do_not_count_cost_what_padding_costs(
    implementation, tiny_backbone, rng
):
    model = jft.RetinaNet(tiny_backbone, 3, implementation=implementation)
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
        ValueError, match="its own loss, which weighs no\\s*images"
    ):
        loss(1, 0)


# === KerasHub, against formulas written out in NumPy ===

STRIDES = (2, 4, 8, 16, 32)  # Of P3 to P7 of the tiny backbone.


def anchors_of(side):
    """Anchors that a square image has: (A, 4), places from left to right.

    KerasHub rounds those of an image four times as large, of P3's stride 8.
    """
    found = []
    for stride in STRIDES:
        sizes = [int(16 * stride * 2 ** (i / 3)) for i in range(3)]
        places = np.arange(-(-side // stride)) * 4.0 * stride
        for y, x in np.stack(
            np.meshgrid(places, places, indexing="ij"), -1
        ).reshape(-1, 2):
            for ratio in (0.5, 1.0, 2.0):
                for size in sizes:
                    w, h = size / ratio**0.5 / 2, size * ratio**0.5 / 2
                    w, h = np.round(w), np.round(h)
                    found.append([x - w, y - h, x + w, y + h])
    return np.array(found) / 4


def iou(a, b):
    """Overlaps of each of (A, 4) with each of (N, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0), -1)
    areas = [np.prod(x[:, 2:] - x[:, :2], -1) for x in (a, b)]
    return both / (areas[0][:, None] + areas[1] - both)


def center_and_size(boxes):
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]


@pytest.fixture(scope="module")
def of_hub():
    """A model, images and its outputs; logits are spread out."""
    backbone = jft.ResNet(
        (1, 1, 1, 1),
        width=4,
        block="basic",
        stem="small",
        image_shape=(16, 16, 3),
    )
    model = jft.RetinaNet(backbone, 3, implementation="keras_hub")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 16, 16, 3)).astype("uint8")
    count = model.output["box"].shape[1]
    outputs = {
        "box": rng.normal(0, 0.5, (2, count, 4)).astype("float32"),
        "classification": rng.normal(-6, 2, (2, count, 3)).astype("float32"),
    }
    return model, images, outputs


@pytest.mark.ops
def test_the_graph_is_that_of_keras_hub(of_hub):
    model, images, _ = of_hub
    ours, theirs = model(images), model._library.detector(images)
    for name, of_hub in (
        ("box", "bbox_regression"),
        ("classification", "cls_logits"),
    ):
        np.testing.assert_allclose(
            ops.convert_to_numpy(ours[name]),
            ops.convert_to_numpy(theirs[of_hub]),
            atol=1e-5,
        )
    # The prior of the paper, and its deviation.
    likely = 1 / (1 + np.exp(-ops.convert_to_numpy(ours["classification"])))
    np.testing.assert_allclose(likely, 0.01, rtol=0.3)
    kernels = [
        np.std(ops.convert_to_numpy(w))
        for w in model.weights
        if tuple(w.shape) == (3, 3, 256, 256) and "conv2d" in w.path
    ]
    assert len(kernels) == 8
    np.testing.assert_allclose(kernels, 0.01, rtol=0.02)


@pytest.mark.ops
def test_the_loss_is_that_of_the_paper(of_hub):
    model, images, outputs = of_hub
    boxes = np.float32([[[1, 2, 9, 9], [8, 6, 15, 16]], [[0, 0, 16, 15]] * 2])
    labels = np.int32([[1, 2], [0, -1]])
    anchors = anchors_of(16)
    centers, sizes = center_and_size(anchors)
    total, objects = 0.0, 0
    for image in range(2):
        real = boxes[image][labels[image] >= 0]
        overlaps = iou(anchors, real)
        best, overlap = overlaps.argmax(1), overlaps.max(1)
        is_object = overlap >= 0.5
        counts = is_object | (overlap < 0.4)
        objects += is_object.sum()
        truth = np.zeros((len(anchors), 3))
        truth[is_object, labels[image][best[is_object]]] = 1
        p = 1 / (1 + np.exp(-outputs["classification"][image]))
        right = np.where(truth == 1, p, 1 - p)
        alpha = np.where(truth == 1, 0.25, 0.75)
        focal = -alpha * (1 - right) ** 2 * np.log(right)
        center, size = center_and_size(real[best])
        codes = np.hstack([(center - centers) / sizes, np.log(size / sizes)])
        d = np.abs(codes - outputs["box"][image])
        smooth = np.where(d < 1, d**2 / 2, d - 0.5)
        total += focal[counts].sum() + smooth[is_object].sum()
    assert objects > 10
    found = model.compute_loss(
        images, {"boxes": boxes, "labels": labels}, outputs
    )
    np.testing.assert_allclose(float(found), total / objects, rtol=1e-4)


def test_the_loss_is_that_of_keras_cv_for_the_same_matches(rng):
    import keras_cv

    outputs = {
        "box": rng.normal(size=(2, 9, 4)).astype("float32"),
        "classification": rng.normal(size=(2, 9, 3)).astype("float32"),
    }
    codes = rng.normal(size=(2, 9, 4)).astype("float32")
    classes = rng.integers(-1, 3, (2, 9)).astype("float32")
    is_object = classes >= 0
    focal = keras_cv.losses.FocalLoss(from_logits=True, reduction="none")(
        np.eye(4, 3)[classes.astype(int)], outputs["classification"]
    )
    smooth = keras_cv.losses.SmoothL1Loss(l1_cutoff=1.0, reduction="none")(
        codes, outputs["box"]
    )
    # KerasCV's is a mean over the four numbers of a box.
    expected = (np.sum(focal) + 4 * np.sum(smooth * is_object)) / np.sum(
        is_object
    )
    found = detection_loss(codes, classes, outputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_padding_before_a_box_gives_no_gradient_that_is_not_finite(of_hub):
    import tensorflow as tf

    model, images, outputs = of_hub
    outputs = {key: tf.Variable(value) for key, value in outputs.items()}
    boxes = np.float32([[[0, 0, 0, 0], [8, 6, 15, 16]]] * 2)
    labels = np.int32([[-1, 2], [-1, -1]])
    with tf.GradientTape() as tape:
        loss = model.compute_loss(
            images, {"boxes": boxes, "labels": labels}, outputs
        )
    gradients = tape.gradient(loss, outputs)
    assert all(np.isfinite(x).all() for x in gradients.values())
    assert gradients["box"].numpy()[0].any()
    assert not gradients["box"].numpy()[1].any()


@pytest.mark.ops
def test_detections_are_decoded_and_suppressed_as_by_hand(of_hub):
    model, images, outputs = of_hub
    found = {
        key: ops.convert_to_numpy(value)
        for key, value in model.decode(outputs, images).items()
    }
    centers, sizes = center_and_size(anchors_of(16))
    for image in range(2):
        codes = outputs["box"][image]
        center = centers + codes[:, :2] * sizes
        half = np.exp(codes[:, 2:]) * sizes / 2
        boxes = np.hstack([center - half, center + half]).clip(0, 16)
        scores = 1 / (1 + np.exp(-outputs["classification"][image]))
        labels, scores = scores.argmax(1), scores.max(1)
        is_left = (boxes[:, :2] < boxes[:, 2:]).all(1) & (scores > 0.05)
        kept = []
        for i in np.argsort(-scores, kind="stable"):
            if is_left[i] and (iou(boxes[kept], boxes[[i]]) <= 0.5).all():
                kept.append(i)
        assert 3 < len(kept) < 100
        for key, values in (
            ("boxes", boxes),
            ("scores", scores),
            ("labels", labels),
        ):
            of_image = found[key][image]
            np.testing.assert_allclose(
                of_image[: len(kept)], values[kept], atol=1e-4
            )
            assert (of_image[len(kept) :] == -1).all()


@pytest.mark.ops
def test_the_smallest_anchor_has_the_size_that_is_asked_for(tiny_backbone):
    model = jft.RetinaNet(
        tiny_backbone, 3, implementation="keras_hub", anchor_size=6.0
    )
    generator = model._library.detector.anchor_generator
    first = ops.convert_to_numpy(generator(model._library.canvas.blank())["P3"])
    # Of the ratio 1, of an image four times as large.
    np.testing.assert_allclose(first[3], [-12, -12, 12, 12])
    assert model.get_config()["implementation"] == "keras_hub"
