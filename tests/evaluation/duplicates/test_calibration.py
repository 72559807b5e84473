import numpy as np
import pytest
from sklearn import metrics

from keras_jft.evaluation import duplicates
from keras_jft.evaluation.duplicates import calibrate, same_class_pairs


def test_the_curve_is_that_of_scikit_learn(rng):
    copies = rng.normal(0.9, 0.1, 200).round(2)  # With ties.
    others = rng.normal(0.6, 0.1, 300).round(2)
    found = calibrate(copies, others, precision=0.9)
    precisions, recalls, thresholds = metrics.precision_recall_curve(
        np.repeat([1, 0], [200, 300]), np.concatenate([copies, others])
    )
    np.testing.assert_allclose(found.thresholds, thresholds[::-1])
    np.testing.assert_allclose(found.precisions, precisions[-2::-1])
    np.testing.assert_allclose(found.recalls, recalls[-2::-1])
    at = np.nonzero(precisions[:-1] >= 0.9)[0][0]
    assert found.threshold == thresholds[at]
    assert found.recall == pytest.approx(recalls[at])


def test_pairs_are_of_one_class_and_of_different_images(rng):
    labels = np.array([3, 1, 1, 2, 3, 1, 9])
    pairs = same_class_pairs(labels, 500, rng)
    assert (labels[pairs[:, 0]] == labels[pairs[:, 1]]).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert set(pairs.ravel()) == {0, 1, 2, 4, 5}


def test_counts_fall_with_the_threshold():
    found = duplicates.find(np.eye(3), np.float32([[0.6, 0.8, 0]]))
    assert duplicates.counts(found, (0.0, 0.6, 0.7, 0.9)) == {
        0.0: 3,
        0.6: 2,
        0.7: 1,
        0.9: 0,
    }


@pytest.mark.parametrize(
    ("copies", "others", "precision", "message"),
    [
        ([], [0.1], 0.9, "at least one of each"),
        ([0.9], [np.nan], 0.9, "finite"),
        ([0.9], [0.1], 95, r"in \(0, 1\]"),
        ([0.1], [0.9], 0.9, "not more similar"),
    ],
)
def test_bad_samples_are_refused(copies, others, precision, message):
    with pytest.raises(ValueError, match=message):
        calibrate(copies, others, precision)


def test_classes_of_one_image_have_no_pairs(rng):
    with pytest.raises(ValueError, match="two images"):
        same_class_pairs([1, 2, 3], 5, rng)
