"""Pairs of labels against a loop over all pairs of every image."""

import itertools
from collections import Counter

import numpy as np
import pytest

from keras_jft.data.label_sets import label_sets
from keras_jft.data.statistics.counts import LabelPairs


def _pairs(rows, classes, num_classes, hierarchy=None, chunk=77):
    pairs = LabelPairs(classes)
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        pairs.add(label_sets(part, num_classes, hierarchy))
    return pairs


def test_pairs_and_their_lift_are_those_of_a_loop(rng):
    rows = [rng.integers(0, 30, rng.integers(0, 8)) for _ in range(400)]
    classes = [1, 2, 4, 8, 16, 29]
    kept = [set(row.tolist()) & set(classes) for row in rows]
    together = Counter(
        pair for row in kept for pair in itertools.combinations(sorted(row), 2)
    )
    alone = Counter(label for row in kept for label in row)
    found = _pairs(rows, classes, 30).top(100)
    assert {(p.first, p.second): p.images for p in found} == dict(together)
    for pair in found:
        chance = alone[pair.first] / 400 * alone[pair.second] / 400
        assert pair.lift == pytest.approx(pair.images / 400 / chance)
    assert [p.images for p in found] == sorted(together.values())[::-1]
    lifts = [p.lift for p in _pairs(rows, classes, 30).top(5, "lift")]
    assert lifts == sorted((p.lift for p in found), reverse=True)[:5]


def test_what_the_hierarchy_says_is_no_pair(tree):
    # animal, dog, pet, corgi and car: the corgi and the car are a pair.
    found = _pairs([[0, 1, 3, 4, 5]] * 3, range(6), 6, tree).top(10)
    assert [(p.first, p.second, p.images) for p in found] == [(4, 5, 3)]


def test_pairs_on_few_images_can_be_left_out():
    pairs = _pairs([[0, 1]] * 3 + [[0, 2]] * 5, [0, 1, 2], 3)
    assert [p.second for p in pairs.top(9, fewest=4)] == [2]


def test_one_class_and_no_image_have_no_pairs():
    assert _pairs([[0]] * 3, [0], 1).top(3) == []
    assert LabelPairs([]).top(3) == []


def test_the_lift_of_300m_images_does_not_overflow():
    pairs = _pairs([[0, 1]] * 2, [0, 1], 2)
    pairs._shared *= 150_000_000
    pairs.num_images = 600_000_000
    (pair,) = pairs.top(1)
    assert pair.lift == pytest.approx(2) and np.isfinite(pair.lift)
