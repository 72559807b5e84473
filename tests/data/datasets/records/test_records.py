"""Sets of records on disk and in a bucket: what was written comes back."""

import dataclasses
import json
import pickle
import warnings

import numpy as np
import pytest

import keras_jft as jft
from keras_jft import files
from keras_jft.data.datasets.records import reading, shards

pytest.importorskip("tensorflow")
# So few examples lack classes.
pytestmark = pytest.mark.filterwarnings("ignore:.*occurs? in no example")
NUM = 11
TREE = {
    "names": {"n1": "a", "n2": "b", "n3": "b"},
    "edges": [["n1", "n2"], ["n1", "n3"]],
}


@pytest.fixture(params=shards.KINDS)
def kind(request):
    return request.param


@pytest.fixture
def folder(kind, make_data, tmp_path):
    """Where `train`, 3 shards of 11 examples, lies."""
    _write(make_data(NUM), f"{tmp_path}/train.{kind}@3")
    return tmp_path


def _write(data, path):
    return jft.data.write_records(data, path, verbose=False)


def _assert_same(found, expected):
    assert len(found) == len(expected)
    for position in range(len(found)):
        one, other = found[position], expected[position]
        assert one.keys() == other.keys()
        for key in other:
            np.testing.assert_array_equal(one[key], other[key])


def test_what_was_written_comes_back(folder, make_data):
    data = jft.data.load("records", directory=folder)
    expected = make_data(NUM)
    _assert_same(data, expected)
    positions = np.array([7, 0, 10, 3])
    assert data.ids(positions).tolist() == [7, 0, 10, 3]
    assert data.ids(np.array([], "int64")).tolist() == []
    assert data.info.label_names == expected.info.label_names
    assert data.info.max_labels == 3
    labels = np.concatenate([e["labels"] for e in expected.examples])
    counts = [(labels == label).sum() for label in range(9)]
    assert data.info.class_counts.tolist() == counts
    _assert_same(pickle.loads(pickle.dumps(data)), expected)


def test_classes_that_no_example_has_are_named(make_data, tmp_path):
    data = make_data(3)
    labels = np.concatenate([example["labels"] for example in data])
    absent = [n for i, n in enumerate("abcdefghi") if i not in labels]
    assert len(absent) == 7
    _write(data, tmp_path / "train@1")
    some = ", ".join(map(repr, absent[:5]))
    with pytest.warns(
        UserWarning, match=rf"7 of 9 .*train.json': {some}, \.\."
    ):
        jft.data.load("records", directory=tmp_path)
    # Where nothing is labeled, or a hierarchy names more, nothing is said.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for example in data.examples:
            del example["labels"]
        _write(data, tmp_path / "test@1")
        jft.data.load("records", "test", directory=tmp_path)
        synthetic = jft.data.load("synthetic", num_examples=2)
        _write(synthetic, tmp_path / "synthetic@1")
        again = jft.data.load("records", "synthetic", directory=tmp_path)
        assert again.info.hierarchy and not again.info.class_counts.all()


def test_ids_of_any_kind_come_back(kind, make_data, tmp_path):
    for name, ids in (
        ("text", [f"a/{i}ü.jpg" for i in range(NUM)]),
        ("gaps", [10**12 + 7 * i for i in range(NUM)]),
        ("from_five", [5 + i for i in range(NUM)]),
    ):
        expected = make_data(NUM, ids=ids)
        _write(expected, f"{tmp_path}/{name}.{kind}@3")
        data = reading.load(tmp_path, name)
        assert data.ids(np.arange(NUM)[::-1]).tolist() == ids[::-1]
        _assert_same(data, expected)
        small = jft.data.subset(expected, 5, seed=3).ids(np.arange(5))
        again = jft.data.subset(data, 5, seed=3).ids(np.arange(5))
        assert small.tolist() == again.tolist()


def test_what_is_known_of_the_set_comes_back(make_data, tmp_path):
    hierarchy = jft.data.LabelHierarchy.from_json(TREE)
    data = make_data(2)
    data.info = dataclasses.replace(
        data.info,
        label_names=hierarchy.names,
        hierarchy=hierarchy,
        max_labels=7,
        keypoint_names=("nose", "ear"),
        skeleton=((0, 1),),
        sigmas=(0.25, 0.5),
        flip_pairs=((0, 1),),
        mask_names=("sky",),
        category_ids=(1, 5, 90),
    )
    for example in data.examples:
        example["labels"] = example["labels"] % 3
    _write(data, f"{tmp_path}/val@1")
    found = reading.load(tmp_path, "val").info
    for key in (*reading.PLAIN, "num_examples"):
        assert getattr(found, key) == getattr(data.info, key), key
    assert found.hierarchy.keys == ("n1", "n2", "n3")
    assert found.hierarchy.close([2]).tolist() == [0, 2]


def test_a_bucket_is_a_folder_too(make_data, tmp_path):
    pytest.importorskip("fsspec")
    _write(make_data(NUM), f"memory:/{tmp_path}/train@2")
    data = reading.load(f"memory:/{tmp_path}/")
    _assert_same(data, make_data(NUM))
    with pytest.raises(ValueError, match="must have .* Received: 0.*missing"):
        _write(make_data(NUM), f"memory:/{tmp_path}/other.array_record@2")
        # The library of ArrayRecord does not open what fsspec does.
        reading.load(f"memory:/{tmp_path}", "other")[0]


