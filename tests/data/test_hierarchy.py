"""Label hierarchies against a naive walk up the edges."""

import itertools
import json

import numpy as np
import pytest

from keras_jft.data import hierarchy as labels_module
from keras_jft.data.hierarchy import LabelHierarchy


def _random_dag(num, seed):
    """Names, edges from lower to higher ids, and each label's parents."""
    rng = np.random.default_rng(seed)
    parents = [
        rng.choice(label, min(label, rng.integers(0, 4)), replace=False)
        if label
        else []
        for label in range(num)
    ]
    edges = [(f"n{p}", f"n{c}") for c in range(num) for p in parents[c]]
    return [f"n{i}" for i in range(num)], edges, parents


def _walk_up(label, parents):
    above = {label}
    for parent in parents[label]:
        above |= _walk_up(int(parent), parents)
    return above


def _levels(label, parents):
    return 1 + max(
        (_levels(int(p), parents) for p in parents[label]), default=0
    )


def test_closure_equals_a_walk_up_a_random_dag():
    names, edges, parents = _random_dag(60, seed=0)
    labels = LabelHierarchy(names, edges)
    for label in range(60):
        expected = _walk_up(label, parents)
        closed = labels.close([label])
        assert closed.dtype == np.int32
        assert closed.tolist() == sorted(expected)
        assert labels.ancestors(label).tolist() == sorted(expected - {label})


def test_a_batch_closes_like_its_rows_wherever_the_padding_stands():
    names, edges, parents = _random_dag(60, seed=1)
    labels = LabelHierarchy(names, edges)
    rng = np.random.default_rng(2)
    batch = rng.integers(-1, 60, (50, 4))
    batch[7] = -1
    closed = labels.close_batch(batch)
    assert closed.dtype == np.int32
    for row, closed_row in zip(batch, closed, strict=True):
        expected = set()
        for label in row[row >= 0]:
            expected |= _walk_up(int(label), parents)
        size = len(expected)
        assert closed_row[:size].tolist() == sorted(expected)
        assert (closed_row[size:] == -1).all()
        assert labels.close(row).tolist() == sorted(expected)
    assert (closed[:, -1] >= 0).any(), "one row is as wide as the batch"


def test_empty_label_sets_stay_empty():
    labels = LabelHierarchy(["a", "b"], [("a", "b")])
    assert labels.close([]).tolist() == []
    assert labels.close([-1, -1]).tolist() == []
    assert labels.close_batch(np.full((3, 2), -1)).shape == (3, 0)


def test_shape_of_the_hierarchy_matches_a_recursive_count():
    names, edges, parents = _random_dag(40, seed=3)
    labels = LabelHierarchy(names, edges)
    children = {p: [] for p in range(40)}
    for child in range(40):
        for parent in parents[child]:
            children[int(parent)].append(child)
    levels = [_levels(label, parents) for label in range(40)]
    assert labels.levels.tolist() == levels
    assert labels.depth == max(levels)
    above = [set(labels.ancestors(label).tolist()) for label in range(40)]
    assert labels.num_below.tolist() == [
        sum(label in own for own in above) for label in range(40)
    ]
    assert labels.fan_out == max(map(len, children.values()))
    assert labels.leaves.tolist() == [p for p in range(40) if not children[p]]
    for label in range(40):
        assert labels.children(label).tolist() == children[label]
        assert sorted(labels.parents(label)) == sorted(parents[label])


def test_labels_without_edges_are_roots_and_leaves():
    labels = LabelHierarchy(["a", "b", "c"], [])
    assert labels.leaves.tolist() == [0, 1, 2]
    assert (labels.depth, labels.fan_out, len(labels)) == (1, 0, 3)


def test_subset_keeps_the_labels_above_and_their_edges():
    names, edges, parents = _random_dag(60, seed=4)
    labels = LabelHierarchy(names, edges)
    subset = labels.subset([10, 50])
    kept = sorted(_walk_up(10, parents) | _walk_up(50, parents))
    assert subset.keys == tuple(names[label] for label in kept)
    for label in kept:
        closed = subset.close([subset.index(names[label])])
        above = {subset.keys[new] for new in closed}
        assert above == {names[old] for old in _walk_up(label, parents)}


def test_json_gives_keys_and_names_that_may_repeat(tmp_path):
    tree = {
        "names": {"n1": "thing", "n2": "crane", "n3": "crane", "n4": "bird"},
        "edges": [["n1", "n2"], ["n1", "n4"], ["bird", "n3"]],
    }
    path = tmp_path / "hierarchy.json"
    path.write_text(json.dumps(tree))
    for labels in map(LabelHierarchy.from_json, (tree, path, str(path))):
        assert labels.names == ("thing", "crane", "crane", "bird")
        assert labels.close([labels.index("n3")]).tolist() == [0, 2, 3]
        assert labels.index("bird") == 3
        with pytest.raises(ValueError, match="2 labels.*n2.*n3"):
            labels.index("crane")


