"""Detection: what the metric takes, and what it refuses."""

import numpy as np
import pytest

from keras_jft import metrics

ONE = {"boxes": np.array([[[0.0, 0, 10, 10]]]), "labels": np.array([[1]])}
FOUND = {**ONE, "scores": np.array([[0.5]])}


def test_padding_and_lists_of_images_score_alike(rng):
    corners = np.sort(rng.uniform(0, 99, (3, 5, 2, 2)), axis=2)
    boxes = corners.reshape(3, 5, 4)
    labels = np.array([[0, 1, 1, -1, -1], [-1] * 5, [1, -1, 0, -1, 1]])
    boxes[labels < 0] = np.nan  # Whatever a row of padding holds.
    scores = np.where(labels < 0, np.nan, rng.uniform(size=(3, 5)))
    truth = {"boxes": boxes, "labels": labels}
    found = {**truth, "scores": scores, "labels": labels[:, ::1]}
    whole = metrics.evaluate_detection(truth, found, num_classes=2)
    assert whole["ap"] == pytest.approx(1) and whole["counted"] == 2
    lists = [
        [
            {key: rows[i][labels[i] >= 0] for key, rows in entry.items()}
            for i in range(3)
        ]
        for entry in (truth, found)
    ]
    of_lists = metrics.evaluate_detection(*lists, num_classes=2)
    np.testing.assert_equal(of_lists, whole)


def test_images_and_batches_without_boxes_count():
    empty = {"boxes": np.zeros((2, 0, 4)), "labels": np.zeros((2, 0), int)}
    nothing = {**empty, "scores": np.zeros((2, 0))}
    metric = metrics.Detection(num_classes=2)
    metric.update(empty, nothing)
    assert np.isnan(metric.result()["ap"])
    metric.update(ONE, FOUND)
    assert metric.result()["ap"] == pytest.approx(1)
    # A wrong box in an empty image, of a higher score, halves precision.
    metric.update(
        {"boxes": np.zeros((1, 0, 4)), "labels": np.zeros((1, 0), int)},
        {**FOUND, "scores": np.array([[0.9]])},
    )
    assert metric.result()["ap"] == pytest.approx(0.5)
    assert metric.result()["voc_ap"] == pytest.approx(0.5)


def test_500_boxes_in_one_image_and_boxes_below_a_pixel_count(rng):
    corner = rng.uniform(0, 1000, (500, 2))
    boxes = np.concatenate([corner, corner + 0.01], axis=-1)[None]
    truth = {"boxes": boxes, "labels": np.zeros((1, 500), int)}
    found = {**truth, "scores": rng.uniform(size=(1, 500))}
    result = metrics.evaluate_detection(truth, found, num_classes=1)
    # COCO reads the best 100 detections of an image, VOC all.
    assert result["ar100"] == pytest.approx(0.2)
    assert result["voc_ap"] == pytest.approx(1)


def _changed(entry, **changes):
    return {**entry, **changes}


BAD_BOXES = {
    "nan": [[[0, 0, np.nan, 10]]],
    "infinite": [[[0, 0, np.inf, 10]]],
    "inverted": [[[10, 0, 0, 10]]],
    "text": [[["0", "0", "10", "10"]]],
    "three numbers": [[[0, 0, 10]]],
    "two for one label": [[[0, 0, 10, 10], [0, 0, 10, 10]]],
    "objects": [[[None, 0, 10, 10]]],
}
BAD_LABELS = {
    "above": [[2]],
    "below": [[-2]],
    "fraction": [[1.0]],
    "text": [["1"]],
    "flat": [1],
}
BAD_SCORES = {
    "nan": [[np.nan]],
    "infinite": [[-np.inf]],
    "text": [["high"]],
    "two": [[0.5, 0.5]],
}


@pytest.mark.parametrize(
    ("key", "value"),
    [("boxes", value) for value in BAD_BOXES.values()]
    + [("labels", value) for value in BAD_LABELS.values()]
    + [("scores", value) for value in BAD_SCORES.values()],
    ids=[*BAD_BOXES, *BAD_LABELS, *BAD_SCORES],
)
def test_malformed_predictions_are_refused(key, value):
    with pytest.raises(ValueError, match="predictions|Predicted|Scores"):
        metrics.evaluate_detection(ONE, _changed(FOUND, **{key: value}), 2)


@pytest.mark.parametrize(
    ("key", "value"),
    [("boxes", value) for value in BAD_BOXES.values()]
    + [("boxes", [[[0, 0, 0, 10]]])]
    + [("labels", value) for value in BAD_LABELS.values()]
    + [("areas", [[np.nan]]), ("areas", [[-1.0]]), ("ignored", [["no"]])],
)
def test_malformed_truth_is_refused(key, value):
    with pytest.raises(ValueError, match="truth|True|`areas`"):
        metrics.evaluate_detection(_changed(ONE, **{key: value}), FOUND, 2)


@pytest.mark.parametrize("key", ["boxes", "labels", "scores"])
def test_what_is_missing_is_named(key):
    found = {name: rows for name, rows in FOUND.items() if name != key}
    with pytest.raises(ValueError, match=r"\['boxes', 'labels', 'scores'\]"):
        metrics.evaluate_detection(ONE, found, 2)


def test_predictions_of_other_images_are_refused():
    two = {key: np.repeat(rows, 2, axis=0) for key, rows in FOUND.items()}
    with pytest.raises(ValueError, match="1 image, 2 predictions"):
        metrics.evaluate_detection(ONE, two, 2)
    one, found = ({k: v[0] for k, v in e.items()} for e in (ONE, FOUND))
    with pytest.raises(ValueError, match="1 image, 2 predictions"):
        metrics.evaluate_detection([one], [found, found], 2)
    with pytest.raises(ValueError, match="the same entries"):
        metrics.evaluate_detection(
            [one, {**one, "ignored": [False]}], [found, found], 2
        )
    with pytest.raises(ValueError, match="Received: list"):
        metrics.evaluate_detection([[1, 2]], [found], 2)
    with pytest.raises(ValueError, match="`num_classes` must be above 0"):
        metrics.Detection(num_classes=0)
