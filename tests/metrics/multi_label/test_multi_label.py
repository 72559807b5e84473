import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from keras_jft.metrics import MultiLabel, evaluate_multi_label


def brute_force(labels, scores, k, variant, weights):
    """The definitions, one loop at a time."""
    num_images, num_classes = scores.shape
    truth = [{int(c) for c in row if c >= 0} for row in labels]
    scores = np.where(np.isnan(scores), -np.inf, scores)
    top = [
        sorted(range(num_classes), key=lambda c, s=row: (-s[c], c))[:k]
        for row in scores
    ]

    def by_image(images, c):
        return sorted(images, key=lambda i: (-scores[i, c], i))

    def sum_of_precisions(hits, gains=None):
        found, total = 0, 0.0
        for rank, hit in enumerate(hits):
            found += hit
            if hit:
                gain = 1 if gains is None else gains[rank]
                total += gain * found / (rank + 1)
        return total

    total, norm = 0.0, 0.0
    if variant == "B":
        for i in range(num_images):
            heaviest = sorted((weights[c] for c in truth[i]), reverse=True)
            ideal = sum(heaviest[: min(k, num_classes)])
            if ideal > 0:
                hits = [c in truth[i] for c in top[i]]
                gains = [weights[c] for c in top[i]]
                total += sum_of_precisions(hits, gains) / ideal
                norm += 1
    else:
        for c in range(num_classes):
            positives = sum(c in classes for classes in truth)
            if positives == 0:
                continue
            if variant == "A":
                ranked = by_image(
                    [i for i in range(num_images) if c in top[i]], c
                )
                ideal = positives
            else:
                ranked = by_image(range(num_images), c)[:k]
                ideal = min(positives, k)
            hits = [c in truth[i] for i in ranked]
            total += weights[c] * sum_of_precisions(hits) / ideal
            norm += weights[c]
    return total / norm if norm else np.nan


def case(rng, ties):
    """Labels with padding anywhere and repeats, and scores with some nan."""
    num_images, num_classes = rng.integers(1, 40), rng.integers(2, 12)
    labels = rng.integers(-1, num_classes, (num_images, 5))
    scores = rng.normal(size=(num_images, num_classes))
    if ties:
        scores = np.round(scores)
    scores[rng.random(scores.shape) < 0.03] = np.nan
    return labels, scores


@pytest.mark.parametrize("variant", ["A", "B", "C"])
@pytest.mark.parametrize("k", [1, 3, 100])
@pytest.mark.parametrize("ties", [False, True])
def test_every_variant_equals_a_loop(variant, k, ties, rng):
    for _ in range(15):
        labels, scores = case(rng, ties)
        weights = rng.integers(0, 3, scores.shape[1]) / 2
        for given in (None, weights):
            used = np.ones(scores.shape[1]) if given is None else given
            result = evaluate_multi_label(labels, scores, k, variant, given)
            expected = brute_force(labels, scores, k, variant, used)
            assert result["map"] == pytest.approx(expected, nan_ok=True)


def test_batches_of_any_size_give_the_same_numbers(rng):
    labels, scores = case(rng, ties=True)
    for variant in "ABC":
        whole = evaluate_multi_label(labels, scores, 3, variant)
        metric = MultiLabel(scores.shape[1], 3, variant)
        cuts = np.sort(rng.integers(0, len(scores), 4))
        for part in np.split(np.arange(len(scores)), cuts):
            metric.update(labels[part], scores[part])
        np.testing.assert_equal(metric.result(), whole)


def test_without_a_cut_variant_a_is_scikit_learns_average_precision(rng):
    labels = rng.integers(-1, 7, (50, 3))
    scores = rng.normal(size=(50, 7)).astype(np.float32)
    truth = np.array([[c in row for c in range(7)] for row in labels])
    result = evaluate_multi_label(labels, scores, k=7)
    expected = average_precision_score(truth, scores, average=None)
    np.testing.assert_allclose(result["per_class"], expected)
    assert result["map"] == pytest.approx(expected.mean())


