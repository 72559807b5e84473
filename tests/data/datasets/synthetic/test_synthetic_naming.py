"""What the synthetic world calls things, and how often it is wrong."""

import numpy as np
import pytest

from keras_jft.data.datasets import synthetic
from keras_jft.data.datasets.synthetic import vocabulary

COUNT = 20_000


def label_sets(**arguments):
    """Label names of many images, which are rendered as small as can be."""
    data = synthetic.load(image_size=1, **arguments)
    names = np.array(data.info.label_names)
    return [set(names[e["labels"]]) for e in data.take(range(COUNT))]


def leaves(names):
    return {name for name in names if name.count(" ") == 2}


@pytest.fixture(scope="module")
def noisy():
    return label_sets()


@pytest.fixture(scope="module")
def clean():
    return label_sets(wrong_labels=0, missing_labels=0)


def test_label_sets_are_closed_and_hold_nothing_without_a_leaf(noisy):
    hierarchy = synthetic.load().info.hierarchy
    parents = {
        name: {hierarchy.names[p] for p in hierarchy.parents(label)}
        for label, name in enumerate(hierarchy.names)
    }
    for names in noisy[:2000]:
        assert all(parents[name] <= names for name in names)
        reached = leaves(names)
        for _ in range(hierarchy.depth):
            reached = reached.union(*(parents[name] for name in reached))
        assert reached == names


def test_an_image_of_the_training_split_has_1_26_labels(noisy):
    given = [len(leaves(names)) for names in noisy]
    assert np.mean(given) == pytest.approx(1.26, abs=0.02)
    assert max(given) == 3


def test_the_test_split_names_every_object():
    named = [
        len(leaves(names))
        for names in label_sets(split="test", num_examples=COUNT)
    ]
    assert min(named) == 1
    # 1.41 objects, less the few pairs of the same combination.
    assert np.mean(named) == pytest.approx(1.40, abs=0.02)


def test_frequencies_fall_with_rank_to_the_power_0_8(clean):
    counts = dict.fromkeys(map(vocabulary.name, vocabulary.named()), 0)
    for names in clean:
        for name in leaves(names):
            counts[name] += 1
    ranks = np.log(np.arange(1, 201))
    slope, _ = np.polyfit(ranks, np.log(list(counts.values())), 1)
    assert slope == pytest.approx(-0.8, abs=0.06)


def test_few_names_are_common_and_rare_ones_and_nothing_else():
    ranks = {vocabulary.name(n): i for i, n in enumerate(vocabulary.named())}
    few = label_sets(num_names=10, wrong_labels=0.5)
    shown = {name for names in few for name in leaves(names)}
    assert sorted(ranks[name] for name in shown) == list(range(0, 200, 20))


def test_without_a_long_tail_all_names_are_as_common():
    data = synthetic.load(image_size=1, long_tail=0, num_names=20)
    clean = label_sets(
        wrong_labels=0, missing_labels=0, long_tail=0, num_names=20
    )
    counts = {}
    for names in clean:
        for name in leaves(names):
            counts[name] = counts.get(name, 0) + 1
    share = np.array(list(counts.values())) / sum(counts.values())
    # Five standard deviations of a count of 1 in 20.
    error = 5 * (0.05 * 0.95 / sum(counts.values())) ** 0.5
    np.testing.assert_allclose(share, 0.05, atol=error)
    found = data.info.class_counts[data.info.label_names.index("warm")]
    warm = [n for n in vocabulary.named()[::10] if _is_warm(n)]
    # An object in twenty of each name: none of 1, 2 or 3 objects is warm.
    cool = 1 - 0.9 * (0.8 * len(warm) / 20 + 0.2 * _mistaken(warm))
    none = 0.67 * cool + 0.25 * cool**2 + 0.08 * cool**3
    assert found == pytest.approx(len(data) * (1 - none), rel=1e-3)


def _is_warm(combination):
    color = vocabulary.name(combination).split()[0]
    return vocabulary.COLORS[color] == "warm"


def _mistaken(warm):
    """How likely a wrong name of one of the 20 is a warm one."""
    every = vocabulary.named()[::10]
    chances = []
    for true in every:
        others = [n for n in every if n != true]
        alike = [
            n
            for n in others
            if vocabulary.name(n).split()[1:]
            == vocabulary.name(true).split()[1:]
        ]
        alike = alike or others
        chances.append(
            0.7 * np.mean([n in warm for n in alike])
            + 0.3 * np.mean([n in warm for n in others])
        )
    return np.mean(chances)


@pytest.mark.parametrize("wrong, missing", ((0.2, 0.1), (0.45, 0.3)))
def test_the_rates_of_wrong_and_missing_labels_are_recovered(
    clean, noisy, wrong, missing
):
    if (wrong, missing) != (0.2, 0.1):  # The default.
        noisy = label_sets(wrong_labels=wrong, missing_labels=missing)
    pairs = [
        (leaves(true), leaves(given))
        for true, given in zip(clean, noisy, strict=True)
        if len(leaves(true)) == 1
    ]
    absent = np.mean([not given for _, given in pairs])
    named = [(*true, *given) for true, given in pairs if len(given) == 1]
    mistakes = [(t.split(), g.split()) for t, g in named if t != g]
    siblings = np.mean([t[1:] == g[1:] for t, g in mistakes])

    error = 4 * 0.5 / len(pairs) ** 0.5
    assert absent == pytest.approx(missing, abs=error)
    assert len(mistakes) / len(named) == pytest.approx(wrong, abs=error)
    assert 0.65 < siblings < 0.8


def test_no_noise_means_that_every_image_is_named(clean):
    assert all(names for names in clean)


def test_the_expected_class_counts_are_those_counted(noisy):
    info = synthetic.load(num_examples=COUNT).info
    counted = dict.fromkeys(info.label_names, 0)
    for names in noisy:
        for name in names:
            counted[name] += 1
    expected = info.class_counts
    deviations = (np.array(list(counted.values())) - expected) / expected**0.5
    assert len(expected) == len(info.label_names)
    assert np.mean(deviations**2) < 1.5
    assert np.abs(deviations).max() < 5


def test_pre_training_neither_names_nor_shows_an_unseen_combination(clean):
    unseen = {vocabulary.name(c) for c in vocabulary.unseen()}
    names = set(synthetic.load().info.label_names)
    classes = synthetic.load(task="classification").info.label_names
    assert len(unseen) == 280
    assert not unseen & names
    assert set(classes) <= unseen and len(set(classes)) == 20
    assert not unseen.intersection(*map(leaves, clean))
