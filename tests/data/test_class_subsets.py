"""Examples of some classes are those that a loop over all finds."""

import numpy as np
import pytest

from keras_jft import data as jft_data
from keras_jft.data import subsets
from keras_jft.data.hierarchy import LabelHierarchy

WANTED = (7, 2)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(subsets, "_READ", 13)


def _ids(data):
    return np.asarray(data.ids(np.arange(len(data)))).tolist()


def _with(data, wanted):
    """Ids of the examples with one of the labels, example by example."""
    return [
        example["ids"]
        for example in data.examples
        if set(np.atleast_1d(example["labels"]).tolist()) & set(wanted)
    ]


def test_every_example_with_a_label_is_chosen_and_no_other(make_data):
    data = make_data(100)
    chosen = jft_data.with_labels(data, WANTED)
    assert _ids(chosen) == _with(data, WANTED)
    assert 0 < len(chosen) < 100
    by_name = jft_data.with_labels(data, ["c", "h"])
    assert _ids(by_name) == _ids(chosen)


def test_padding_and_single_labels_are_read(listed):
    image = np.zeros((1, 1, 3), "uint8")
    rows = [[-1, 1], [-1, -1], [0, 2], [2, -1]]
    data = listed(
        [
            {"images": image, "labels": np.array(row, "int32"), "ids": i}
            for i, row in enumerate(rows)
        ],
        label_names=("a", "b", "c"),
    )
    assert _ids(jft_data.with_labels(data, ["c", "b"])) == [0, 2, 3]
    single = listed(
        [
            {"images": image, "labels": np.int32(i % 3), "ids": i}
            for i in range(30)
        ],
        label_names=("a", "b", "c"),
    )
    assert _ids(jft_data.with_labels(single, [1])) == [*range(1, 30, 3)]
    only = subsets.OnlyLabels(jft_data.with_labels(single, [2, 1]), [2, 1])
    labels = [example["labels"] for example in only.take([0, 1])]
    assert labels == [1, 0] and type(labels[0]) is np.int32


def test_the_control_is_as_large_and_of_all_examples(make_data):
    data = make_data(100)
    chosen, control = jft_data.class_subset(data, WANTED, seed=3)
    assert len(chosen) == len(control) == len(_with(data, WANTED))
    assert sorted(_ids(chosen)) == sorted(_with(data, WANTED))
    assert _ids(control) == _ids(jft_data.subset(data, len(control), seed=3))
    assert set(_ids(control)) - set(_ids(chosen))


def test_both_nest_and_the_order_of_the_source_does_not_matter(make_data):
    names = [f"{i}.jpg" for i in range(100)]
    data = make_data(100, ids=names)
    large = [*map(_ids, jft_data.class_subset(data, WANTED, 20, seed=1))]
    data.examples.reverse()
    small = jft_data.class_subset(data, WANTED, 9, seed=1)
    for few, many in zip(small, large, strict=True):
        assert _ids(few) == many[:9]
    other = jft_data.class_subset(data, WANTED, 9, seed=2)
    assert _ids(other[0]) != _ids(small[0])


def test_other_labels_can_be_left_out(make_data):
    data = make_data(100, class_counts=np.arange(9))
    data.examples[5]["labels"] = np.array([2, 7, 8], "int32")
    for example in data.examples:
        example["unknown_labels"] = np.array([3, 2, -1], "int32")
    chosen, control = jft_data.class_subset(data, WANTED, only=True)
    assert chosen.info.label_names == ("h", "c")
    assert (chosen.info.hierarchy, chosen.info.max_labels) == (None, 2)
    assert control.info.label_names == data.info.label_names
    by_id = {example["ids"]: example for example in data.examples}
    found = chosen.take(np.arange(len(chosen)))
    for example in found:
        before = set(by_id[example["ids"]]["labels"].tolist())
        expected = sorted(WANTED.index(k) for k in before & set(WANTED))
        assert example["labels"].tolist() == expected
        assert example["labels"].dtype == np.int32
        assert example["unknown_labels"].tolist() == [1, -1, -1]
    known = chosen.annotations([1])[0]
    assert known["labels"].tolist() == found[1]["labels"].tolist()
    assert "images" not in known
    whole = subsets.OnlyLabels(data, WANTED)
    assert whole.info.class_counts.tolist() == [7, 2]
    batch = next(iter(jft_data.iterate(chosen, 4)))
    jft_data.check_batch(batch, num_classes=2)


