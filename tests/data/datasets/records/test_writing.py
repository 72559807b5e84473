"""Writing records: every task, the images' own bytes, and what goes wrong."""

import dataclasses
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import keras_jft as jft
from keras_jft.data.datasets.records import shards

pytest.importorskip("tensorflow")
# So few examples lack classes.
pytestmark = pytest.mark.filterwarnings("ignore:.*occurs? in no example")


def _write(data, path, **options):
    return jft.data.write_records(data, path, verbose=False, **options)


def _assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            _assert_same(found[key], value)
        else:
            found_value = np.asarray(found[key])
            assert found_value.dtype == np.asarray(value).dtype, key
            if found_value.dtype.kind == "f":
                np.testing.assert_allclose(found_value, value, rtol=3e-7)
            else:
                np.testing.assert_array_equal(found_value, value)


@pytest.mark.parametrize("kind", shards.KINDS)
@pytest.mark.parametrize("task", sorted(jft.data.datasets.synthetic.TASKS))
def test_every_task_of_the_synthetic_world_comes_back(task, kind, tmp_path):
    options = {"num_examples": 10, "task": task}
    data = jft.data.load("synthetic", **options)
    assert _write(data, f"{tmp_path}/train.{kind}@3") == 10
    again = jft.data.load("records", directory=tmp_path)
    for position in (9, 0, 4, 3):
        _assert_same(again[position], data[position])
        ((found,), (expected,)) = (
            source.annotations([position]) for source in (again, data)
        )
        _assert_same(found, expected)
    for field in dataclasses.fields(data.info):
        if field.name in ("hierarchy", "class_counts", "max_boxes"):
            continue
        assert getattr(again.info, field.name) == getattr(
            data.info, field.name
        ), field.name
    batches = jft.data.batches(again, 5, training=True)
    for batch in batches:
        jft.data.check_batch(batch)


@pytest.fixture
def photos(tmp_path):
    """A folder of two classes of JPEGs."""
    rng = np.random.default_rng(0)
    for name in ("cat/a", "cat/b", "dog/c"):
        path = tmp_path / "photos" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (20, 30, 3), "uint8")
        Image.fromarray(pixels).save(path, quality=60)
    return tmp_path / "photos"


def test_the_file_of_an_image_is_kept_bit_for_bit(photos, tmp_path):
    data = jft.data.load("image_folder", None, directory=photos)
    small = jft.data.subset(data, 3, seed=1)
    noisy = jft.data.NoisyLabels(small, wrong=0.0)
    for name, source in (("all", data), ("small", small), ("noisy", noisy)):
        _write(source, f"{tmp_path}/{name}@1")
        again = jft.data.load("records", name, directory=tmp_path)
        for position in range(3):
            _assert_same(again[position], source[position])
            path = photos / again[position]["ids"]
            assert again.image_bytes(position) == path.read_bytes()
    assert again.info.label_names == ("cat", "dog")
    assert again.info.max_labels is None
    # Records of records, of another kind and number.
    _write(again, f"{tmp_path}/copy.array_record@2")
    copy = jft.data.load("records", "copy", directory=tmp_path)
    assert copy.image_bytes(1) == again.image_bytes(1)


def test_images_without_a_file_may_become_jpegs(tmp_path):
    data = jft.data.load("synthetic", num_examples=4, image_size=64)
    _write(data, f"{tmp_path}/train@1", encoding="jpeg")
    again = jft.data.load("records", directory=tmp_path)
    found, expected = again[1]["images"], data[1]["images"]
    assert again.image_bytes(1)[:2] == b"\xff\xd8"
    assert found.shape == expected.shape
    difference = np.abs(found.astype("float32") - expected)
    assert 0 < difference.mean() < 12


