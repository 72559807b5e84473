import inspect

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import pretrain

pytestmark = pytest.mark.ops


C = 11
# Weights of the classes, positive ones of them, drawn once.
WEIGHTS = np.random.default_rng(1).uniform(0.2, 3, (2, C))


def _multi_hot(labels, num_classes):
    dense = np.zeros((len(labels), num_classes), "float32")
    for row, ids in enumerate(labels):
        for label in ids:
            if label >= 0:
                dense[row, label] = 1.0
    return dense


def _counted(labels, num_classes):
    """0 at the classes that `labels` calls unknown, else 1."""
    counted = np.ones((len(labels), num_classes))
    for row, ids in enumerate(labels):
        for label in ids:
            if label < -1:
                counted[row, -2 - label] = 0.0
    return counted


def _random_labels(rng, batch, slots, num_classes, unknown=False):
    labels = rng.integers(0, num_classes, (batch, slots))
    labels[rng.random(labels.shape) < 0.4] = -1
    labels = labels.astype("int32")
    if not unknown:
        return labels
    drawn = rng.integers(0, num_classes, (batch, slots))
    for row, ids in enumerate(drawn):
        ids[np.isin(ids, labels[row])] = -1
    return np.concatenate(
        [labels, np.where(drawn < 0, -1, -2 - drawn).astype("int32")], axis=1
    )


def _dense_logistic(y, x, positive=1.0, weights=1.0, smoothing=0.0):
    y = (1 - smoothing) * y + smoothing / x.shape[1]
    p = 1 / (1 + np.exp(-x))
    return -weights * (positive * y * np.log(p) + (1 - y) * np.log1p(-p))


def _dense_asymmetric(y, x, plus=0.0, minus=4.0, margin=0.05, weights=1.0):
    p = 1 / (1 + np.exp(-x))
    q = np.maximum(p - margin, 0)
    present = (1 - p) ** plus * np.log(p)
    absent = q**minus * np.log1p(-q)
    return -weights * (y * present + (1 - y) * absent)


CASES = {
    "logistic": (pretrain.sigmoid_cross_entropy, {}, _dense_logistic, {}),
    "one positive weight": (
        pretrain.sigmoid_cross_entropy,
        {"positive_weight": 2.5},
        _dense_logistic,
        {"positive": 2.5},
    ),
    "weights and smoothing": (
        pretrain.sigmoid_cross_entropy,
        {
            "positive_weight": WEIGHTS[0],
            "class_weights": WEIGHTS[1],
            "label_smoothing": 0.2,
        },
        _dense_logistic,
        {"positive": WEIGHTS[0], "weights": WEIGHTS[1], "smoothing": 0.2},
    ),
    "asymmetric": (pretrain.asymmetric_loss, {}, _dense_asymmetric, {}),
    "asymmetric, every argument": (
        pretrain.asymmetric_loss,
        {
            "gamma_positive": 1.5,
            "gamma_negative": 3.0,
            "margin": 0.1,
            "class_weights": WEIGHTS[0],
        },
        _dense_asymmetric,
        {"plus": 1.5, "minus": 3.0, "margin": 0.1, "weights": WEIGHTS[0]},
    ),
    "asymmetric without margin": (
        pretrain.asymmetric_loss,
        {"gamma_negative": 2.0, "margin": 0.0},
        _dense_asymmetric,
        {"minus": 2.0, "margin": 0.0},
    ),
    "asymmetric without focus": (
        pretrain.asymmetric_loss,
        {"gamma_negative": 0.0, "margin": 0.2},
        _dense_asymmetric,
        {"minus": 0.0, "margin": 0.2},
    ),
}


