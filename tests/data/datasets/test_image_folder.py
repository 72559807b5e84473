"""Class folders become labels, and with a hierarchy all labels above."""

import json

import numpy as np
import pytest

from keras_jft.data.datasets import image_folder
from keras_jft.data.hierarchy import LabelHierarchy

TREE = {
    "names": {
        "n0": "entity", "n1": "animal", "n2": "cat", "n3": "dog",
        "n4": "plant", "n5": "oak", "n6": "stone",
    },
    "edges": [
        ["n0", "n1"], ["n1", "n2"], ["n1", "n3"], ["n0", "n4"], ["n4", "n5"],
        ["n0", "n6"],
    ],
}  # fmt: skip


@pytest.fixture
def folder(save_image, tmp_path):
    """Two cats, one dog and three oaks, at several depths."""
    save_image("train/n2/images/b.png", 21)
    save_image("train/n2/images/a.PNG", 20)
    save_image("train/n3/x.png", 30)
    for i in range(3):
        save_image(f"train/n5/{i}/{i}.png", 50 + i)
    (tmp_path / "train/n2/boxes.txt").write_text("not an image")
    (tmp_path / "train/.cache").mkdir()
    return tmp_path


PATHS = [
    "n2/images/a.PNG", "n2/images/b.png", "n3/x.png", "n5/0/0.png",
    "n5/1/1.png", "n5/2/2.png",
]  # fmt: skip


@pytest.mark.parametrize("form", ["split", "directory"])
def test_each_class_folder_is_a_label_in_sorted_order(folder, form, brightness):
    data = (
        image_folder.load(folder, split="train")
        if form == "split"
        else image_folder.load(str(folder / "train"))
    )
    assert data.ids(np.arange(6)).tolist() == PATHS
    examples = data.take(np.arange(6))
    assert [int(e["labels"]) for e in examples] == [0, 0, 1, 2, 2, 2]
    assert {np.asarray(e["labels"]).dtype for e in examples} == {
        np.dtype("int32")
    }
    assert list(map(brightness, examples)) == [20, 21, 30, 50, 51, 52]
    assert data.info.label_names == ("n2", "n3", "n5")
    assert data.info.class_counts.tolist() == [2, 1, 3]
    assert data.info.max_labels is None


@pytest.mark.parametrize("form", ["dict", "path", "object"])
def test_with_a_hierarchy_labels_are_closed_upward(folder, form):
    hierarchy = TREE
    if form == "path":
        hierarchy = folder / "tree.json"
        hierarchy.write_text(json.dumps(TREE))
    elif form == "object":
        hierarchy = LabelHierarchy.from_json(TREE)
    data = image_folder.load(folder, "train", hierarchy=hierarchy)
    info = data.info
    # No image is of a stone, so there is no such label.
    assert info.label_names == (
        "entity", "animal", "cat", "dog", "plant", "oak",
    )  # fmt: skip
    assert info.hierarchy.names == info.label_names
    named = [
        [info.label_names[label] for label in e["labels"]]
        for e in data.take([0, 2, 5])
    ]
    assert named == [
        ["entity", "animal", "cat"],
        ["entity", "animal", "dog"],
        ["entity", "plant", "oak"],
    ]
    assert info.class_counts.tolist() == [6, 3, 2, 1, 3, 3]
    assert info.max_labels == 3


def test_classes_are_kept_or_held_out_with_the_labels_above(folder):
    for options in ({"classes": ["n3", "n2"]}, {"exclude": ["n5"]}):
        data = image_folder.load(folder, "train", hierarchy=TREE, **options)
        assert len(data) == 3
        # Nothing is left below "plant".
        assert data.info.label_names == ("entity", "animal", "cat", "dog")
    data = image_folder.load(folder, "train", classes=["n5"])
    assert data.info.label_names == ("n5",)
    assert data.ids([0]).tolist() == ["n5/0/0.png"]


