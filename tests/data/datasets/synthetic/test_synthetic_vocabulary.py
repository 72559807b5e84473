"""The words of the synthetic world."""

from keras_jft.data.datasets import synthetic
from keras_jft.data.datasets.synthetic import vocabulary


def test_the_hierarchy_has_five_levels_and_two_ways_up():
    hierarchy = synthetic.load().info.hierarchy
    assert hierarchy.depth == 5
    assert len(hierarchy.leaves) == 200
    assert 200 < len(hierarchy) < 400
    above = {hierarchy.names[i] for i in hierarchy.close([hierarchy.leaves[0]])}
    color, texture, shape = hierarchy.names[hierarchy.leaves[0]].split()
    assert {color, shape, f"{texture} {shape}"} < above and len(above) == 7


def test_every_part_of_an_unseen_combination_is_known():
    names = set(synthetic.load().info.label_names)
    for combination in vocabulary.unseen():
        color, texture, shape = vocabulary.name(combination).split()
        assert {color, shape, f"{texture} {shape}"} <= names
