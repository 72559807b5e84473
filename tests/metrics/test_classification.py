import numpy as np
import pytest
from sklearn.metrics import recall_score, top_k_accuracy_score

from keras_jft.metrics import evaluate_classification


def test_accuracies_equal_scikit_learn(rng):
    labels = rng.integers(0, 6, 200)
    scores = rng.normal(size=(200, 6))
    scores[np.arange(200), labels] += 1
    result = evaluate_classification(labels, scores, top=(1, 2, 5))
    for k in (1, 2, 5):
        expected = top_k_accuracy_score(labels, scores, k=k)
        assert result[f"top{k}"] == pytest.approx(expected)
    recalls = recall_score(labels, scores.argmax(1), average=None)
    np.testing.assert_allclose(result["per_class"], recalls)
    assert result["counted"] == 200


def test_equal_scores_are_ranked_by_class_id():
    # A model that scores all alike names 0, then 1, ...: no free hits.
    labels = np.arange(6)
    result = evaluate_classification(labels, np.ones((6, 6)))
    assert result["top1"] == 1 / 6
    assert result["top5"] == 5 / 6
    assert result["per_class"].tolist() == [1, 0, 0, 0, 0, 0]


def test_a_nan_score_ranks_last():
    scores = np.array([[np.nan, 0.0, -1.0]])
    assert evaluate_classification([0], scores, top=(2,))["top2"] == 0
    assert evaluate_classification([2], scores, top=(2,))["top2"] == 1


def test_a_k_above_the_number_of_classes_is_left_out():
    result = evaluate_classification([0, 2], np.eye(3)[[0, 2]])
    assert set(result) == {"top1", "counted", "per_class"}
    np.testing.assert_equal(result["per_class"], [1, np.nan, 1])


@pytest.mark.parametrize(
    ("labels", "scores", "top", "message"),
    [
        ([3], np.eye(3)[:1], (1,), r"0\.\.2. Received: labels from 3 to 3"),
        ([-1], np.eye(3)[:1], (1,), "from -1 to -1"),
        ([0.5], np.eye(3)[:1], (1,), "integers.*float64"),
        ([[0]], np.eye(3)[:1], (1,), r"labels \(1, 1\)"),
        ([0], np.eye(3)[:1], (0,), "`top` must be whole numbers"),
    ],
)
def test_wrong_input_is_refused_with_what_was_expected(
    labels, scores, top, message
):
    with pytest.raises(ValueError, match=message):
        evaluate_classification(labels, scores, top)
