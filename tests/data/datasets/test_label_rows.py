"""Labels in two arrays are those of a list of sets, closed by hand."""

import numpy as np
import pytest

from keras_jft.data.datasets import label_rows
from keras_jft.data.datasets.label_rows import LabelRows
from keras_jft.data.hierarchy import LabelHierarchy

ABOVE = {0: [], 1: [0], 2: [0], 3: [1, 0], 4: []}
TREE = LabelHierarchy("abcde", [("a", "b"), ("a", "c"), ("b", "d")])


@pytest.fixture
def pairs(rng):
    """Examples 0..49, some without any pair, and labels; some repeat."""
    return rng.integers(0, 50, 90), rng.integers(0, 5, 90)


@pytest.mark.parametrize("tree", [None, TREE])
def test_rows_are_closed_sets(pairs, tree, monkeypatch):
    monkeypatch.setattr(label_rows, "_CHUNK", 7)
    expected = [set() for _ in range(50)]
    for example, label in zip(*map(np.ndarray.tolist, pairs), strict=True):
        expected[example] |= {label, *(ABOVE[label] if tree else ())}
    rows = LabelRows(*pairs, 50, 5, tree)
    assert len(rows) == 50
    assert [row.tolist() for row in rows] == [*map(sorted, expected)]
    assert rows[0].dtype == np.int32
    counts, longest = rows.count()
    assert counts.tolist() == [sum(c in s for s in expected) for c in range(5)]
    assert longest == max(map(len, expected))


def test_no_labels_are_rows_too():
    rows = LabelRows([], [], 3, 0)
    assert [row.tolist() for row in rows] == [[], [], []]
    assert rows.count()[1] == 0
    assert len(LabelRows([], [], 0, 4, None)) == 0
