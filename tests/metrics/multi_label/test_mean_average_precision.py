import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.metrics import MeanAveragePrecision, evaluate_multi_label

VARIANTS = ("A", "B", "C")


def labels_and_logits(rng, num_images=40, num_classes=9, decimals=1):
    """Ids with padding anywhere and repeats; logits with ties and nan."""
    labels = rng.integers(-1, num_classes, (num_images, 4))
    logits = rng.normal(size=(num_images, num_classes)).round(decimals)
    logits[rng.random(logits.shape) < 0.03] = np.nan
    return labels, logits.astype("float32")


def streamed(metric, labels, logits, batch_size=16):
    for start in range(0, len(logits), batch_size):
        batch = slice(start, start + batch_size)
        metric.update_state(labels[batch], logits[batch])
    return float(metric.result())


@pytest.mark.ops
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_equals_the_numpy_metric(variant, rng):
    weights = rng.integers(0, 3, 9).tolist()
    metric = MeanAveragePrecision(
        k=3, variant=variant, class_weights=weights, max_images=50
    )
    for _ in range(4):
        metric.reset_state()
        labels, logits = labels_and_logits(rng)
        expected = evaluate_multi_label(labels, logits, 3, variant, weights)
        result = streamed(metric, labels, logits)
        assert result == pytest.approx(expected["map"], abs=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_k_above_the_classes_and_the_images_keeps_all(variant, rng):
    labels, logits = labels_and_logits(rng)
    metric = MeanAveragePrecision(variant=variant, max_images=50)
    expected = evaluate_multi_label(labels, logits, variant=variant)["map"]
    assert streamed(metric, labels, logits) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_worked_example(variant):
    # Class 0 finds its image second, class 1 its two images first.
    metric = MeanAveragePrecision(k=2, variant=variant)
    metric.update_state([[1], [1], [0]], [[9.0, 8.0], [2.0, 7.0], [6.0, 1.0]])
    # B: images find their one label second, first, first.
    expected = {"A": 3 / 4, "B": (1 / 2 + 1 + 1) / 3, "C": 3 / 4}[variant]
    assert float(metric.result()) == pytest.approx(expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_reset_forgets_everything(variant, rng):
    metric = MeanAveragePrecision(k=3, variant=variant, max_images=40)
    streamed(metric, *labels_and_logits(rng))
    metric.reset_state()
    assert np.isnan(float(metric.result()))
    labels, logits = labels_and_logits(rng, num_images=7)
    expected = evaluate_multi_label(labels, logits, 3, variant)["map"]
    assert streamed(metric, labels, logits) == pytest.approx(expected, abs=1e-6)


@pytest.mark.ops
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_counts_the_same_in_fit_and_evaluate(variant, rng):
    labels, features = labels_and_logits(rng, decimals=6)
    features = np.nan_to_num(features)
    model = keras.Sequential([keras.Input((9,)), keras.layers.Dense(9)])
    model.compile(
        optimizer=keras.optimizers.SGD(0.0),
        loss=lambda labels, logits: ops.mean(logits),
        metrics=[MeanAveragePrecision(k=3, variant=variant, max_images=40)],
    )
    # The last batch is smaller than the others.
    history = model.fit(
        features, labels, batch_size=16, epochs=2, shuffle=False, verbose=0
    )
    scores = model.evaluate(
        features, labels, batch_size=16, return_dict=True, verbose=0
    )
    logits = model.predict(features, verbose=0)
    expected = evaluate_multi_label(labels, logits, 3, variant)["map"]
    assert history.history["map"] == pytest.approx([expected] * 2, abs=1e-6)
    assert scores["map"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.ops
def test_ids_keep_their_value_beside_half_precision_logits():
    # As bfloat16, 18290 would read 18304.
    metric = MeanAveragePrecision(k=2, max_images=4)
    logits = np.zeros((1, 18_291), "float32")
    logits[0, 18_290] = 1
    metric.update_state([[18_290]], ops.cast(logits, "bfloat16"))
    assert float(metric.result()) == 1
    with pytest.raises(ValueError, match="16 bits of a float round ids"):
        metric.update_state(
            ops.convert_to_tensor([[18_290.0]], dtype="bfloat16"), logits
        )


@pytest.mark.parametrize("variant", ["A", "B"])
def test_more_images_than_max_images_is_an_error_that_names_it(variant):
    metric = MeanAveragePrecision(max_images=3, variant=variant)
    metric.update_state([[0]] * 5, [[1.0, 0.0]] * 5)
    with pytest.raises(ValueError, match="max_images=5 or more"):
        metric.result()
    metric.reset_state()
    metric.update_state([[0]] * 3, [[1.0, 0.0]] * 3)
    assert float(metric.result()) == 1


def test_a_state_of_no_images_is_refused():
    with pytest.raises(ValueError, match="`max_images` must be a whole"):
        MeanAveragePrecision(max_images=0)


def test_variant_c_takes_any_number_of_images():
    metric = MeanAveragePrecision(variant="C", max_images=3)
    metric.update_state([[0]] * 5, [[1.0, 0.0]] * 5)
    assert float(metric.result()) == 1


def test_too_many_images_are_an_error_in_evaluate_too():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Activation(None)])
    model.compile(
        loss=lambda labels, logits: ops.mean(logits),
        metrics=[MeanAveragePrecision(max_images=4)],
    )
    x = np.eye(2, dtype="float32").repeat(3, axis=0)
    labels = np.zeros((6, 1), "int32")
    with pytest.raises(ValueError, match="max_images=6 or more"):
        model.evaluate(x, labels, verbose=0)


def test_an_id_that_is_not_a_class_is_an_error():
    metric = MeanAveragePrecision()
    metric.update_state([[2, 0], [1, -2]], [[1.0, 0.0]] * 2)
    with pytest.raises(ValueError, match=r"2 label ids are outside of 0\.\.1"):
        metric.result()


def test_weights_of_images_are_refused():
    with pytest.raises(ValueError, match="class_weights"):
        MeanAveragePrecision().update_state([[0]], [[1.0]], [1.0])


def test_every_argument_survives_its_config():
    arguments = {
        "k": 7,
        "num_classes": 3,
        "variant": "B",
        "class_weights": [0.5, 1.0, 2.0],
        "max_images": 11,
        "name": "map_at_7",
    }
    metric = MeanAveragePrecision(**arguments)
    config = keras.saving.serialize_keras_object(metric)
    copy = keras.saving.deserialize_keras_object(config)
    assert {key: getattr(copy, key) for key in arguments} == arguments
    assert copy.scores.shape == (11, 3)


def test_the_state_is_built_from_the_first_logits():
    metric = MeanAveragePrecision(k=5, max_images=6)
    metric.update_state([[0]], np.zeros((1, 8), "float32"))
    assert metric.scores.shape == (6, 5)
    assert metric.positives.shape == (8,)
    assert metric.result_at_epoch_end


@pytest.mark.parametrize("variant", ["A", "B", "C"])
def test_logits_of_other_classes_are_refused(variant):
    metric = MeanAveragePrecision(
        k=3, variant=variant, num_classes=10, max_images=4
    )
    with pytest.raises(ValueError, match="logits for 10 classes.*for 5"):
        metric.update_state(np.int32([[1]]), np.zeros((1, 5), "float32"))


def test_multi_hot_labels_are_an_error_where_the_result_is_read(rng):
    dense = np.array([[0, 1, 0], [1, 1, 0]], "int32")
    metric = MeanAveragePrecision(k=2)
    metric.update_state(dense, rng.normal(size=(2, 3)))
    with pytest.raises(ValueError, match=r"jft.data.label_ids\(Y\)"):
        metric.result()
    metric.reset_state()
    ids = [[1, -1, -1], [0, 1, -1]]
    metric.update_state(ids, [[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    assert float(metric.result()) == 1.0
    two = MeanAveragePrecision(k=2)
    two.update_state([[0, 1], [1, 0]], [[0.0, 1.0], [1.0, 0.0]])  # Legal ids.
    assert float(two.result()) == 1.0
