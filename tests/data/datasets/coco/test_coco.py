"""COCO as a data set: files, layout, unions, lists of ids, TFDS."""

import json

import numpy as np
import pytest

from keras_jft import data as jft_data


def test_the_layout_of_coco_is_found(save_coco, coco, tmp_path, brightness):
    save_coco(coco())
    data = jft_data.load("coco", "train", directory=tmp_path)
    assert data.ids([0, 1, 2]).tolist() == [9, 7, 12]
    assert [brightness(data[i]) for i in range(3)] == [0, 1, 2]
    assert data.info.category_ids == (1, 18, 44)
    assert data.info.label_names == ("person", "dog", "bottle")
    assert data.info.max_boxes == 3
    # Images with a person, a dog, a bottle.
    assert data.info.class_counts.tolist() == [2, 1, 2]
    entry = data[2]["bounding_boxes"]
    assert entry["labels"].tolist() == [0, 2, 0]
    assert entry["ignored"].tolist() == [True, False, False]
    assert entry["areas"].tolist() == [31.5, 2, 5]
    save_coco(coco(), "train2014")
    with pytest.raises(ValueError, match="Received 2 among.*with its year"):
        jft_data.load("coco", directory=tmp_path)
    assert len(jft_data.load("coco", "train2014", directory=tmp_path)) == 3
    with pytest.raises(ValueError, match=r"instances_val\.json.*Received 0"):
        jft_data.load("coco", "val", directory=tmp_path)
    with pytest.raises(ValueError, match="Pass `directory`"):
        jft_data.load("coco")


def test_any_file_and_folder_can_be_named(save_coco, coco, tmp_path):
    path = save_coco(coco(), "val2017")
    options = {"annotations": path, "directory": tmp_path / "val2017"}
    for split in (None, "train", "val2017", "val"):
        data = jft_data.load("coco", split, **options)
        assert data[1]["images"].shape == (8, 10, 3)
    with pytest.raises(ValueError, match="'anything', which nothing in"):
        jft_data.load("coco", "anything", **options)
    pattern = {
        "annotations": str(tmp_path / "annotations/instances_{split}.json"),
        "directory": str(tmp_path / "{split}"),
    }
    assert len(jft_data.load("coco", "val2017", **pattern)) == 3


@pytest.mark.parametrize("ids", [1, 1.5, {"ids": [9]}])
def test_ids_are_a_list(save_coco, coco, tmp_path, ids):
    save_coco(coco(), "train2017")
    for argument in ("ids", "exclude"):
        options = {"directory": tmp_path, argument: ids}
        with pytest.raises(ValueError, match=f"`{argument}` must be a list"):
            jft_data.load("coco", "train", **options)


def _renumbered(document, by):
    for record in document["images"]:
        record["id"] += by
    for record in document["annotations"]:
        record["image_id"] += by
    return document


def test_splits_unite_and_lists_of_ids_choose(save_coco, coco, tmp_path):
    save_coco(coco(), "train2014")
    save_coco(_renumbered(coco(), 100), "val2014")
    both = jft_data.load("coco", "train2014+val2014", directory=tmp_path)
    everything = [9, 7, 12, 109, 107, 112]
    assert both.ids(np.arange(6)).tolist() == everything
    minival = tmp_path / "minival.txt"
    minival.write_text("112\n107\n")
    options = {"split": "train2014+val2014", "directory": tmp_path}
    rest = jft_data.load("coco", exclude=minival, **options)
    assert rest.ids(np.arange(4)).tolist() == everything[:4]
    chosen = jft_data.load("coco", ids=minival, **options)
    assert chosen.ids([0, 1]).tolist() == [107, 112], "in the file's order"
    assert chosen[0]["bounding_boxes"]["labels"].tolist() == [1, 1]
    listed = tmp_path / "ids.json"
    listed.write_text(json.dumps([9]))
    assert len(jft_data.load("coco", ids=listed, **options)) == 1
    assert len(jft_data.load("coco", ids=[7, 109], **options)) == 2
    with pytest.raises(ValueError, match=r"`exclude`.*1 of 2.*\['8'\]"):
        jft_data.load("coco", exclude=[7, 8], **options)
    with pytest.raises(ValueError, match="must leave images"):
        jft_data.load("coco", exclude=everything, **options)
    with pytest.raises(ValueError, match=r"There must be a file.*none\.txt"):
        jft_data.load("coco", ids=tmp_path / "none.txt", **options)
    jft_data.write_ids(chosen, tmp_path / "subset.jsonl")
    again = jft_data.load("coco", ids=tmp_path / "subset.jsonl", **options)
    assert again.ids([0, 1]).tolist() == [107, 112]
    minival.write_bytes(b"\xef\xbb\xbf112\r\n107\r\n\r\n")
    chosen = jft_data.load("coco", ids=minival, **options)
    assert chosen.ids([0, 1]).tolist() == [107, 112], "as Windows writes it"
    listed.write_text('{"ids": [9]}')
    with pytest.raises(ValueError, match=r"ids\.json' must hold a list"):
        jft_data.load("coco", ids=listed, **options)


