"""Layouts are found by looking, said in a line, and never guessed."""

import json

import numpy as np
import pytest
import small_data_sets
from PIL import Image

import keras_jft as jft
from keras_jft.data import find_layout

# Small data sets by the name of their data set: splits, tasks and text.
FOUND = {
    "image_folder": ("train", "classification", "one folder per class: 2 cl"),
    "manifest": (None, "multi_label", "a table, list.csv: 6 images, 3 classes"),
    "coco": ("train2017", "detection", "COCO, instances"),
    "coco_people": ("train2017", "pose", "COCO, person_keypoints"),
    "voc": ("train", "detection", "Pascal VOC, with lists in ImageSets/Main"),
    "voc_segmentation": ("train", "segmentation", "Pascal VOC, with lists"),
    "voc_flat": ("train", "detection", "an XML file per image"),
    "yolo": ("train", "detection", "YOLO, boxes: 2 classes"),
    "labelme": (None, "segmentation", "a JSON file of labelme per image"),
    "cvat": (None, "detection", "CVAT for images, annotations.xml, boxes"),
    "mask_folder": ("train", "segmentation", "images and masks: 6 classes"),
    "camvid": ("train", "segmentation", "CamVid's folders, 11 classes"),
    "hugging_face": ("train", "classification", "Hugging Face datasets on d"),
    "webdataset": (None, "multi_label", "WebDataset, 1 tar, labels in .txt"),
}


@pytest.fixture
def save(tmp_path, save_image):
    """Saves images by path, of small sizes, and returns their folder."""

    def save(*paths, values=None, mode="RGB"):
        for number, path in enumerate(paths):
            value = number if values is None else values[number]
            save_image(path, value, size=(8, 10), mode=mode)
        return tmp_path

    return save


@pytest.mark.parametrize("name", FOUND)
def test_the_layout_of_every_kind_is_found_and_loads(name, request, tmp_path):
    getattr(small_data_sets, name)(request.getfixturevalue, tmp_path)
    folder = tmp_path
    if name in ("voc", "voc_segmentation"):
        (folder,) = tmp_path.glob("VOC*")
    split, task, text = FOUND[name]
    # labelme's polygons are good for boxes and for masks.
    layout = find_layout(folder, task=task if name == "labelme" else None)
    assert (layout.dataset, layout.task) == (name, task)
    assert layout.text.startswith(text)
    assert layout.splits == ({} if split is None else {"train": split})
    data = layout.load(None if split is None else "train")
    assert len(data) == small_data_sets.NUM or layout.task == "pose"
    assert jft.data.annotated_for(name, layout.options) in (None, task)


def test_splits_are_called_by_what_they_are_for(save):
    folder = save(
        *("training/cat/1.png", "training/dog/2.png"),
        *("valid/cat/3.png", "valid/dog/4.png"),
        *("test/cat/5.png", "test/dog/6.png"),
    )
    layout = find_layout(folder)
    assert layout.splits == {
        "train": "training",
        "val": "valid",
        "test": "test",
    }
    assert layout.load("val").ids([0]).tolist() == ["cat/3.png"]
    assert "splits: test, training, valid (classification)" in str(layout)
    with pytest.raises(ValueError, match="`split` must be one of"):
        layout.load("dev")


def test_splits_of_other_classes_are_refused(save):
    folder = save("train/cat/1.png", "train/dog/2.png", "val/cat/3.png")
    with pytest.raises(ValueError, match=r"'val' .* lacks \['dog'\]"):
        find_layout(folder)


def test_exports_of_roboflow_are_found(save, tmp_path):
    save("train/a.png", "valid/b.png")
    for split, name in (("train", "a.png"), ("valid", "b.png")):
        document = small_data_sets._boxes(1)
        document["images"][0]["file_name"] = name
        document["annotations"] = [
            {"id": c, "image_id": 3, "category_id": c, "bbox": [0, 0, 5, 5]}
            for c in (3, 9)
        ]
        path = tmp_path / split / "_annotations.coco.json"
        path.write_text(json.dumps(document))
    layout = find_layout(tmp_path)
    assert layout.text == "COCO, an export of Roboflow"
    assert layout.splits == {"train": "train", "val": "valid"}
    assert [len(layout.load(split)) for split in layout.splits] == [1, 1]


