import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.transfer.heads.faster_rcnn import stages


def _points(low, high, side, size):
    return low * (side - 1) + np.arange(size) * (high - low) * (side - 1) / (
        size - 1
    )


def _weights(at, side):
    return np.maximum(1 - abs(at[:, None] - np.arange(side)), 0)


def _crop_by_loops(features, boxes, size):
    crops = []
    for image, rows in zip(features, boxes, strict=True):
        for x1, y1, x2, y2 in rows:
            y = _weights(_points(y1, y2, image.shape[0], size), image.shape[0])
            x = _weights(_points(x1, x2, image.shape[1], size), image.shape[1])
            crops.append(np.einsum("ih,jw,hwc->ijc", y, x, image))
    return np.array(crops)


def _gradient_by_loops(upstream, boxes, shape, size):
    gradient = np.zeros(shape)
    per_image = boxes.shape[1]
    for b, r in np.ndindex(boxes.shape[:2]):
        x1, y1, x2, y2 = boxes[b, r]
        y = _weights(_points(y1, y2, shape[1], size), shape[1])
        x = _weights(_points(x1, x2, shape[2], size), shape[2])
        gradient[b] += np.einsum(
            "ih,jw,ijc->hwc", y, x, upstream[b * per_image + r]
        )
    return gradient


@pytest.fixture
def boxes(rng):
    low = rng.uniform(0, 0.8, (2, 5, 2))
    high = low + rng.uniform(0, 1, low.shape) * (1 - low)
    boxes = np.concatenate([low, high], axis=-1).astype("float32")
    boxes[0, 0] = 0, 0, 1, 1
    boxes[1, 1] = 0  # padding
    return boxes


def _gradient(function, x):
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function)(x)
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x)


@pytest.mark.ops
def test_crops_and_their_gradient_are_those_of_the_formula(boxes, rng):
    features = rng.normal(size=(2, 7, 5, 3)).astype("float32")
    crops = stages.crop(ops.array(features), ops.array(boxes), 6)
    assert tuple(crops.shape) == (10, 6, 6, 3)
    np.testing.assert_allclose(
        ops.convert_to_numpy(crops),
        _crop_by_loops(features, boxes, 6),
        atol=1e-4,
    )
    upstream = rng.normal(size=crops.shape).astype("float32")
    gradient = _gradient(
        lambda x: ops.sum(stages.crop(x, ops.array(boxes), 6) * upstream),
        features,
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(gradient),
        _gradient_by_loops(upstream, boxes, features.shape, 6),
        atol=1e-4,
    )


@pytest.mark.ops
def test_no_part_of_the_gradient_of_many_crops_is_lost(rng):
    # Threads that add to the same features at once lose some of the sum.
    low = rng.uniform(0, 0.3, (1, 60, 2))
    boxes = np.concatenate([low, low + 0.6], axis=-1).astype("float32")
    shape = (1, 30, 40, 64)
    upstream = rng.normal(size=(60, 14, 14, 64)).astype("float32")
    gradient = _gradient(
        lambda x: ops.sum(stages.crop(x, ops.array(boxes), 14) * upstream),
        np.zeros(shape, "float32"),
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(gradient),
        _gradient_by_loops(upstream, boxes, shape, 14),
        atol=1e-3,
    )


@pytest.mark.ops
def test_the_last_feature_is_read_at_the_end_of_a_box(rng):
    features = np.ones((1, 38, 64, 1), "float32")
    low = rng.uniform(0, 0.9, (1, 2000, 2))
    boxes = np.concatenate([low, np.ones_like(low)], axis=-1)
    crops = stages.crop(ops.array(features), ops.array(boxes, "float32"), 14)
    np.testing.assert_allclose(ops.convert_to_numpy(crops), 1, rtol=1e-5)


def test_crops_and_gradient_are_those_of_tensorflow(boxes, rng):
    import tensorflow as tf

    features = tf.constant(rng.normal(size=(2, 7, 5, 3)).astype("float32"))
    inside = np.clip(boxes, 0, 1 - 1e-6).reshape(-1, 4)[:, [1, 0, 3, 2]]
    images = np.repeat([0, 1], 5)
    upstream = rng.normal(size=(10, 6, 6, 3)).astype("float32")

    def ours(x):
        return stages.crop(x, tf.constant(boxes), 6)

    def theirs(x):
        return tf.image.crop_and_resize(x, inside, images, [6, 6])

    np.testing.assert_allclose(ours(features), theirs(features), atol=1e-6)
    one, two = (
        _gradient(lambda x, f=f: tf.reduce_sum(f(x) * upstream), features)
        for f in (ours, theirs)
    )
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_the_loop_free_crops_of_other_backends_are_the_same(boxes, rng):
    features = ops.array(rng.normal(size=(2, 7, 5, 3)), "float32")
    boxes = ops.array(np.clip(boxes, 0, 1 - 1e-6))
    np.testing.assert_allclose(
        ops.convert_to_numpy(stages._crop_gathered(features, boxes, 6)),
        ops.convert_to_numpy(stages.crop(features, boxes, 6)),
        atol=1e-5,
    )