def test_a_category_without_annotations_is_named(save_coco, coco, tmp_path):
    document = coco()
    document["categories"].append({"id": 45, "name": "猫"})
    save_coco(document)
    match = r"1 of 4 classes occurs in no image of .*2017\.json': '猫'\. Check"
    with pytest.warns(UserWarning, match=match) as found:
        jft_data.load("coco", directory=tmp_path)
    assert len(found) == 1
    # A part, and a test set, need not have all.
    jft_data.load("coco", directory=tmp_path, ids=[7])
    jft_data.load("coco", directory=tmp_path, exclude=[7])
    del document["annotations"]
    save_coco(document, "test2017")
    jft_data.load("coco", "test", directory=tmp_path, annotated=False)


def test_unions_must_agree(save_coco, coco, tmp_path):
    save_coco(coco(), "train2014")
    other = _renumbered(coco(), 100)
    other["categories"][0]["name"] = "cat"
    save_coco(other, "val2014")
    with pytest.raises(ValueError, match=r"instances_val2014.*categories"):
        jft_data.load("coco", "train2014+val2014", directory=tmp_path)
    save_coco(coco(), "val2014")
    with pytest.raises(ValueError, match=r"different ids.*\[7, 9, 12\]"):
        jft_data.load("coco", "train2014+val2014", directory=tmp_path)


def test_missing_images_and_other_sizes_are_named(
    save_coco, save_image, coco, tmp_path
):
    save_coco(coco())
    save_image("train2017/0007.png", size=(4, 4))
    data = jft_data.load("coco", directory=tmp_path)
    with pytest.raises(ValueError, match=r"0007\.png.*\(8, 10\).*\(4, 4\)"):
        data[1]
    (tmp_path / "train2017/0007.png").unlink()
    with pytest.raises(ValueError, match=r"1 of 3 are not: '0007\.png'"):
        jft_data.load("coco", directory=tmp_path)


@pytest.mark.parametrize(
    "name",
    ["./0007.png", "sub/../0007.png", "train2017/0007.png", "sub\\c\u0327.png",
     "sub//\u00e7.png"],
)  # fmt: skip
def test_names_of_other_tools_are_found(
    save_coco, save_image, coco, tmp_path, brightness, name
):
    path = save_coco(coco())
    save_image("train2017/sub/\u00e7.png", 1, size=(8, 10))
    document = coco()
    document["images"][1]["file_name"] = name
    path.write_text(json.dumps(document), encoding="utf-8-sig")
    assert brightness(jft_data.load("coco", directory=tmp_path)[1]) == 1


def test_two_records_of_one_file_are_refused(save_coco, coco, tmp_path):
    path, document = save_coco(coco()), coco()
    document["images"][2]["file_name"] = "0009.png"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="image id 12.*than image id 9"):
        jft_data.load("coco", directory=tmp_path)
    document["images"][2]["file_name"] = "./0009.png"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"ids 9 and 12, both of .*0009\.png"):
        jft_data.load("coco", directory=tmp_path)


def test_images_elsewhere_must_be_allowed(
    save_coco, save_image, coco, tmp_path
):
    path, document = save_coco(coco()), coco()
    save_image("other/x.png", 9, size=(8, 10))
    document["images"][2]["file_name"] = "../other/x.png"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"\.\./other/x\.png.*allow_outside"):
        jft_data.load("coco", directory=tmp_path)
    data = jft_data.load("coco", directory=tmp_path, allow_outside=True)
    assert data[2]["images"].max() == 9


def test_a_test_set_has_no_boxes(save_coco, coco, tmp_path):
    document = coco()
    del document["annotations"]
    path = save_coco(document, "test2017")
    data = jft_data.load(
        "coco",
        annotations=path,
        directory=tmp_path / "test2017",
        annotated=False,
    )
    assert data[0].keys() == {"images", "ids"}
    assert data.info.category_ids == (1, 18, 44)


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match="`source` must be one of"):
        jft_data.load("coco", source="web")
