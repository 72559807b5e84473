"""Manifests of three kinds give the same images and labels."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
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
    with pytest.warns(UserWarning, match=r"1 of 4 .* no row of .*: 'dog'\. C"):
        data = manifest.load(path, label_names=names)
    assert data.info.label_names == tuple(names)
    assert data[0]["labels"].tolist() == [0, 2]
    assert data.info.class_counts.tolist() == [2, 0, 1, 2]
    with pytest.raises(
        ValueError,
        match=r"(line|row) \d: every.*Unknown: \['guinea pig'\], of 1",
    ):
        manifest.load(path, label_names=["pet", "cat"])
    with pytest.raises(ValueError, match=r"pig'\] \(there is 'Guinea pig'\)"):
        manifest.load(path, label_names=["pet", "cat", "Guinea pig"])


def test_a_hierarchy_closes_the_labels(path):
    data = manifest.load(path, hierarchy=TREE)
    assert data.info.label_names == ("animal", "cat", "guinea pig", "pet")
    assert _named(data) == [
        ["animal", "guinea pig", "pet"], ["animal", "cat"], [],
        ["animal", "cat", "pet"],
    ]  # fmt: skip
    assert data.info.max_labels == 3
    smaller = {"names": {"n0": "animal", "n1": "cat"}, "edges": []}
    with pytest.raises(ValueError, match="There is no label 'guinea pig'"):
        manifest.load(path, hierarchy=smaller)


def test_missing_images_are_named(path, tmp_path):
    (tmp_path / "x/c.png").unlink()
    with pytest.raises(ValueError, match=r"1 of 4 are not: 'x/c\.png'"):
        manifest.load(path)
    with pytest.raises(ValueError, match="4 of 4 are not"):
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


def test_splits_of_one_table_agree_on_ids(save_image, tmp_path):
    for name in "ab":
        save_image(f"{name}.png")
    path = tmp_path / "list.csv"
    path.write_text("image,labels,split\na.png,x;z,train\nb.png,y;z,val\n")
    train, val = (manifest.load(path, split) for split in ("train", "val"))
    assert train.info.label_names == val.info.label_names == ("x", "y", "z")
    assert train[0]["labels"].tolist() == [0, 2]
    assert val[0]["labels"].tolist() == [1, 2]
    assert val.info.class_counts.tolist() == [0, 1, 1]


def test_a_split_that_nothing_chooses_is_refused(save_image, tmp_path):
    save_image("a.png")
    path = tmp_path / "list.csv"
    path.write_text("image,labels\na.png,x\n")
    for split in (None, "train"):
        assert len(manifest.load(path, split)) == 1
    with pytest.raises(
        ValueError, match=r"'val', which nothing in .*list\.csv"
    ):
        manifest.load(path, "val")
    named = path.rename(tmp_path / "pets_val.csv")
    assert len(manifest.load(named, "val")) == 1
    for header in ("image,labels,Split", "image,labels,split "):
        named.write_text(f"{header}\na.png,x,train\n")
        name = header.split(",")[-1]
        for split in ("train", "val"):
            with pytest.raises(ValueError, match=f"Rename '{name}' to 'split'"):
                manifest.load(named, split)
        assert len(manifest.load(named)) == 1
    rows = '{"image": "a.png", "labels": "x", "SPLIT": "train"}\n'
    (tmp_path / "b.jsonl").write_text(rows)
    with pytest.raises(ValueError, match="Rename 'SPLIT' to 'split'"):
        manifest.load(tmp_path / "b.jsonl", "train")
    named.write_text("image,labels,split\na.png,x,1\n")
    assert len(manifest.load(named, 1)) == 1


@pytest.mark.parametrize(
    "text, remedy",
    [
        ("image, labels\na.png,x\n", "Rename ' labels' to 'labels'"),
        ("Image,labels\na.png,x\n", "Rename 'Image' to 'image'"),
        ("image;labels\na.png;x,y\n", "Separate the cells by commas"),
        ("image\tlabels\na.png\tx\n", "Separate the cells by commas"),
        ("sep=,\nimage,labels\na.png,x\n", "Remove the first line"),
    ],
)
def test_a_header_that_is_almost_right_is_told(text, remedy, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"list\.csv.*{remedy}"):
        manifest.load(path)


def test_an_empty_separator_is_refused(tmp_path, save_image):
    save_image("a.png")
    (tmp_path / "list.csv").write_text("image,labels\na.png,x\n")
    with pytest.raises(ValueError, match="`separator` must"):
        manifest.load(tmp_path / "list.csv", separator="")


def test_a_table_without_any_label_is_warned_of(save_image, tmp_path):
    save_image("a.png")
    path = tmp_path / "list.csv"
    path.write_text("image,labels\na.png,\n")
    with pytest.warns(UserWarning, match=r"No row of .*list\.csv' has a label"):
        data = manifest.load(path)
    assert data.info.label_names == () and data[0]["labels"].shape == (0,)


def test_numbers_are_labels_by_their_text(save_image, tmp_path):
    save_image("a.png")
    path = tmp_path / "list.jsonl"
    path.write_text('{"image": "a.png", "labels": [10, 9]}\n')
    assert manifest.load(path).info.label_names == ("9", "10")
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
    with pytest.raises(ValueError, match=r"list\.jsonl', line 2"):
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
    with pytest.raises(ValueError, match=r"one row per image.*1 row.*a\.png"):
        manifest.load(path)
    path.write_text("image,labels\na.png,x\nb.png,x\n")
    with pytest.raises(ValueError, match="name each label once"):
        manifest.load(path, label_names=["x", "y", "x"])
    tree = {"names": {"x": "x", "r": "root"}, "edges": [["r", "x"]]}
    with pytest.raises(ValueError, match="many=False and a hierarchy"):
        manifest.load(path, hierarchy=tree, many=False)
    path = tmp_path / "list.jsonl"
    path.write_text('{"image": "a.png", "labels": 1}\n3\n')
    with pytest.raises(
        ValueError, match=r"line 2: .*a JSON object\. Received: 3"
    ):
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
    # Names are those of the file, whatever the split.
    assert data.info.label_names == ("3", "4") and len(data) == 2
    assert [e["labels"].tolist() for e in data.take([0, 1])] == [[0], []]


def test_files_as_windows_tools_write_them(save_image, tmp_path):
    save_image("a.png")
    for name, content in {
        "mark.csv": b"\xef\xbb\xbfimage,labels\r\na.png,x;y\r\n",
        "blank.csv": b"image,labels\n\na.png,x;y\n\n,\n \n",
        "index.csv": b",image,labels\n0,a.png,x;y\n",
        "mark.jsonl": b'\xef\xbb\xbf{"image":"a.png","labels":["x","y"]}\r\n',
        "blank.jsonl": b'\n{"image":"a.png","labels":"x;y"}\n \n\n',
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert _named(manifest.load(path)) == [["x", "y"]]


def test_an_index_without_a_name_is_not_a_column_of_images(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(",image,label\n0,a.png,x\n")
    with pytest.raises(ValueError, match=r"columns \['image', 'label'\]"):
        manifest.load(path)


@pytest.mark.parametrize(
    "labels",
    [[None], {"a": 1}, [["a"]], 1.5, 2.0, True, ["a", False], 10**30],
    ids=str,
)
def test_what_is_no_label_is_an_error_with_file_and_row(
    save_image, tmp_path, labels
):
    for name in "ab":
        save_image(f"{name}.png")
    path = tmp_path / "list.jsonl"
    rows = [
        {"image": "a.png", "labels": "x"},
        {"image": "b.png", "labels": labels},
    ]
    path.write_text("\n\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match=r"list\.jsonl', line 3: a label must"):
        manifest.load(path)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (pa.array([[1.0], [2.0]]), "row 0: a label must"),
        (pa.array([True, None]), "row 0: a label must"),
        (pa.array([["a"], ["b", None]]), "row 1: a label must"),
        (pa.array([[["a"]], []]), "row 0: a label must"),
        (pa.array([[{"a": 1}], []]), "row 0: a label must"),
        (pa.array([b"a", b"b"]), "row 0: a label must"),
        # What pandas makes of whole numbers and an empty cell.
        (pa.array([1.0, None]), r"row 0: a label must.*1\.0"),
    ],
    ids=str,
)
def test_parquet_columns_of_no_labels_are_refused(
    save_image, tmp_path, labels, says
):
    images = [save_image(f"{name}.png").name for name in "ab"]
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"image": images, "labels": labels}), path)
    with pytest.raises(ValueError, match=rf"list\.parquet', {says}"):
        manifest.load(path)


def test_an_empty_cell_of_numbers_is_no_label(save_image, tmp_path):
    images = [save_image(f"{name}.png").name for name in "abc"]
    path = tmp_path / "list.parquet"
    labels = pa.array([11, None, 2], pa.int64())
    pq.write_table(pa.table({"image": images, "labels": labels}), path)
    data = manifest.load(path)
    assert data.info.label_names == ("2", "11")
    assert _named(data) == [["11"], [], ["2"]]
    path = tmp_path / "list.csv"
    path.write_text("image,labels\na.png,11\nb.png,\nc.png,2\n")
    data = manifest.load(path)
    assert data.info.label_names == ("2", "11")
    assert _named(data) == [["11"], [], ["2"]]
    # As `to_csv` writes a column that pandas made floats of.
    path.write_text("image,labels\na.png,11.0\nb.png,\nc.png,2.0\n")
    with pytest.raises(ValueError, match=r"line 2: the label '11\.0'.*Int64"):
        manifest.load(path)
    names = manifest.load(path, label_names=["11.0", "2.0"]).info.label_names
    assert names == ("11.0", "2.0")


def test_a_row_of_another_length_is_an_error_with_its_line(tmp_path):
    path = tmp_path / "list.csv"
    for rows in ("a.png,x\nb.png", "a.png,x\nb.png,x,y\n", 'a.png,x\n"b.png'):
        path.write_text(f"image,labels\n{rows}")
        with pytest.raises(ValueError, match=r"list\.csv', line 3"):
            manifest.load(path)
    path.write_text("image,labels,labels\na.png,x,y\n")
    with pytest.raises(ValueError, match="2 columns 'labels'"):
        manifest.load(path)


def test_labels_that_are_texts_and_numbers_are_refused(save_image, tmp_path):
    for name in "ab":
        save_image(f"{name}.png")
    path = tmp_path / "list.jsonl"
    path.write_text(
        '{"image": "a.png", "labels": 1}\n{"image": "b.png", "labels": "1"}\n'
    )
    with pytest.raises(ValueError, match="line 1: 1; .*line 2: '1'"):
        manifest.load(path)


def test_paths_of_other_machines_are_found(save_image, tmp_path, brightness):
    save_image("im/sub/a.png", 3)
    path = tmp_path / "list.csv"
    names = (
        "im\\sub\\a.png", "./im//sub/a.png", f"{tmp_path}/im/sub/a.png",
        f"{tmp_path.name}/im/sub/a.png",
    )  # fmt: skip
    for name in names:
        path.write_text(f"image,labels\n{name},x\n")
        data = manifest.load(path)
        assert brightness(data[0]) == 3 and data[0]["ids"] == name
        assert data.ids([0]).tolist() == [name]
        assert data.image_bytes(0) == (tmp_path / "im/sub/a.png").read_bytes()
    path.write_text("image,labels\n" + "".join(f"{n},x\n" for n in names))
    with pytest.raises(ValueError, match=r"one row per image.*3 rows"):
        manifest.load(path)


def test_images_outside_are_read_only_on_request(save_image, tmp_path):
    outside = save_image("secret/a.png", 9)
    path = tmp_path / "d" / "list.jsonl"
    path.parent.mkdir()
    for name in ("../secret/a.png", str(outside)):
        path.write_text(json.dumps({"image": name, "labels": "x"}))
        with pytest.raises(ValueError, match="leaves the folder"):
            manifest.load(path)
        data = manifest.load(path, allow_outside=True)
        assert np.unique(data[0]["images"]).tolist() == [9]
    path.write_text(json.dumps({"image": f"file://{outside}", "labels": "x"}))
    with pytest.raises(ValueError, match="a URL, which is not followed"):
        manifest.load(path, allow_outside=True)


@pytest.mark.parametrize("image", [None, 3, "", ["a.png"], float("nan")])
def test_a_row_without_a_path_is_an_error_with_its_line(tmp_path, image):
    path = tmp_path / "list.jsonl"
    path.write_text(json.dumps({"image": image, "labels": "x"}))
    with pytest.raises(ValueError, match=r"list\.jsonl', line 1: `image`"):
        manifest.load(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b""),
        ("a.csv", b"image,labels\n0.png,\xff\n"),
        ("a.csv", "image,labels\n0.png,a\n".encode("utf-16")),
        ("a.jsonl", b""),
        ("a.jsonl", b"[" * 100_000),
        ("a.jsonl", b'{"image": "0.png", "labels": ' + b"1" * 5000 + b"}"),
        ("a.jsonl", b'{"image": "0.png", "image": "1.png", "labels": "a"}'),
        ("a.parquet", b"PAR1xxxx"),
        ("a.parquet", b""),
    ],
)
def test_files_of_another_form_are_errors_with_their_name(
    tmp_path, name, content
):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=name) as error:
        manifest.load(path)
    assert type(error.value) is ValueError


def test_labels_that_a_hierarchy_lacks_are_errors_with_their_row(
    save_image, tmp_path
):
    save_image("a.png")
    path = tmp_path / "list.csv"
    path.write_text("image,labels\na.png,cow\n")
    with pytest.raises(ValueError, match=r"list\.csv', line 2: .*'cow'"):
        manifest.load(path, hierarchy=TREE)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("\"['cat', 'dog']\"", "a list written as text"),
        ('"[""cat""]"', "a list written as text"),
        ("1.5", "not whole"),
        ("nan", "missing value"),
        ("None", "missing value"),
    ],
)
def test_what_pandas_writes_of_other_things_is_refused_with_its_line(
    save_image, tmp_path, cell, says
):
    save_image("a.png")
    save_image("b.png")
    path = tmp_path / "list.csv"
    path.write_text(f"image,labels\na.png,cat\nb.png,{cell}\n")
    with pytest.raises(ValueError, match=rf"list\.csv', line 3: .*{says}"):
        manifest.load(path)


def test_spaces_around_a_label_are_no_part_of_it(save_image, tmp_path):
    path = tmp_path / "list.jsonl"
    lines = []
    for name, labels in (("a", ["cat"]), ("b", [" cat "]), ("c", ["  "])):
        save_image(f"{name}.png")
        lines.append(json.dumps({"image": f"{name}.png", "labels": labels}))
    path.write_text("\n".join(lines))
    data = manifest.load(path)
    assert data.info.label_names == ("cat",)
    assert [list(e["labels"]) for e in data.take(range(3))] == [[0], [0], []]


@pytest.mark.parametrize("many", ["false", 0, None])
def test_many_is_true_or_false(many, save_image, tmp_path):
    save_image("a.png")
    path = tmp_path / "list.csv"
    path.write_text("image,labels\na.png,cat\n")
    with pytest.raises(ValueError, match="`many` must be True or False"):
        manifest.load(path, many=many)
