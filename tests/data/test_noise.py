"""Label noise: its rates are recovered from what comes out."""

import numpy as np
import pytest

from keras_jft.data.hierarchy import LabelHierarchy
from keras_jft.data.noise import NoisyLabels

# Two families of 4 and 2 leaves below one root.
NAMES = ["root", "f", "g", "f0", "f1", "f2", "f3", "g0", "g1"]
EDGES = [("root", "f"), ("root", "g")] + [(n[0], n) for n in NAMES[3:]]
TREE = LabelHierarchy(NAMES, EDGES)
LEAVES = np.arange(3, 9)
NUM = 3000


@pytest.fixture(scope="module")
def leaves():
    """One leaf an example, by position."""
    return np.random.default_rng(0).choice(LEAVES, NUM)


@pytest.fixture
def data(listed, leaves):
    image = np.zeros((1, 1, 3), "uint8")
    examples = [
        {"images": image, "labels": TREE.close([leaf]), "ids": f"{i}.jpg"}
        for i, leaf in enumerate(leaves)
    ]
    return listed(examples, label_names=TREE.names, hierarchy=TREE)


def _noisy_leaves(noisy):
    """The leaf of every example, -1 where there is none."""
    leaves = []
    for example in noisy.take(np.arange(NUM)):
        found = np.intersect1d(example["labels"], LEAVES)
        assert example["labels"].dtype == np.int32
        assert example["labels"].tolist() == TREE.close(found).tolist()
        assert len(found) <= 1
        leaves.append(found[0] if len(found) else -1)
    return np.array(leaves)


def _close_to(observed, rate, trials):
    """Within 4 standard deviations of a binomial."""
    return abs(observed - rate) < 4 * np.sqrt(rate * (1 - rate) / trials)


@pytest.mark.parametrize(("wrong", "missing"), [(0.2, 0.0), (0.3, 0.1), (0, 0)])
def test_the_rates_are_recovered(data, leaves, wrong, missing):
    noisy = _noisy_leaves(NoisyLabels(data, wrong=wrong, missing=missing))
    there = noisy >= 0
    assert _close_to(1 - there.mean(), missing, NUM) or missing == 0
    assert missing or there.all()
    changed = (noisy != leaves)[there].mean()
    assert (
        changed == 0 if wrong == 0 else _close_to(changed, wrong, there.sum())
    )


def test_uniform_mistakes_are_spread_over_all_other_leaves(data, leaves):
    noisy = _noisy_leaves(NoisyLabels(data, wrong=1.0))
    assert (noisy != leaves).all()
    for leaf in LEAVES:
        drawn = noisy[leaves == leaf]
        for other in LEAVES[leaf != LEAVES]:
            assert _close_to((drawn == other).mean(), 0.2, len(drawn))


def test_confusable_mistakes_stay_in_the_family(data, leaves):
    noisy = _noisy_leaves(NoisyLabels(data, wrong=1.0, confusable=0.7))
    family = np.array([NAMES[leaf][0] for leaf in leaves])
    same = np.array([NAMES[leaf][0] for leaf in noisy]) == family
    # A uniform mistake also hits the family: 3 of 5, or 1 of 5 other leaves.
    for name, by_chance in (("f", 3 / 5), ("g", 1 / 5)):
        expected = 0.7 + 0.3 * by_chance
        chosen = same[family == name]
        assert _close_to(chosen.mean(), expected, len(chosen))


def test_noise_is_a_function_of_seed_and_id(data, listed):
    noisy = NoisyLabels(data, wrong=0.5, seed=3)
    labels = {e["ids"]: e["labels"].tolist() for e in noisy.take(range(NUM))}
    backwards = listed(
        data.examples[::-1], label_names=TREE.names, hierarchy=TREE
    )
    again = NoisyLabels(backwards, wrong=0.5, seed=3)
    for example in (*again.take([7, 100]), again[2000]):
        assert example["labels"].tolist() == labels[example["ids"]]
    other = NoisyLabels(data, wrong=0.5, seed=4).take(range(NUM))
    assert any(e["labels"].tolist() != labels[e["ids"]] for e in other)


def test_only_the_most_specific_labels_are_spoiled(listed):
    image = np.zeros((1, 1, 3), "uint8")
    example = {"images": image, "labels": TREE.close([2, 4]), "ids": 0}
    data = listed([example], label_names=TREE.names, hierarchy=TREE)
    # "g" has no leaf here: it is a most specific label, as "f1" is.
    for seed in range(50):
        noisy = NoisyLabels(data, wrong=1.0, confusable=1.0, seed=seed)[0]
        new = np.intersect1d(noisy["labels"], LEAVES)
        assert set(new) & {3, 5, 6}, "f1 became a sibling"
        assert 4 not in new or len(new) == 2, "unless g became f1"