def _boxed(box):
    return {
        "boxes": np.array([box], "float32"),
        "labels": np.array([0], "int32"),
    }


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"labels": np.array([3, 9], "int32")}, r"must be in -1\.\.8.*3\.\.9"),
        ({"labels": np.array([3, -1], "int32")}, "must not be padded"),
        ({"images": np.ones((6, 8, 3), "float32")}, "must be uint8"),
        ({"bounding_boxes": _boxed([0, 0, 9, 5])}, "must lie in the image"),
        ({"bounding_boxes": _boxed([3, 0, 3, 5])}, "x1 < x2"),
        ({"keypoints": np.zeros((2, 2), "float32")}, "`keypoints` must have"),
    ],
)
def test_what_breaks_the_contract_is_refused(
    broken, message, make_data, tmp_path
):
    data = make_data(4)
    data.examples[2] |= broken
    with pytest.raises(ValueError, match=f"Example 2 cannot be.*{message}"):
        _write(data, f"{tmp_path}/train@2")
    assert not any(tmp_path.glob("*.json"))
    assert not any(tmp_path.glob(".partial-*"))
    with pytest.warns(UserWarning, match="Left example 2 out, 1 of at most 1"):
        assert _write(data, f"{tmp_path}/train@2", tolerate=1) == 3
    again = jft.data.load("records", directory=tmp_path)
    assert again.ids(np.arange(3)).tolist() == [0, 1, 3]


def test_unknown_labels_come_back_padded(make_data, tmp_path):
    data = make_data(3)
    for i, example in enumerate(data.examples):
        example["unknown_labels"] = np.array([i, -1], "int32")
    _write(data, f"{tmp_path}/train@1")
    again = jft.data.load("records", directory=tmp_path)
    assert [e["unknown_labels"].tolist() for e in again.take(range(3))] == [
        [0, -1], [1, -1], [2, -1]
    ]  # fmt: skip


def test_examples_of_other_keys_are_refused(make_data, tmp_path):
    data = make_data(3)
    data.examples[1]["keypoints"] = np.zeros((2, 3), "float32")
    with pytest.raises(ValueError, match="the same keys.* example 1, .*keyp"):
        _write(data, f"{tmp_path}/train@1")


def test_a_set_is_not_written_over(make_data, tmp_path):
    _write(make_data(3), f"{tmp_path}/train@1")
    with pytest.raises(ValueError, match="a new set.*train@2.*train.json"):
        _write(make_data(3), f"{tmp_path}/train@2")
    with pytest.raises(ValueError, match="4 shards, num_examples=3"):
        _write(make_data(3), f"{tmp_path}/other@4")
    with pytest.raises(ValueError, match=r"\['png', 'jpeg'\]"):
        _write(make_data(3), f"{tmp_path}/other@1", encoding="gif")


def test_a_killed_run_leaves_nothing_that_looks_whole(tmp_path):
    script = f"""
import time, keras_jft as jft
data = jft.data.load("synthetic", num_examples=40)
class Slow(type(data)):
    def __getitem__(self, position):
        if position > 25:
            print("now", flush=True)
            time.sleep(60)
        return super().__getitem__(position)
data.__class__ = Slow
jft.data.write_records(data, {str(tmp_path / "train@4")!r}, workers=1)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout.readline() == b"now\n"
        process.send_signal(signal.SIGKILL)
    names = {path.name for path in tmp_path.iterdir()}
    kept = {f"train.{part}-{i:05}-of-00004" for i in (0, 1)
            for part in ("tfrecord", "index")}  # fmt: skip
    (left,) = names - kept
    assert kept < names and left.startswith(".partial-")
    assert left.endswith("-train.tfrecord-00002-of-00004")
    with pytest.raises(ValueError, match="is not complete"):
        jft.data.load("records", directory=tmp_path)
    data = jft.data.load("synthetic", num_examples=40)
    assert _write(data, f"{tmp_path}/train@4") == 40
    assert not any(tmp_path.glob(".partial-*"))
    again = jft.data.load("records", directory=tmp_path)
    _assert_same(again[39], data[39])


def test_a_class_counts_once_an_image(listed, tmp_path):
    boxes = {"boxes": np.float32([[0, 0, 2, 2]]), "labels": np.int32([0])}
    examples = [
        {
            "images": np.zeros((4, 4, 3), "uint8"),
            "labels": np.int32([0]),
            "bounding_boxes": boxes,
            "ids": i,
        }
        for i in range(3)
    ]
    data = listed(examples, label_names=("a", "b"), max_labels=1, max_boxes=1)
    jft.data.write_records(data, tmp_path / "train@1")
    info = jft.data.load("records", "train", directory=tmp_path).info
    assert info.class_counts.tolist() == [3, 0]
