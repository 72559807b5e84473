"""The nested hierarchy of Open Images, worked by hand."""

import json

import pytest

from keras_jft.data import LabelHierarchy

NAMES = {"/m/a": "Animal", "/m/d": "Dog", "/m/p": "Pet", "/m/t": "Tail",
         "/m/x": "Snow"}  # fmt: skip


def _tree():
    """A dog below animal and pet, a tail as part of it."""
    dog = {"LabelName": "/m/d", "Part": [{"LabelName": "/m/t"}]}
    return {
        "LabelName": "/m/0bl9f",
        "Subcategory": [
            {"LabelName": "/m/a", "Subcategory": [dog]},
            {"LabelName": "/m/p", "Subcategory": [dict(dog)]},
        ],
    }


def _closed(hierarchy, key):
    ids = hierarchy.close([hierarchy.index(key)])
    return {hierarchy.keys[label] for label in ids}


def test_keys_are_names_where_none_are_given():
    labels = LabelHierarchy.from_open_images(_tree())
    assert labels.names == ("/m/0bl9f", "/m/a", "/m/d", "/m/p")
    assert _closed(labels, "/m/d") == set(labels.names)
    assert labels.depth == 3


def test_names_fix_the_ids_and_drop_the_root(tmp_path):
    labels = LabelHierarchy.from_open_images(_tree(), NAMES)
    assert labels.keys == tuple(NAMES)
    assert labels.names == tuple(NAMES.values())
    assert _closed(labels, "Dog") == {"/m/a", "/m/d", "/m/p"}
    assert _closed(labels, "Snow") == {"/m/x"}
    named = {"/m/0bl9f": "Entity", **NAMES}
    labels = LabelHierarchy.from_open_images(_tree(), named)
    assert _closed(labels, "Pet") == {"/m/0bl9f", "/m/p"}
    # From files, with and without a header.
    path, table = tmp_path / "tree.json", tmp_path / "names.csv"
    path.write_text(json.dumps(_tree()))
    lines = [f'{key},"{name}"\n' for key, name in NAMES.items()]
    for header in ("", "LabelName,DisplayName\n", "\ufeffLabelName,Name\n"):
        table.write_text(header + "".join(lines))
        labels = LabelHierarchy.from_open_images(path, table)
        assert dict(zip(labels.keys, labels.names, strict=True)) == NAMES


def test_parts_are_below_on_request_only():
    labels = LabelHierarchy.from_open_images(_tree(), NAMES)
    assert _closed(labels, "Tail") == {"/m/t"}
    labels = LabelHierarchy.from_open_images(_tree(), NAMES, parts=True)
    assert _closed(labels, "Tail") == {"/m/t", "/m/d", "/m/a", "/m/p"}


def test_a_cycle_is_named():
    tree = _tree()
    dog = tree["Subcategory"][0]["Subcategory"][0]
    dog["Subcategory"] = [{"LabelName": "/m/a"}]
    message = r"the cycle /m/0bl9f -> /m/a -> /m/d -> /m/a"
    with pytest.raises(ValueError, match=message):
        LabelHierarchy.from_open_images(tree, NAMES)
    # In two places of the file, neither of which is one.
    tree = _tree()
    tree["Subcategory"] += [
        {"LabelName": "/m/d", "Subcategory": [{"LabelName": "/m/a"}]}
    ]
    with pytest.raises(ValueError, match="above itself.*cycle"):
        LabelHierarchy.from_open_images(tree, NAMES)


def test_repeated_and_unknown_labels_are_named():
    tree = _tree()
    tree["Subcategory"].append({"LabelName": "/m/p"})
    with pytest.raises(ValueError, match=r"below '/m/0bl9f': \['/m/p'\]"):
        LabelHierarchy.from_open_images(tree)
    names = {"/m/a": "Animal", "/m/p": "Pet"}
    with pytest.raises(ValueError, match=r"Unknown are 1 of 3: \['/m/d'\]"):
        LabelHierarchy.from_open_images(_tree(), names)


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"LabelName": 3},
        {"LabelName": ""},
        {"LabelName": "\ud800"},
        {"LabelName": "a", "Subcategory": {"LabelName": "b"}},
        {"LabelName": "a", "Subcategory": ["b"]},
        {"LabelName": "a", "Subcategory": [{"Label": "b"}]},
    ],
)
def test_a_file_of_another_form_is_refused(tree, tmp_path):
    path = tmp_path / "tree.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(ValueError, match='tree.json. must be {"LabelName"'):
        LabelHierarchy.from_open_images(path)
    path.write_text(json.dumps(tree)[:-1] + "x")
    with pytest.raises(ValueError, match="tree.json' is not JSON"):
        LabelHierarchy.from_open_images(path)


def test_a_faulty_row_of_descriptions_is_named(tmp_path):
    table = tmp_path / "names.csv"
    for text, row in (("/m/a,A\n/m/a,B\n", "2: "), ("/m/a\n", "1: ")):
        table.write_text(text)
        with pytest.raises(ValueError, match=f"names.csv', line {row}"):
            LabelHierarchy.from_open_images(_tree(), table)
