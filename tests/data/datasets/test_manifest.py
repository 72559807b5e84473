"""Manifests of three kinds give the same images and labels."""

import json

import numpy as np
import pandas as pd
import pytest

from keras_jft.data.datasets import manifest

ROWS = [
    ("x/b.png", ["guinea pig", "pet"]),
    ("a.png", ["cat"]),
    ("x/c.png", []),
    ("a2.png", ["pet", "cat", "cat"]),
]
TREE = {
    "names": {"n0": "animal", "n1": "cat", "n2": "guinea pig", "n3": "pet"},
    "edges": [["n0", "n1"], ["n0", "n2"]],
}


@pytest.fixture(params=["csv", "jsonl", "parquet"])
def path(request, save_image, tmp_path):
    for value, (image, _) in enumerate(ROWS):
        save_image(image, value)
    path = tmp_path / f"list.{request.param}"
    images, labels = zip(*ROWS, strict=True)
    if request.param == "csv":
        joined = [";".join(row) for row in labels]
        pd.DataFrame({"image": images, "labels": joined}).to_csv(path)
    elif request.param == "jsonl":
        path.write_text(
            "".join(
                json.dumps({"image": image, "labels": row}) + "\n"
                for image, row in ROWS
            )
        )
    else:
        pd.DataFrame({"image": images, "labels": labels}).to_parquet(path)
    return path


def _named(data):
    names = data.info.label_names
    return [
        [names[label] for label in example["labels"]]
        for example in data.take(np.arange(len(data)))
    ]


def test_images_and_labels_are_those_of_the_rows(path, brightness):
    data = manifest.load(path)
    assert data.info.label_names == ("cat", "guinea pig", "pet")
    assert data.ids(np.arange(4)).tolist() == [image for image, _ in ROWS]
    assert [brightness(data[i]) for i in range(4)] == [0, 1, 2, 3]
    assert _named(data) == [["guinea pig", "pet"], ["cat"], [], ["cat", "pet"]]
    assert {e["labels"].dtype for e in data.take([0, 2])} == {np.dtype("int32")}
    assert data.info.class_counts.tolist() == [2, 1, 2]
    assert data.info.max_labels == 2


def test_label_names_fix_the_ids(path):
    names = ["pet", "dog", "guinea pig", "cat"]
    data = manifest.load(path, label_names=names)
    assert data.info.label_names == tuple(names)
    assert data[0]["labels"].tolist() == [0, 2]
    assert data.info.class_counts.tolist() == [2, 0, 1, 2]
    with pytest.raises(ValueError, match=r"Unknown: \['guinea pig'\]"):
        manifest.load(path, label_names=["pet", "cat"])


def test_a_hierarchy_closes_the_labels(path):
    data = manifest.load(path, hierarchy=TREE)
    assert data.info.label_names == ("animal", "cat", "guinea pig", "pet")
    assert _named(data) == [
        ["animal", "guinea pig", "pet"], ["animal", "cat"], [],
        ["animal", "cat", "pet"],
    ]  # fmt: skip
    assert data.info.max_labels == 3
    smaller = {"names": {"n0": "animal", "n1": "cat"}, "edges": []}
    with pytest.raises(ValueError, match="No label is called 'guinea pig'"):
        manifest.load(path, hierarchy=smaller)


def test_missing_images_are_named(path, tmp_path):
    (tmp_path / "x/c.png").unlink()
    with pytest.raises(ValueError, match=r"Missing are 1 of 4: \['x/c\.png'\]"):
        manifest.load(path)
    with pytest.raises(ValueError, match="Missing are 4 of 4"):
        manifest.load(path, directory=tmp_path / "elsewhere")


def test_a_split_column_chooses_rows(save_image, tmp_path):
    for name in "abc":
        save_image(f"images/{name}.png")
    path = tmp_path / "list.csv"
    path.write_text(
        "file,split,tags\na.png,train,x|y\nb.png,test,y\nc.png,train,z\n"
    )
    options = {
        "directory": tmp_path / "images", "image_column": "file",
        "label_column": "tags", "separator": "|",
    }  # fmt: skip
    train = manifest.load(path, "train", **options)
    assert train.ids([0, 1]).tolist() == ["a.png", "c.png"]
    assert _named(train) == [["x", "y"], ["z"]]
    assert len(manifest.load(path, **options)) == 3
    with pytest.raises(ValueError, match=r"\['test', 'train'\].*'val'"):
        manifest.load(path, "val", **options)