def test_boxes_have_no_noise(listed):
    image = np.zeros((1, 1, 3), "uint8")
    data = listed([{"images": image, "ids": 0}], label_names=("a", "b"))
    with pytest.raises(ValueError, match="needs examples with `labels`"):
        NoisyLabels(data, wrong=0.5)[0]


def test_a_single_label_and_flat_labels_are_spoiled_too(listed, leaves):
    image = np.zeros((1, 1, 3), "uint8")
    examples = [
        {"images": image, "labels": np.int32(leaf), "ids": i}
        for i, leaf in enumerate(leaves)
    ]
    single = listed(examples, label_names=TREE.names)
    noisy = [
        e["labels"] for e in NoisyLabels(single, wrong=0.25).take(range(NUM))
    ]
    assert {type(label) for label in noisy} == {np.int32}
    assert _close_to(np.mean(noisy != leaves), 0.25, NUM)
    with pytest.raises(ValueError, match="missing=0.1.*one label"):
        NoisyLabels(single, missing=0.1)[0]
    for example in examples:
        example["labels"] = np.array([example["labels"], -1], "int32")
    flat = NoisyLabels(listed(examples, label_names=TREE.names), wrong=0.25)
    changed = [e["labels"][0] for e in flat.take(range(NUM))] != leaves
    assert _close_to(np.mean(changed), 0.25, NUM)


def test_clean_counts_and_widths_are_not_passed_on(data):
    info = NoisyLabels(data, wrong=0.1).info
    assert (info.class_counts, info.max_labels) == (None, None)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"wrong": 1.5}, "`wrong`.*1.5"),
        ({"missing": -0.1}, "`missing`.*-0.1"),
        ({"confusable": 2}, "`confusable`.*2"),
    ],
)
def test_rates_that_are_none_are_refused(data, rates, message):
    with pytest.raises(ValueError, match=message):
        NoisyLabels(data, **rates)


def test_siblings_need_a_hierarchy_and_mistakes_another_label(
    make_data, listed
):
    with pytest.raises(ValueError, match="hierarchy"):
        NoisyLabels(make_data(3), wrong=0.1, confusable=0.5)
    with pytest.raises(ValueError, match="two labels"):
        NoisyLabels(listed([], label_names=("a",)), wrong=0.1)


def test_one_label_of_a_hierarchy_stays_one(listed):
    tree = LabelHierarchy("abcd", [("a", "b"), ("a", "c"), ("b", "d")])
    examples = [{"labels": np.int32(3), "ids": i} for i in range(20)]
    data = listed(examples, label_names=tree.names, hierarchy=tree)
    noisy = NoisyLabels(data, wrong=0.5, confusable=0.5)
    found = {e["labels"].item() for e in noisy.annotations(range(20))}
    assert found == {2, 3}


def test_a_label_out_of_range_is_named(listed):
    data = listed([{"labels": np.int32(9), "ids": "x"}], label_names=("a", "b"))
    with pytest.raises(ValueError, match="0..1. Received 9 in example 'x'"):
        NoisyLabels(data, wrong=0.5).annotations([0])


def test_labels_of_one_image_are_spoiled_independently(listed, rng):
    image = np.zeros((1, 1, 3), "uint8")
    pairs = [rng.choice(LEAVES, 2, replace=False) for _ in range(NUM)]
    examples = [
        {"images": image, "labels": TREE.close(pair), "ids": i}
        for i, pair in enumerate(pairs)
    ]
    data = listed(examples, label_names=TREE.names, hierarchy=TREE)

    def left(**rates):
        noisy = NoisyLabels(data, **rates).annotations(np.arange(NUM))
        found = zip(pairs, noisy, strict=True)
        return np.array([np.isin(pair, e["labels"]) for pair, e in found])

    there = left(missing=0.3)
    assert _close_to(1 - there.mean(), 0.3, 2 * NUM)
    assert _close_to((~there).all(axis=1).mean(), 0.3**2, NUM)
    # Also there: a label that the other one of the pair, wrong, turns into,
    # one of five leaves.
    gone = 0.3 * (1 - 0.3 / 5)
    assert _close_to(1 - left(wrong=0.3).mean(), gone, 2 * NUM)
