"""Counts of boxes, by hand."""

import numpy as np

from keras_jft.data.statistics.counts import BoxCounts, counted_labels


def _entry(labels, ignored=None):
    entry = {"labels": np.array(labels, "int32")}
    if ignored is not None:
        entry["ignored"] = np.array(ignored, bool)
    return entry


def test_boxes_are_counted_by_image_and_class():
    counts = BoxCounts(3)
    counts.add([_entry([0, 0, 2]), _entry([])])
    counts.add([_entry([2, 1, -1], [False, True, True])])
    assert counts.per_image.counts.tolist() == [1, 1, 0, 1]
    assert counts.boxes.tolist() == [2, 0, 2]
    assert counts.ignored == 1


def test_padding_and_ignored_boxes_are_not_counted():
    entry = _entry([4, -1, 5], [True, False, False])
    assert counted_labels(entry).tolist() == [5]


def test_classes_beyond_the_names_are_not_counted():
    counts = BoxCounts(2)
    counts.add([_entry([0, 7])])
    assert counts.boxes.tolist() == [1, 0]