def test_a_worked_list_of_hits_gives_one_half():
    # One class; by score the images are wrong, right, wrong, right.
    labels = [[-1], [0], [-1], [0]]
    scores = [[4.0], [3.0], [2.0], [1.0]]
    for variant in "AC":
        result = evaluate_multi_label(labels, scores, variant=variant)
        assert result["map"] == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_a_class_that_no_image_ranks_high_counts_as_zero():
    labels = [[0, 1]]
    result = evaluate_multi_label(labels, [[2.0, 1.0]], k=1)
    assert result["per_class"].tolist() == [1, 0]
    assert (result["map"], result["counted"]) == (0.5, 2)


def test_an_image_without_labels_is_a_false_positive_in_a_and_left_out_in_b():
    labels, scores = [[-1], [0]], [[2.0, 0.0], [1.0, 0.0]]
    assert evaluate_multi_label(labels, scores, k=1)["map"] == 0.5
    by_image = evaluate_multi_label(labels, scores, k=1, variant="B")
    assert by_image == {"map": 1, "counted": 1}


def test_a_perfect_ranking_is_one_however_many_positives():
    labels = np.arange(5)[None]
    scores = np.ones((1, 8))
    scores[0, 5:] = 0
    assert evaluate_multi_label(labels, scores, k=5)["map"] == 1
    # Five positives of one image cannot all be in its best two...
    assert evaluate_multi_label(labels, scores, k=2)["map"] == 2 / 5
    # ... which variant B does not hold against it.
    assert evaluate_multi_label(labels, scores, k=2, variant="B")["map"] == 1


def test_weights_that_sum_to_zero_give_nan():
    for variant in "ABC":
        result = evaluate_multi_label(
            [[0]], [[1.0, 0.0]], variant=variant, class_weights=[0, 1]
        )
        assert np.isnan(result["map"])


def test_only_the_top_k_are_kept_so_that_memory_does_not_grow_with_classes():
    metric = MultiLabel(num_classes=5_000, k=10)
    for _ in range(3):
        metric.update(np.zeros((64, 1), int), np.ones((64, 5_000), np.float32))
    held = sum(part.size for kept in metric._kept for part in kept)
    assert held == 3 * 64 * 10 * 3


@pytest.mark.parametrize(
    ("labels", "arguments", "message"),
    [
        ([[2]], {}, r"in 0\.\.1, or -1.*from 2 to 2"),
        ([[-2]], {}, r"from -2 to -2"),
        ([[0.0]], {}, "integers.*float64"),
        ([0], {}, r"labels \(1,\)"),
        ([[0], [0]], {}, r"labels \(2, 1\), scores \(1, 2\)"),
        ([[0]], {"k": 0}, "`k` must be a whole number above 0"),
        ([[0]], {"variant": "D"}, "`variant` must be one of"),
        ([[0]], {"class_weights": [1]}, r"shape \(2,\).*shape \(1,\)"),
        ([[0]], {"class_weights": [1, -1]}, "1 of them negative"),
        ([[0]], {"class_weights": [1, np.nan]}, "not finite"),
    ],
)
def test_wrong_input_is_refused_with_what_was_expected(
    labels, arguments, message
):
    with pytest.raises(ValueError, match=message):
        evaluate_multi_label(labels, [[1.0, 0.0]], **arguments)


def test_scores_of_another_number_of_classes_are_refused():
    metric = MultiLabel(num_classes=3)
    with pytest.raises(ValueError, match="Expected scores for 3 classes"):
        metric.update([[0]], [[1.0, 0.0]])


def test_multi_hot_labels_are_refused_with_the_conversion():
    scores = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"jft.data.label_ids\(Y\)"):
        evaluate_multi_label([[0, 1, 0], [1, 1, 0]], scores)