def test_folders_may_be_called_by_name(save_image, tmp_path):
    save_image("dog/a.png")
    data = image_folder.load(tmp_path, hierarchy=TREE)
    assert data.info.label_names == ("entity", "animal", "dog")


def test_bad_folders_are_clear_errors(folder, save_image, tmp_path):
    with pytest.raises(ValueError, match=r"must exist.*validation"):
        image_folder.load(folder, "validation")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="one folder per class. Found 0"):
        image_folder.load(tmp_path / "empty")
    with pytest.raises(ValueError, match="one folder per class. Found 3"):
        image_folder.load(folder, "train", exclude=["n2", "n3", "n5"])
    with pytest.raises(ValueError, match=r"without a folder: \['n6', 'n7'\]"):
        image_folder.load(folder, "train", classes=["n6"], exclude=["n7"])
    (folder / "train" / "n4").mkdir()
    with pytest.raises(ValueError, match="'n4'.*exclude"):
        image_folder.load(folder, "train")
    image_folder.load(folder, "train", exclude=["n4"])
    save_image("train/n9/a.png")
    with pytest.raises(ValueError, match="There is no label 'n9'"):
        image_folder.load(folder, "train", hierarchy=TREE, exclude=["n4"])


def test_a_damaged_image_is_named_when_it_is_read(folder):
    (folder / "train/n3/x.png").write_bytes(b"")
    data = image_folder.load(folder, "train")
    data[0]
    with pytest.raises(ValueError, match=r"n3/x\.png' cannot be read"):
        data[2]


@pytest.mark.parametrize("argument", ["classes", "exclude"])
@pytest.mark.parametrize(
    "names", ["10", {"10"}, {"10": 0}, ["10", "10"], [""], 10]
)
def test_what_is_not_a_list_of_names_chooses_no_folders(
    save_image, tmp_path, argument, names
):
    for name in ("0", "1", "10"):
        save_image(f"{name}/a.png")
    with pytest.raises(ValueError, match=f"`{argument}` must"):
        image_folder.load(tmp_path, **{argument: names})
    data = image_folder.load(tmp_path, **{argument: [10]})
    left = {"classes": ("10",), "exclude": ("0", "1")}[argument]
    assert data.info.label_names == left


def test_two_unicode_forms_of_a_folder_are_not_two_classes(
    save_image, tmp_path
):
    save_image("caf\u00e9/a.png")
    save_image("cafe\u0301/a.png")
    with pytest.raises(ValueError, match="another Unicode form"):
        image_folder.load(tmp_path)


def test_all_suffixes_of_jpeg_files_are_found(save_image, tmp_path):
    path = save_image("cat/a.jpg")
    for name in ("b.jfif", "c.jpe", "d.JFIF"):
        path.with_name(name).write_bytes(path.read_bytes())
    data = image_folder.load(tmp_path)
    assert data.ids(range(4)).tolist() == [
        "cat/a.jpg", "cat/b.jfif", "cat/c.jpe", "cat/d.JFIF",
    ]  # fmt: skip


def test_files_left_out_are_counted_and_named_once(save_image, tmp_path):
    for name in ("cat", "dog"):
        save_image(f"{name}/a.png")
        for other in ("b.HEIC", "deep/c.avif", "d", "notes.txt", "Thumbs.db"):
            path = tmp_path / name / other
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"any")
    with pytest.warns(UserWarning, match=r"Left out 6 files") as caught:
        data = image_folder.load(tmp_path)
    assert len(data) == 2
    (warning,) = caught
    named = str(
        ["cat/b.HEIC", "cat/d", "cat/deep/c.avif", "dog/b.HEIC", "dog/d"]
    )
    assert named in str(warning.message)
    # Of what is not loaded nothing is said; warnings are errors here.
    for name in ("cat", "dog"):
        (tmp_path / name / "d").unlink()
        (tmp_path / name / "b.HEIC").unlink()
        (tmp_path / name / "deep/c.avif").unlink()
    image_folder.load(tmp_path)


