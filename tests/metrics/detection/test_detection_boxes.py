import numpy as np
import pytest

from keras_jft.metrics.detection import boxes


def test_rows_of_padding_are_left_out_and_areas_filled_in():
    entry = {
        "boxes": np.array([[[0, 0, 2, 3], [9, 9, 9, 9]], [[1, 1, 2, 2]] * 2]),
        "labels": np.array([[1, -1], [0, 2]]),
    }
    columns, count = boxes.true_boxes(entry, num_classes=3)
    assert count == 2
    assert columns["images"].tolist() == [0, 1, 1]
    assert columns["labels"].tolist() == [1, 0, 2]
    assert columns["areas"].tolist() == [6, 1, 1]
    assert not columns["ignored"].any()


def test_images_of_a_list_are_numbered_and_may_have_no_boxes():
    none = {
        "boxes": np.zeros((0, 4)),
        "labels": np.zeros(0, int),
        "scores": np.zeros(0),
    }
    one = {"boxes": [[0, 0, 1, 1]], "labels": [0], "scores": [0.5]}
    columns, count = boxes.predicted_boxes([none, one, none], 1)
    assert count == 3 and columns["images"].tolist() == [1]
    lists = {"boxes": [], "labels": [], "scores": []}
    columns, count = boxes.predicted_boxes([lists, one], 1)
    assert count == 2 and columns["images"].tolist() == [1]
    columns, count = boxes.predicted_boxes([], 1)
    assert count == 0 and columns["boxes"].shape == (0, 4)
    with pytest.raises(ValueError, match="the same entries"):
        boxes.concatenate([{"a": one}, {"b": one}])
