"""Sets of labels against loops over Python's sets."""

import numpy as np
import pytest

from keras_jft.data.label_sets import MOST_CLASSES, label_sets

# By hand: everything above each label of `tree`.
ABOVE = {0: set(), 1: {0}, 2: {0}, 3: set(), 4: {0, 1, 3}, 5: set()}


def test_sets_are_those_of_python(tree, rows):
    sets = label_sets(rows, 6, tree)
    given = [sorted(set(row.tolist())) for row in rows]
    assert sets.num_images == 500
    assert sets.labels.tolist() == [label for row in given for label in row]
    assert sets.per_image().tolist() == list(map(len, given))
    assert sets.repeated == sum(map(len, rows)) - sum(map(len, given))
    above = [set().union(*(ABOVE[label] for label in row)) for row in given]
    specific = [
        label not in more
        for row, more in zip(given, above, strict=True)
        for label in row
    ]
    assert sets.is_specific.tolist() == specific
    closed = [set(row) | more for row, more in zip(given, above, strict=True)]
    assert sets.num_closed == sum(map(len, closed))


def test_one_label_an_image_and_padding_are_understood():
    sets = label_sets([np.int32(2), np.array([-1, 1, -1]), 0], 3)
    assert sets.owners.tolist() == [0, 1, 2]
    assert sets.labels.tolist() == [2, 1, 0]
    assert sets.is_specific.all() and sets.num_closed == 3
    assert not len(sets.strays)


def test_labels_out_of_range_are_set_aside(tree):
    sets = label_sets([np.array([6, 4, -2]), np.array([], "int32")], 6, tree)
    assert sets.labels.tolist() == [4]
    assert sets.strays.tolist() == [[0, 6], [0, -2]]
    assert sets.per_image().tolist() == [1, 0]


def test_names_instead_of_ids_are_refused():
    with pytest.raises(ValueError, match="must be integers.*dtype <U3"):
        label_sets([np.array(["dog", "cat"])], 3)


def test_without_names_only_hashes_are_out_of_range():
    sets = label_sets([np.array([7, 2**40]), [MOST_CLASSES - 1]])
    assert sets.labels.tolist() == [7, MOST_CLASSES - 1]
    assert sets.strays.tolist() == [[0, 2**40]]