@pytest.mark.parametrize(
    ("names", "edges", "message"),
    [
        ("abc", ["ab", "bc", "ca"], r"cycle .*(a -> |b -> |c -> )"),
        ("ab", ["aa"], "cycle a -> a"),
        ("ab", ["za"], r"Unknown: \['z'\]"),
        ("ab", ["ab", "ab"], r"Repeated: \[\('a', 'b'\)\]"),
        ("aba", [], r"Repeated: \['a'\].*keys="),
    ],
)
def test_a_broken_hierarchy_is_refused_by_name(names, edges, message):
    with pytest.raises(ValueError, match=message):
        LabelHierarchy(names, edges)


def test_an_edge_given_by_key_and_again_by_name_is_a_repeated_edge():
    with pytest.raises(ValueError, match="Repeated"):
        LabelHierarchy(["x", "y"], ["ab", "xy"], keys="ab")


def test_keys_and_names_must_be_as_many():
    with pytest.raises(ValueError, match="1 key, 2 names"):
        LabelHierarchy(["x", "y"], [], keys=["a"])


@pytest.mark.parametrize(
    "source",
    [{"names": {}}, {"edges": []}, {"names": ["a"], "edges": []}, [1, 2]],
)
def test_json_of_another_form_is_refused(source, tmp_path):
    path = tmp_path / "tree.json"
    path.write_text(json.dumps(source))
    with pytest.raises(ValueError, match="names.*edges.*tree.json"):
        LabelHierarchy.from_json(path)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"names": {"a": None}, "edges": []}, "Received: None"),
        ({"names": {"a": True}, "edges": []}, "Received: True"),
        ({"names": {"a": ["b"]}, "edges": []}, r"Received: \['b'\]"),
        ({"names": {"a": ""}, "edges": []}, "an empty string"),
        ({"names": {"a": "b"}, "edges": [[1.5, "a"]]}, "Received: 1.5"),
        ({"names": {"a": "b"}, "edges": [[{}, "a"]]}, "Received: {}"),
        ({"names": {"a": "b"}, "edges": ["ab"]}, "must be {.names"),
        ({"names": {"a": "b"}, "edges": [["a"]]}, "must be {.names"),
        ({"names": {"a": "b"}, "edges": None}, "must be {.names"),
        ({"names": {"a": "b"}, "edges": [["a", "a"]]}, "cycle"),
    ],
)
def test_a_file_of_no_hierarchy_is_refused_with_its_name(
    tree, message, tmp_path
):
    path = tmp_path / "tree.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(ValueError, match=message) as error:
        LabelHierarchy.from_json(path)
    assert "tree.json" in str(error.value)
    assert type(error.value) is ValueError


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"", b"{"])
def test_a_file_of_no_json_is_refused_with_its_name(content, tmp_path):
    path = tmp_path / "tree.json"
    path.write_bytes(content)
    for read in (LabelHierarchy.from_json, LabelHierarchy.from_open_images):
        with pytest.raises(ValueError, match="tree.json") as error:
            read(path)
        assert type(error.value) is ValueError


def test_whole_numbers_are_their_texts(tmp_path):
    path = tmp_path / "tree.json"
    path.write_text('{"names": {"1": 7, "2": "b"}, "edges": [[1, 2]]}')
    labels = LabelHierarchy.from_json(path)
    assert labels.names == ("7", "b") and labels.keys == ("1", "2")
    assert labels.close([labels.index(2)]).tolist() == [0, 1]


def test_a_chain_that_would_take_all_memory_is_refused(monkeypatch):
    names = [f"n{i}" for i in range(100)]
    edges = list(itertools.pairwise(names))
    assert LabelHierarchy(names, edges).depth == 100
    monkeypatch.setattr(labels_module, "_MOST_ABOVE", 1000)
    with pytest.raises(ValueError, match="1000 labels above.*a chain"):
        LabelHierarchy(names, edges)


@pytest.mark.parametrize("labels", [[2], [-2], [0.0, 1.0]])
def test_ids_that_are_no_labels_are_refused(labels):
    hierarchy = LabelHierarchy(["a", "b"], [("a", "b")])
    with pytest.raises(ValueError, match=r"Label ids must be"):
        hierarchy.close(labels)
    with pytest.raises(ValueError, match=r"Label ids must be"):
        hierarchy.close_batch([labels])


def test_an_unknown_label_is_named():
    with pytest.raises(ValueError, match="'dog'.*1 label"):
        LabelHierarchy(["cat"], []).index("dog")


def test_a_hierarchy_as_large_as_jft_closes_whole_batches():
    # 18,291 labels, 12 levels, a node with 2,876 children.
    num, fan_out, depth = 18_291, 2_876, 12
    rng = np.random.default_rng(5)
    parents = np.zeros(num, int)
    levels = np.array_split(np.arange(1 + fan_out, num), depth - 2)
    above = np.arange(1, 1 + fan_out)
    for level in levels:
        parents[level] = above[np.arange(len(level)) % len(above)]
        above = level
    names = [str(i) for i in range(num)]
    edges = [(names[p], names[c]) for c, p in enumerate(parents) if c]
    labels = LabelHierarchy(names, edges)
    assert (labels.depth, labels.fan_out) == (depth, fan_out)
    batch = rng.integers(0, num, (256, 3))
    closed = labels.close_batch(batch)
    for row, closed_row in zip(batch, closed, strict=True):
        expected = {0}
        for label in row:
            while label:
                expected.add(int(label))
                label = parents[label]
        assert set(closed_row[closed_row >= 0].tolist()) == expected
