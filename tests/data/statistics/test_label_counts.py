"""Counts of labels against `collections.Counter`."""

from collections import Counter

import numpy as np

from keras_jft.data.label_sets import label_sets
from keras_jft.data.statistics.counts import LabelCounts


def _counted(rows, num_classes, hierarchy=None, chunk=77, **options):
    counts = LabelCounts(num_classes, **options)
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        ids = [f"{start + i}.jpg" for i in range(len(part))]
        counts.add(ids, label_sets(part, num_classes, hierarchy))
    return counts


def test_counts_are_those_of_a_loop(tree, rows):
    counts = _counted(rows, 6, tree)
    images = Counter(label for row in rows for label in set(row.tolist()))
    assert counts.images.tolist() == [images[label] for label in range(6)]
    sizes = Counter(len(set(row.tolist())) for row in rows)
    assert dict(enumerate(counts.given.counts)) == {
        n: sizes[n] for n in range(max(sizes) + 1)
    }
    assert counts.without_labels == sizes[0] > 0
    # A corgi is a dog: of dogs those count that are not said to be corgis.
    dogs = sum({1, 4} & set(row.tolist()) == {1} for row in rows)
    assert counts.specific_images[1] == dogs
    assert counts.specific.sum == counts.specific_images.sum()
    for limit in (0, 20, 100, 200):
        assert counts.below(limit) == sum(images[c] < limit for c in range(6))


def test_the_first_strays_are_named_and_all_are_counted():
    rows = [np.array([1, 9])] * 50
    counts = _counted(rows, 3, chunk=8, most_named=11)
    assert counts.out_of_range == 50
    assert counts.strays == [(f"{i}.jpg", 9) for i in range(11)]
    assert counts.images.tolist() == [0, 50, 0]


def test_without_names_there_are_as_many_classes_as_ids():
    counts = _counted([[0], [5, 2], []], 0, chunk=1)
    assert counts.images.tolist() == [1, 0, 1, 0, 0, 1]
    assert counts.specific_images.tolist() == counts.images.tolist()
