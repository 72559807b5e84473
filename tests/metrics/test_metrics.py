"""What every metric must do: `check_metric` over the table."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_jft.metrics import METRICS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """Truth, right predictions, and those with one error and their score.

    Arrays, or dicts of them, of as many examples.
    """

    truth: object
    right: object
    wrong: object
    expected: float


# Two images; class 1 is in both.
BOXES = {
    "boxes": np.array(
        [[[0, 0, 9, 9], [20, 0, 40, 9]], [[5, 5, 9, 9], [0, 0, 1, 1]]], float
    ),
    "labels": np.array([[0, 1], [1, -1]]),
}
SCORES = np.array([[0.9, 0.8], [0.7, 0.0]])

# Four people with three of four keypoints, one person an image.
_POSES = np.array([[[5, 5, 2], [45, 25, 1], [25, 65, 2], [0, 0, 0]]] * 4)

CASES = {
    "classification": Case(
        truth=np.array([0, 1, 1, 2]),
        right=np.eye(4)[[0, 1, 1, 2]],
        wrong=np.eye(4)[[0, 1, 2, 2]],
        expected=3 / 4,
    ),
    "detection": Case(
        truth=BOXES,
        right={**BOXES, "scores": SCORES},
        # Class 1 is found in one image, before a wrong box in the other:
        # precision 1 at the 51 recalls up to 0.5.
        wrong={
            "boxes": BOXES["boxes"] + [[[0]], [[50]]],
            "labels": BOXES["labels"],
            "scores": SCORES,
        },
        expected=(1 + 51 / 101) / 2,
    ),
    "multi_label": Case(
        truth=np.array([[0, -1], [-1, 1], [1, 0], [2, 2]]),
        right=np.array(
            [[9, 1, 1, 0], [1, 9, 2, 0], [8, 8, 3, 0], [3, 2, 9, 0]]
        ),
        # Class 0 ranks image 3 between its two: (1 + 2 / 3) / 2.
        wrong=np.array(
            [[9, 1, 1, 0], [1, 9, 2, 0], [2, 8, 3, 0], [3, 2, 9, 0]]
        ),
        expected=(5 / 6 + 1 + 1) / 3,
    ),
    "segmentation": Case(
        truth=np.array([[[0, 0], [1, 255]], [[1, 1], [2, 2]]], np.uint8),
        right=np.array([[[0, 0], [1, 0]], [[1, 1], [2, 2]]]),
        # One pixel of class 2 goes to class 1: 2/2, 3/4, 1/2.
        wrong=np.array([[[0, 0], [1, 0]], [[1, 1], [1, 2]]]),
        expected=(1 + 3 / 4 + 1 / 2) / 3,
    ),
    "pose": Case(
        truth=_POSES,
        right=_POSES,
        # One of four people is far off: recall ends at 3/4. Precision is 1 up
        # to there, at 76 of the 101 levels 0, 0.01, ..., 1.
        wrong=_POSES + 900 * (np.arange(4) == 3)[:, None, None],
        expected=76 / 101,
    ),
}


def check_metric(make, case):
    """Checks a metric on perfect, empty, wrong and streamed input."""
    score = make().score
    perfect = make().evaluate([(case.truth, case.right)])
    # pycocotools divides by hits and misses, and 2e-16.
    assert perfect[score] == pytest.approx(1, abs=1e-15)
    assert perfect["counted"] > 0

    for empty in (
        make().result(),
        make().evaluate([(_part(case.truth, 0), _part(case.right, 0))]),
    ):
        assert np.isnan(empty[score])
        assert empty["counted"] == 0

    one_wrong = make().evaluate([(case.truth, case.wrong)])
    assert one_wrong[score] == pytest.approx(case.expected)

    streamed = make()
    for i in range(len(keras.tree.flatten(case.truth)[0])):
        streamed.update(
            _part(case.truth, i, i + 1), _part(case.wrong, i, i + 1)
        )
        streamed.result()  # Reading the numbers changes nothing.
    np.testing.assert_equal(streamed.result(), one_wrong)

    # The last class has no example: it is left out, and says so.
    assert np.isnan(one_wrong["per_class"][-1])

    with pytest.raises(ValueError, match="Received"):
        make().update(case.truth, _part(case.right, 1))
    with pytest.raises(ValueError, match="Received"):
        moved = keras.tree.map_structure(lambda rows: rows + 0.5, case.truth)
        make().update(moved, case.right)


def _part(entry, *limits):
    """Some examples of arrays, or of a dict of them."""
    return keras.tree.map_structure(lambda rows: rows[slice(*limits)], entry)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_keeps_the_contract(name):
    # Four keypoints have no falloffs that everybody uses.
    options = {"sigmas": [0.079] * 4} if name == "pose" else {}
    check_metric(lambda: METRICS[name](num_classes=4, **options), CASES[name])