def test_a_damaged_record_is_skipped_within_the_limit(folder, kind):
    path = folder / f"train.{kind}-00001-of-00003"
    content = bytearray(path.read_bytes())
    content[300] ^= 4  # In the first record's image.
    path.write_bytes(content)
    data = reading.load(folder)
    with pytest.raises(ValueError, match=f"record 0 of .*{path.name}"):
        list(jft.data.iterate(data, 4))
    batches = jft.data.iterate(data, 4, tolerate=1)
    with pytest.warns(UserWarning, match=f"Skipped example 3.*{path.name}"):
        ids = np.concatenate([batch["ids"] for batch in batches])
    assert sorted(ids.tolist()) == [0, 1, 2, *range(4, NUM)]
    assert list(batches.skipped) == [3]


def test_a_missing_shard_or_set_is_named(folder, kind):
    (folder / f"train.{kind}-00001-of-00003").unlink()
    with pytest.raises(ValueError, match="Missing are 1 of 3:.*00001-of"):
        reading.load(folder)
    with pytest.raises(ValueError, match=r"one of \['train'\].*'val'"):
        reading.load(folder, "val")
    with pytest.raises(ValueError, match="A folder is required"):
        reading.load(folder / "none")


def test_shards_of_two_sets_are_noticed(folder, kind, make_data, tmp_path):
    other = make_data(NUM, ids=range(100, 100 + NUM))
    _write(other, f"{tmp_path}/other/train.{kind}@3")
    for path in (tmp_path / "other").glob("*00001*"):
        path.rename(folder / path.name)
    data = reading.load(folder)
    assert data[0]["ids"] == 0
    with pytest.raises(ValueError, match="must have the id 3.*'103'.*set"):
        data[3]


def test_labels_beyond_the_names_are_refused(folder):
    path = folder / "train.json"
    note = json.loads(path.read_text())
    fewer = {"label_names": ["a", "b"], "class_counts": [1, 1]}
    path.write_text(json.dumps({**note, **fewer}))
    data = reading.load(folder)
    with pytest.raises(ValueError, match=r"Labels of record .* in 0\.\.1"):
        data.take(range(NUM))


def test_a_faulty_note_is_named(folder):
    path = folder / "train.json"
    note = json.loads(path.read_text())
    for text, message in (
        (json.dumps(note)[:99], "train.json' is not JSON"),
        ('{"format": "other"}', "train.json' must describe records"),
        ("[]", "train.json' must describe records"),
        (json.dumps({**note, "version": 2}), "version 1. Received: 2"),
        (json.dumps({"format": reading.FORMAT, "version": 1}), "lacks"),
    ):
        files.write_bytes(path, text.encode())
        with pytest.raises(ValueError, match=message):
            reading.load(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "tfrecorD"),
        ("kind", ["tfrecord"]),
        ("one_label", "no"),
        ("one_label", None),
        ("id_type", "stR"),
        ("image_id_type", {}),
        ("shards", 5),
        ("shards", [5]),
        ("label_names", "ab"),
        ("label_names", [None] * 9),
        ("label_names", ["\ud800"] * 9),
        ("class_counts", [1]),
        ("class_counts", [-1] * 9),
        ("class_counts", [2**70] * 9),
        ("max_labels", "3"),
        ("max_boxes", -1),
        ("category_ids", [1.5]),
        ("keypoint_names", {}),
        ("skeleton", [[1]]),
        ("sigmas", [float("nan")]),
        ("mask_names", None),
        ("flip_pairs", [["a"]]),
    ],
)
def test_a_field_of_another_type_is_named_with_the_file(
    tmp_path, make_data, field, value
):
    _write(make_data(NUM), f"{tmp_path}/train@1")
    path = tmp_path / "train.json"
    note = json.loads(path.read_text())
    path.write_text(json.dumps({**note, field: value}))
    with pytest.raises(ValueError, match=r"train\.json'") as error:
        reading.load(tmp_path)
    assert field in str(error.value) or "shard" in str(error.value)
    assert type(error.value) is ValueError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("file", None), ("file", 3), ("num_examples", -1),
        ("num_examples", 2**60), ("num_examples", 1.5), ("first_id", "a"),
        ("first_id", 0.5),
    ],
)  # fmt: skip
def test_a_faulty_shard_is_named_with_its_field(folder, field, value):
    path = folder / "train.json"
    note = json.loads(path.read_text())
    note["shards"][1][field] = value
    path.write_text(json.dumps(note))
    with pytest.raises(
        ValueError, match=rf"train\.json': shard number 1, field `{field}`"
    ):
        reading.load(folder)


def test_a_shard_is_never_read_from_another_folder(folder):
    path = folder / "train.json"
    note = json.loads(path.read_text())
    for name in ("../secret", "/etc/passwd", "file:///etc/passwd"):
        note["shards"][0]["file"] = name
        path.write_text(json.dumps(note))
        with pytest.raises(ValueError, match="Every shard of .* beside it"):
            reading.load(folder)