def test_keys_of_a_hierarchy_are_labels(listed):
    tree = LabelHierarchy(["crane"] * 2, [], ["bird", "machine"])
    image = np.zeros((1, 1, 3), "uint8")
    data = listed(
        [
            {"images": image, "labels": np.array([i], "int32"), "ids": i}
            for i in range(2)
        ],
        label_names=tree.names,
        hierarchy=tree,
    )
    assert _ids(jft_data.with_labels(data, ["machine"])) == [1]
    with pytest.raises(ValueError, match="2 labels have the name 'crane'"):
        jft_data.with_labels(data, ["crane"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([9], "ids of the 9 labels. Received: 9"),
        (["z"], "Received: 'z'"),
        ([-1], "Received: -1"),
        ([], "at least one label"),
        ([2, "c"], "2, of which 1 differ"),
    ],
)
def test_labels_that_are_none_are_refused(make_data, labels, message):
    with pytest.raises(ValueError, match=message):
        jft_data.with_labels(make_data(5), labels)


def test_too_few_examples_are_refused(make_data, listed):
    data = make_data(100)
    with pytest.raises(ValueError, match="num_examples=99"):
        jft_data.class_subset(data, WANTED, 99)
    for example in data.examples:
        example["labels"] = example["labels"][:0]
    with pytest.raises(ValueError, match=r"100 examples, none.*\[7, 2\]"):
        jft_data.with_labels(data, WANTED)
    for example in data.examples:
        del example["labels"]
    with pytest.raises(ValueError, match="must have `labels`"):
        jft_data.with_labels(data, WANTED)


@pytest.mark.parametrize("labels", ["c", {"c", "h"}, {"c": 2}, 1])
def test_what_is_not_a_list_of_labels_is_refused(make_data, labels):
    with pytest.raises(ValueError, match="`labels` must be a list"):
        jft_data.class_subset(make_data(100), labels)


def test_a_data_set_is_limited_to_some_labels_by_an_option(tmp_path):
    options = {"num_examples": 60, "image_size": 8}
    whole = jft_data.load("synthetic", **options)
    wanted = ["green", "ring", "cool"]
    ids = [whole.info.hierarchy.index(name) for name in wanted]
    data = jft_data.load("synthetic", **options, only_labels=wanted)
    assert data.info.label_names == tuple(wanted)
    expected = [
        [new for new, old in enumerate(ids) if old in example["labels"]]
        for example in whole
    ]
    found = [example["labels"].tolist() for example in data]
    assert found == [labels for labels in expected if labels]
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(wanted), encoding="utf-8")
    of_file = jft_data.load("synthetic", **options, only_labels=str(path))
    assert _ids(of_file) == _ids(data)
    jft_data.check_options("synthetic", {**options, "only_labels": str(path)})
    with pytest.raises(ValueError, match="`only_labels` must be a list"):
        jft_data.check_options("synthetic", {"only_labels": 3})
    with pytest.raises(ValueError, match="There is no label"):
        jft_data.load("synthetic", **options, only_labels=["no such label"])


def test_classes_are_matched_with_the_labels_of_their_names():
    names = ("Tench", "crane", "crane", "great white-shark", "cat", "n07")
    hierarchy = LabelHierarchy(names, [], ["t", "c1", "c2", "g", "n05", "s"])
    info = jft_data.Info(num_examples=1, label_names=names, hierarchy=hierarchy)
    classes = {
        "n01": "tench, Tinca tinca",
        "n02": "crane",  # Of two labels.
        "n03": "dog",  # Of none.
        "n04": "Great white shark, white_shark",
        "n05": "tom",  # By its key, whatever its names.
    }
    matched = {"n01": "t", "n04": "g", "n05": "n05"}
    assert jft_data.match_labels(classes, info) == matched
    # Two classes may not share a label; without keys, names are returned.
    alone = jft_data.Info(num_examples=1, label_names=("cat", "Fox"))
    found = jft_data.match_labels(["cat", "Cat, tom", "red fox, fox"], alone)
    assert found == {"red fox, fox": "Fox"}
