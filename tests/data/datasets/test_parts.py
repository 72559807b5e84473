"""Held-out parts have every class, and what belongs together on one side."""

import json

import numpy as np
import pytest

from keras_jft import data as jft_data
from keras_jft.data import hold_out, load, write_parts


@pytest.fixture
def folder(tmp_path, save_image):
    """30 cats, 10 dogs and 2 newts, each of its own brightness."""
    for name, count, start in (
        ("cat", 30, 0),
        ("dog", 10, 40),
        ("newt", 2, 60),
    ):
        for i in range(count):
            save_image(f"photos/{name}/{i}.png", start + i)
    return tmp_path / "photos"


def _classes(data, names, part):
    labels = [int(e["labels"]) for e in data.annotations(range(len(data)))]
    return np.bincount(np.array(labels)[names == part], minlength=3).tolist()


def test_every_class_is_divided_by_its_share(folder):
    data = load("image_folder", None, directory=folder)
    names = hold_out(data, {"test": 0.2, "val": 0.1})
    assert _classes(data, names, "test") == [6, 2, 1]
    # A class of two examples has none left for a third part.
    assert _classes(data, names, "val") == [3, 1, 0]
    assert _classes(data, names, "train") == [21, 7, 1]


def test_the_choice_depends_on_ids_and_seed_alone(folder):
    data = load("image_folder", None, directory=folder)
    names = hold_out(data, {"test": 0.2})
    order = np.random.default_rng(0).permutation(len(data))
    chosen = jft_data.select(data, data.ids(order))
    again = hold_out(chosen, {"test": 0.2})
    assert again.tolist() == names[order].tolist()
    assert hold_out(data, {"test": 0.2}, seed=1).tolist() != names.tolist()


def test_groups_stay_together(folder):
    data = load("image_folder", None, directory=folder)
    groups = np.arange(len(data)) // 3
    names = hold_out(data, {"test": 0.3}, groups=groups)
    for group in np.unique(groups):
        assert len(set(names[groups == group])) == 1
    assert 6 <= (names == "test").sum() <= 18


def test_parts_are_read_as_splits_of_any_data_set(folder, tmp_path):
    data = load("image_folder", None, directory=folder)
    names = hold_out(data, {"test": 0.2, "val": 0.1})
    path = tmp_path / "parts.jsonl"
    write_parts(path, data, names)
    read = {
        split: load(
            "image_folder", split, directory=folder, parts={"path": str(path)}
        )
        for split in ("train", "val", "test", "train+val")
    }
    for split in ("train", "val", "test"):
        ids = read[split].ids(np.arange(len(read[split])))
        expected = data.ids(np.flatnonzero(names == split))
        assert ids.tolist() == expected.tolist()
    assert len(read["train+val"]) == len(read["train"]) + len(read["val"])


@pytest.mark.parametrize(
    ("text", "split", "message"),
    [
        ('{"id": "cat/0.png"}', "test", "line 1: expected an object with"),
        ('{"id": "cat/0.png", "split": "a"}', "test", r"among \['a'\]"),
        ('{"id": "cat/99.png", "split": "a"}', "a", "`ids` must be ids"),
    ],
)
def test_a_faulty_file_of_parts_is_named(
    folder, tmp_path, text, split, message
):
    path = tmp_path / "parts.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load("image_folder", split, directory=folder, parts={"path": str(path)})


def test_fractions_that_leave_nothing_are_refused(folder):
    data = load("image_folder", None, directory=folder)
    with pytest.raises(ValueError, match="must leave some for 'train'"):
        hold_out(data, {"test": 0.5, "val": 0.5})
    with pytest.raises(ValueError, match="`parts` must have the `path`"):
        load("image_folder", None, directory=folder, parts={"file": "a"})


def test_people_of_held_out_images_are_those_that_count(tmp_path, save_coco):
    document = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "height": 8, "width": 10}
            for i in range(6)
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": ["a", "b"]}],
        "annotations": [
            {
                "id": 10 * i + j,
                "image_id": i,
                "category_id": 1,
                "bbox": [j, 0, 5, 5],
                "keypoints": [1, 1, 2, 0, 0, 0],
            }
            for i in range(6)
            for j in range(2)
        ],
    }
    path = save_coco(document)
    options = {
        "annotations": str(path),
        "directory": str(tmp_path / "train2017"),
    }
    data = load("coco_people", None, **options)
    names = hold_out(data, {"test": 0.34})
    write_parts(tmp_path / "parts.jsonl", data, names)
    part = load(
        "coco_people",
        "test",
        parts={"path": str(tmp_path / "parts.jsonl")},
        **options,
    )
    # Both people of an image are on one side, and only its people count.
    images = [e["image_ids"] for e in part.annotations(range(len(part)))]
    assert len(part) == 4 and sorted(set(images)) == sorted(part.info.people)


def test_large_images_shrink_with_their_boxes(tmp_path, save_image):
    save_image("images/train/a.png", 3, size=(8, 10))
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "a.txt").write_text("0 0.5 0.5 0.4 0.5")
    about = {"train": "images/train", "names": ["cat"]}
    (tmp_path / "data.yaml").write_text(json.dumps(about))
    whole, small = (
        load("yolo", "train", directory=tmp_path, longest=longest)
        for longest in (10, 5)
    )
    assert whole[0]["images"].shape == (8, 10, 3)
    assert small[0]["images"].shape == (4, 5, 3)
    boxes = small[0]["bounding_boxes"]["boxes"]
    np.testing.assert_allclose(
        boxes, whole[0]["bounding_boxes"]["boxes"] / 2, atol=1e-5
    )
    (known,) = small.annotations(range(1))
    np.testing.assert_array_equal(known["bounding_boxes"]["boxes"], boxes)
    assert small.image_bytes(0) is None