def _loss_and_gradient(loss, logits, upstream):
    """`(B,)` losses and the gradient of their sum weighted by `upstream`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        x = tf.constant(logits)
        with tf.GradientTape() as tape:
            tape.watch(x)
            losses = loss(x)
        return losses.numpy(), tape.gradient(losses, x, upstream).numpy()
    import jax

    losses, pull = jax.vjp(loss, logits)
    return np.asarray(losses), np.asarray(pull(upstream)[0])


@pytest.mark.parametrize("case", CASES)
def test_a_loss_and_its_gradient_equal_the_dense_formula(case, rng):
    function, arguments, dense, constants = CASES[case]
    labels = _random_labels(rng, 6, 4, C, unknown=True)
    logits = rng.normal(0, 2, (6, C)).astype("float32")
    upstream = rng.uniform(0.5, 2, 6).astype("float32")

    losses, gradient = _loss_and_gradient(
        lambda x: function(labels, x, **arguments), logits, upstream
    )

    x, y = logits.astype("float64"), _multi_hot(labels, C)
    counted = _counted(labels, C)
    expected = (counted * dense(y, x, **constants)).sum(axis=1)
    np.testing.assert_allclose(losses, expected, rtol=2e-6)
    above, below = (dense(y, x + h, **constants) for h in (1e-5, -1e-5))
    slopes = upstream[:, None] * counted * (above - below) / 2e-5
    np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=2e-6)


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
    logits = ops.array([[-300.0, 300.0]])
    for loss in (
        pretrain.sigmoid_cross_entropy(np.array([[0]]), logits),
        pretrain.asymmetric_loss(np.array([[0]]), logits, margin=0.0),
    ):
        np.testing.assert_allclose(ops.convert_to_numpy(loss), [600.0])


def _weighted_labels(rng):
    """`(6, 4, 2)` ids and weights, and the dense targets that they mean."""
    labels = np.stack([rng.permutation(C)[:4] for _ in range(6)])
    labels[rng.random(labels.shape) < 0.3] = -1
    weights = rng.uniform(0, 1, labels.shape)
    dense = np.zeros((6, C))
    for row, (ids, shares) in enumerate(zip(labels, weights, strict=True)):
        for label, share in zip(ids, shares, strict=True):
            if label >= 0:
                dense[row, label] = share
    return np.stack([labels, weights], axis=-1).astype("float32"), dense


def test_weights_of_labels_are_dense_targets_between_0_and_1(rng):
    labels, y = _weighted_labels(rng)
    logits = rng.normal(0, 2, (6, C)).astype("float32")
    x = logits.astype("float64")
    plus, minus = (_dense_asymmetric(0 * y + t, x) for t in (1, 0))
    expected = {
        pretrain.MultiLabelLoss(): _dense_logistic(y, x).sum(),
        pretrain.MultiLabelLoss(3.0, WEIGHTS[0], 0.1): _dense_logistic(
            y, x, 3.0, WEIGHTS[0], 0.1
        ).sum(),
        pretrain.AsymmetricLoss(): (y * plus + (1 - y) * minus).sum(),
    }
    logs = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    total = y.sum(axis=1, keepdims=True)
    shares = y / np.where(total > 0, total, 1)
    expected[pretrain.SoftmaxLoss()] = -(shares * logs).sum()
    for loss, value in expected.items():
        found = float(loss(labels, ops.array(logits))) * 6
        np.testing.assert_allclose(found, value, rtol=1e-5)


def test_dense_targets_are_refused(rng):
    dense = _multi_hot(np.array([[1], [3]]), C)
    logits = ops.zeros((2, C))
    for function in (
        pretrain.sigmoid_cross_entropy,
        pretrain.asymmetric_loss,
        pretrain.softmax_cross_entropy,
        pretrain.MultiLabelLoss(),
        pretrain.SoftmaxLoss(),
    ):
        with pytest.raises(ValueError, match=r"float32.*\(2, 11\).*dense"):
            function(dense, logits)


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


def test_the_softmax_of_one_label_is_that_of_keras(rng):
    labels = np.array([[3], [0], [7]], "int32")
    logits = rng.normal(0, 3, (3, C)).astype("float32")
    dense = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.3
    )
    expected = float(dense(_multi_hot(labels, C), logits))
    for ids in (labels, labels[:, 0], np.insert(labels, 0, -1, axis=1)):
        loss = pretrain.SoftmaxLoss(label_smoothing=0.3)(ids, logits)
        np.testing.assert_allclose(float(loss), expected, rtol=1e-6)


def test_the_softmax_shares_its_target_among_the_labels_of_an_image(rng):
    labels = np.array([[3, -1, 5, 3], [-1, -1, -1, -1], [2, -1, -2, -9]])
    logits = rng.normal(0, 3, (3, C)).astype("float32")
    losses = pretrain.softmax_cross_entropy(labels, ops.array(logits))
    x = logits.astype("float64")
    logs = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    expected = [-(logs[0, 3] + logs[0, 5]) / 2, 0.0, -logs[2, 2]]
    np.testing.assert_allclose(
        ops.convert_to_numpy(losses), expected, rtol=1e-5
    )


@pytest.mark.parametrize(
    "loss",
    [
        pretrain.MultiLabelLoss(2.0, WEIGHTS[0], 0.1, name="a", reduction=None),
        pretrain.AsymmetricLoss(1.0, 2.0, 0.3, WEIGHTS[1], name="b"),
        pretrain.SoftmaxLoss(0.2, name="c", reduction="sum"),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_every_argument_of_a_loss_survives_its_config(loss, rng):
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert again.get_config() == loss.get_config()
    assert set(loss.get_config()) == set(
        inspect.signature(type(loss)).parameters
    )
    labels = _random_labels(rng, 3, 2, C)
    logits = rng.normal(0, 1, (3, C)).astype("float32")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(loss(labels, logits)),
        ops.convert_to_numpy(again(labels, logits)),
    )


@pytest.mark.parametrize(
    "function, arguments, message",
    [
        (
            "sigmoid_cross_entropy",
            {"positive_weight": [1, 2]},
            "one number per class",
        ),
        ("sigmoid_cross_entropy", {"class_weights": -1.0}, "not negative"),
        ("sigmoid_cross_entropy", {"label_smoothing": 1.0}, r"in \[0, 1\)"),
        ("softmax_cross_entropy", {"label_smoothing": -0.1}, r"in \[0, 1\)"),
        ("asymmetric_loss", {"gamma_negative": 0.5}, "0 or at least 1"),
        ("asymmetric_loss", {"margin": 1.0}, r"`margin` must lie in \[0, 1\)"),
    ],
)
def test_arguments_out_of_range_are_refused(function, arguments, message):
    logits = ops.zeros((1, C))
    with pytest.raises(ValueError, match=message):
        getattr(pretrain, function)(np.array([[1]]), logits, **arguments)


def test_the_loss_is_exact_for_logits_of_any_size():
    x = np.float32([-80, -30, -17, -1e-3, 0, 1e-3, 17, 30, 90])
    labels = np.full((len(x), 1), -1)
    found = pretrain.sigmoid_cross_entropy(labels, ops.array(x[:, None]))
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), np.logaddexp(0, x.astype("float64")), 2e-6
    )


@pytest.mark.parametrize(
    "loss",
    [pretrain.MultiLabelLoss, pretrain.AsymmetricLoss, pretrain.SoftmaxLoss],
)
def test_multi_hot_labels_are_refused_and_nan_in_a_compiled_step(loss, rng):
    dense = np.array([[0, 1, 0], [1, 1, 0]], "int32")
    ids = np.array([[1, -1, -1], [0, 1, -1]], "int32")
    logits = rng.normal(size=(2, 3)).astype("float32")
    with pytest.raises(ValueError, match=r"jft.data.label_ids\(Y\)"):
        loss()(dense, logits)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    model.compile(loss=loss())
    assert np.isnan(model.evaluate(logits, dense, verbose=0))
    assert np.isfinite(model.evaluate(logits, ids, verbose=0))