def test_coco_files_of_any_name_are_found_with_their_images(save, tmp_path):
    save("images/0.png")
    for split in ("train", "val"):
        document = small_data_sets._people(1)
        path = tmp_path / f"person_keypoints_{split}.json"
        path.write_text(json.dumps(document))
    layout = find_layout(tmp_path)
    assert layout.dataset == "coco_people"
    assert layout.splits == {"train": "train", "val": "val"}
    assert len(layout.load("val")) == 1


def test_a_table_with_one_label_and_a_column_of_splits_is_found(save, tmp_path):
    save("a.png", "b.png", "c.png")
    (tmp_path / "list.csv").write_text(
        "filename,class,split\na.png,cat,train\nb.png,dog,train\nc.png,cat,dev\n"
    )
    layout = find_layout(tmp_path)
    assert layout.task == "classification"
    assert layout.splits == {"train": "train", "val": "dev"}
    assert len(layout.load("train")) == 2


def test_the_images_of_a_table_may_be_in_a_folder_beside_it(save, tmp_path):
    save("images/a.png", "images/b.png")
    (tmp_path / "list.csv").write_text("image,label\na.png,cat\nb.png,dog\n")
    assert len(find_layout(tmp_path).load()) == 2


def test_masks_of_black_and_white_are_background_and_object(save, tmp_path):
    save("images/1.png", "images/2.png")
    save("masks/1.png", "masks/2.png", values=[0, 255], mode="L")
    layout = find_layout(tmp_path)
    assert layout.text == ("images and masks: 0 and 255, background and object")
    data = layout.load()
    assert data.info.mask_names == ("background", "object")
    values = [np.unique(e["segmentation_masks"]).tolist() for e in data]
    assert values == [[0], [1]]


def test_masks_that_are_colored_ask_for_their_colors(save, tmp_path):
    save("images/1.png")
    Image.new("RGB", (10, 8), (255, 0, 0)).save(save("masks/1.png") / "m.png")
    (tmp_path / "m.png").rename(tmp_path / "masks" / "1.png")
    with pytest.raises(ValueError, match=r"`colors`.* \[\[255, 0, 0\]\]"):
        find_layout(tmp_path)


def test_polygons_are_good_for_two_tasks_so_the_user_chooses(request, tmp_path):
    small_data_sets.labelme(request.getfixturevalue, tmp_path)
    with pytest.raises(ValueError, match=r"in 2 ways.*Say `task`"):
        find_layout(tmp_path)
    assert find_layout(tmp_path, "detection").options["target"] == "boxes"


def test_two_layouts_are_never_guessed_between(request, tmp_path):
    small_data_sets.yolo(request.getfixturevalue, tmp_path)
    (tmp_path / "data.csv").write_text("image,label\nimages/train/0.png,cat\n")
    with pytest.raises(ValueError, match=r"in 2 ways: manifest: .*yolo: "):
        find_layout(tmp_path)
    assert find_layout(tmp_path, dataset="yolo").task == "detection"


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "has no images in it or below"),
        (["1.png"], "1 image and nothing that labels them"),
        (["cat/1.png", "dog/2.png", "3.png"], "is mixed: .*1 image beside"),
        (["images/1.png"], "nothing that labels them in a known way"),
    ],
)
def test_a_folder_of_no_layout_is_answered_with_what_it_has(
    save, paths, message
):
    with pytest.raises(ValueError, match=message):
        find_layout(save(*paths))


def test_a_folder_around_the_data_set_is_named(request, tmp_path):
    inner = tmp_path / "export"
    small_data_sets.yolo(request.getfixturevalue, tmp_path)
    inner.mkdir()
    for name in ("images", "labels", "data.yaml"):
        (tmp_path / name).rename(inner / name)
    with pytest.raises(ValueError, match=r"export' has: YOLO.*Give that fold"):
        find_layout(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="There is no folder .*none"):
        find_layout(tmp_path / "none")


def test_tars_that_are_damaged_are_named(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no tar")
    with pytest.raises(ValueError, match=r"a\.tar' cannot be read as a tar"):
        find_layout(tmp_path)