def test_numbers_are_labels_by_their_text(save_image, tmp_path):
    save_image("a.png")
    path = tmp_path / "list.jsonl"
    path.write_text('{"image": "a.png", "labels": [10, 9]}\n')
    assert manifest.load(path).info.label_names == ("10", "9")
    path.write_text('{"image": "a.png", "labels": 10}\n')
    assert manifest.load(path).info.label_names == ("10",)


def test_bad_manifests_are_clear_errors(tmp_path):
    with pytest.raises(ValueError, match=r"must be a file.*none\.csv"):
        manifest.load(tmp_path / "none.csv")
    path = tmp_path / "list.txt"
    path.write_text("")
    with pytest.raises(ValueError, match=r"\.csv, \.jsonl or \.parquet"):
        manifest.load(path)
    path = tmp_path / "list.csv"
    path.write_text("image,label\n")
    with pytest.raises(ValueError, match=r"'labels'.*\['image', 'label'\]"):
        manifest.load(path)
    path.write_text("image,labels\n")
    with pytest.raises(ValueError, match="must have rows"):
        manifest.load(path)
    path = tmp_path / "list.jsonl"
    path.write_text('{"image": "a.png", "labels": []}\n{"image":\n')
    with pytest.raises(ValueError, match=r"list\.jsonl.*Line 2"):
        manifest.load(path)


def test_one_label_a_row_on_request(save_image, tmp_path):
    path = tmp_path / "list.csv"
    save_image("a.png", 1)
    save_image("b.png", 2)
    path.write_text("image,labels\na.png,cat\nb.png,dog\n")
    data = manifest.load(path, label_names=["dog", "cat"], many=False)
    assert [int(data[i]["labels"]) for i in range(2)] == [1, 0]
    assert np.shape(data[0]["labels"]) == () and data.info.max_labels is None
    path.write_text("image,labels\na.png,cat;dog\nb.png,dog\n")
    with pytest.raises(ValueError, match=r"one label. Received 2 for 'a.png'"):
        manifest.load(path, many=False)


def test_a_label_that_reads_like_nothing_is_a_label(save_image, tmp_path):
    save_image("a.png")
    path = tmp_path / "list.csv"
    path.write_text("image,labels\na.png,NA;null\n")
    assert manifest.load(path).info.label_names == ("NA", "null")
    path.write_text("image,labels\na.png,NA\n")
    assert manifest.load(path).info.label_names == ("NA",)


def test_what_is_no_list_of_images_is_refused(save_image, tmp_path):
    for name in "ab":
        save_image(f"{name}.png")
    path = tmp_path / "list.csv"
    path.write_text("image,labels\na.png,x\na.png,y\nb.png,x\n")
    with pytest.raises(ValueError, match=r"one row an image.*1 rows.*a\.png"):
        manifest.load(path)
    path.write_text("image,labels\na.png,x\nb.png,x\n")
    with pytest.raises(ValueError, match="name each label once"):
        manifest.load(path, label_names=["x", "y", "x"])
    tree = {"names": {"x": "x", "r": "root"}, "edges": [["r", "x"]]}
    with pytest.raises(ValueError, match="many=False and a hierarchy"):
        manifest.load(path, hierarchy=tree, many=False)
    path = tmp_path / "list.jsonl"
    path.write_text('{"image": "a.png", "labels": 1}\n3\n')
    with pytest.raises(ValueError, match="must be a JSON object. Line 2: 3"):
        manifest.load(path)


def test_a_row_that_lacks_something_changes_no_other(save_image, tmp_path):
    for name in "abc":
        save_image(f"{name}.png")
    path = tmp_path / "list.jsonl"
    path.write_text(
        '{"image": "a.png", "labels": 3, "split": "train"}\n'
        '{"image": "b.png", "split": "train"}\n'
        '{"image": "c.png", "labels": 4}\n'
    )
    data = manifest.load(path, "train")
    assert data.info.label_names == ("3",) and len(data) == 2