def test_links_to_folders_are_followed_but_not_in_a_circle(
    save_image, tmp_path
):
    root = tmp_path / "set"
    save_image("set/cat/a.png")
    save_image("set/dog/b.png")
    save_image("elsewhere/deep/c.png")
    (root / "cat/more").symlink_to(tmp_path / "elsewhere")
    (root / "cat/self").symlink_to(root / "cat")
    (root / "cat/all").symlink_to(root)
    (tmp_path / "elsewhere/back").symlink_to(root / "cat")
    data = image_folder.load(root)
    assert data.ids(range(len(data))).tolist() == [
        "cat/a.png", "cat/more/deep/c.png", "dog/b.png",
    ]  # fmt: skip


@pytest.mark.parametrize("names", [("train", "val"), ("Test", "validation")])
def test_splits_are_not_taken_for_classes(names, save_image, tmp_path):
    for name in names:
        save_image(f"{name}/cat/a.png")
    with pytest.raises(ValueError, match=f"Pass `split=`.*{sorted(names)[0]}"):
        image_folder.load(tmp_path)
    data = image_folder.load(tmp_path, split=names[0])
    assert data.info.label_names == ("cat",)
    data = image_folder.load(tmp_path, classes=names)
    assert data.info.label_names == tuple(sorted(names))


def test_a_class_may_be_called_as_a_split(save_image, tmp_path):
    save_image("train/wagons/a.png")  # Of a railway.
    save_image("val/a.png")
    save_image("val/.cache/a.png")
    save_image("bus/a.png")
    data = image_folder.load(tmp_path)
    assert data.info.label_names == ("bus", "train", "val")


def test_splits_agree_on_the_ids_of_classes(save_image, tmp_path):
    for path in ("train/cat", "train/dog", "val/dog", "val/emu", "notes/x"):
        save_image(f"{path}/a.png")
    for split, ids, counts, absent in (
        ("train", [0, 1], [1, 1, 0], "emu"),
        ("val", [1, 2], [0, 1, 1], "cat"),
    ):
        with pytest.warns(UserWarning, match=rf"1, \['{absent}'\].* its 3"):
            data = image_folder.load(tmp_path, split)
        assert data.info.label_names == ("cat", "dog", "emu")
        assert [int(e["labels"]) for e in data.take([0, 1])] == ids
        assert data.info.class_counts.tolist() == counts
        few = image_folder.load(tmp_path, split, classes=["dog", "emu"])
        assert few.info.label_names == ("dog", "emu")
    few = image_folder.load(tmp_path, "train", exclude=["emu"])
    assert few.info.label_names == ("cat", "dog")
    with pytest.raises(ValueError, match="train.*Found 2 folders, 0 of them"):
        image_folder.load(tmp_path, "train", classes=["emu"])


def test_splits_are_found_by_their_names_alone(save_image, tmp_path):
    save_image("training/cat/a.png")
    save_image("dev/a.png")  # Without classes, as in ImageNet.
    with pytest.raises(ValueError, match="Pass `split=`.*'training'"):
        image_folder.load(tmp_path)


def test_the_only_folder_images_of_another_split_is_not_a_class(
    save_image, tmp_path
):
    """Tiny ImageNet keeps its images for validation in `val/images`."""
    for path in ("train/cat/0.png", "train/dog/0.png", "val/images/0.png"):
        save_image(tmp_path / path)
    found = image_folder.load(tmp_path, "train")
    assert found.info.label_names == ("cat", "dog")
    save_image(tmp_path / "val/bird/0.png")
    with pytest.warns(UserWarning, match=r"2, \['bird', 'images'\]"):
        found = image_folder.load(tmp_path, "train")
    assert found.info.label_names == ("bird", "cat", "dog", "images")


def test_images_beside_the_class_folders_are_counted(save_image, tmp_path):
    for path in ("cat/a.png", "stray.png", "other.PNG", ".hidden.png"):
        save_image(path)
    with pytest.warns(UserWarning, match=r"2 images beside.*\['other.PNG', 's"):
        data = image_folder.load(tmp_path)
    assert len(data) == 1
