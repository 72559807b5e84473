"""Annotations are read in chunks; what cannot be read is counted."""

import numpy as np

from keras_jft.data.failures import Failures
from keras_jft.data.statistics import describe


def test_chunks_are_all_examples_in_order(make_data, monkeypatch):
    monkeypatch.setattr(describe, "CHUNK", 7)
    data = make_data(20)
    chunks = list(describe._scan(data))
    assert [len(chunk.ids) for chunk in chunks] == [7, 7, 6]
    assert np.concatenate([c.positions for c in chunks]).tolist() == [
        *range(20)
    ]
    rows = [row.tolist() for chunk in chunks for row in chunk.rows]
    assert rows == [e["labels"].tolist() for e in data.examples]


def test_unreadable_examples_are_left_out_and_counted(listed, monkeypatch):
    monkeypatch.setattr(describe, "CHUNK", 4)
    image = np.zeros((2, 2, 3), "uint8")
    examples = [
        {"images": image, "labels": np.int32(i % 3), "ids": f"{i}.png"}
        for i in range(10)
    ]
    bad = {"4.png", "5.png", "6.png", "7.png", "9.png"}
    failures = Failures()
    chunks = list(describe._scan(listed(examples, bad), failures))
    assert [chunk.positions.tolist() for chunk in chunks] == [
        [0, 1, 2, 3],
        [8],
    ]
    assert {name for name, _ in failures.named} == bad
    assert failures.causes == {"is damaged": 5}


def test_boxes_give_the_labels_where_there_are_none(listed):
    entry = {
        "boxes": np.zeros((4, 4), "float32"),
        "labels": np.array([2, 2, 0, 1], "int32"),
        "ignored": np.array([False, False, False, True]),
    }
    image = np.zeros((2, 2, 3), "uint8")
    examples = [
        {"images": image, "bounding_boxes": entry, "ids": 0},
        {"images": image, "ids": 1},
    ]
    (chunk,) = describe._scan(listed(examples))
    assert [row.tolist() for row in chunk.rows] == [[0, 2], []]
    assert not chunk.has_labels and len(chunk.entries) == 1


def test_of_people_the_images_are_read(listed):
    entry = {"boxes": np.zeros((2, 4)), "labels": np.zeros(2, "int32")}
    data = listed([{"ids": i} for i in range(3)], people={7: entry, 8: entry})
    (chunk,) = describe._scan(data)
    assert chunk.ids == [7, 8] and data.reads == []
