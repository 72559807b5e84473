"""COCO's annotation files: read as they are, refused where they are broken."""

import json

import fuzzing
import numpy as np
import pytest
from pycocotools.coco import COCO

from keras_jft.data.datasets.coco import files

NAN, PLACES = float("nan"), 7


@pytest.fixture
def save(tmp_path):
    def write(document):
        path = tmp_path / "ann.json"
        if isinstance(document, dict):
            document = json.dumps(document)
        if isinstance(document, str):
            document = document.encode()
        path.write_bytes(document)
        return path

    return write


def test_a_file_is_read_as_pycocotools_reads_it(save, coco, capsys):
    path = save(coco())
    file, theirs = files.read(path), COCO(path)
    capsys.readouterr()  # It prints.
    assert file.image_ids.tolist() == [9, 7, 12]
    assert file.category_ids == (1, 18, 44) == tuple(sorted(theirs.cats))
    assert file.label_names == ("person", "dog", "bottle")
    assert file.keypoints is None
    for number, image in enumerate(file.image_ids.tolist()):
        rows = file.annotations_of(number)
        expected = theirs.imgToAnns[image]
        assert file.annotation_ids[rows].tolist() == [a["id"] for a in expected]
        entry = file.bounding_boxes(number)
        for row, record in enumerate(expected):
            x, y, w, h = record["bbox"]
            assert entry["boxes"][row].tolist() == [x, y, x + w, y + h]
            label = sorted(theirs.cats).index(record["category_id"])
            assert entry["labels"][row] == label
            assert entry["ignored"][row] == record["iscrowd"]
            assert entry["areas"][row] == record["area"]
    assert {k: v.dtype.name for k, v in entry.items()} == {
        "boxes": "float32", "labels": "int32", "ignored": "bool",
        "areas": "float32",
    }  # fmt: skip
    assert len(file.boxes) == 7


def test_keypoints_come_with_names_and_bones(save, coco):
    document = coco(keypoints=True)
    document["categories"][0]["sigmas"] = [0.1, 0.2, 0.3]
    file = files.read(save(document))
    assert file.keypoints.shape == (7, 3, 3)
    assert file.keypoints[6].tolist() == [[1, 2, 2], [3, 1.5, 1], [0, 0, 0]]
    assert file.keypoint_names == ("nose", "left_eye", "right_eye")
    assert file.skeleton == ((0, 1), (0, 2))
    assert file.sigmas == (0.1, 0.2, 0.3)


def test_what_the_format_leaves_open_is_accepted(save, coco):
    document = coco()
    for name, record in enumerate(document["annotations"]):
        record["id"] = name  # 0 too.
        del record["area"], record["iscrowd"]
    document["annotations"][0]["bbox"] = [-0.75, 0, 11.5, 9]
    document["annotations"] = document["annotations"][:4]  # None of image 12.
    document["annotations"][3]["image_id"] = 7
    file = files.read(save(document))
    assert file.boxes[2].tolist() == [0, 0, 10, 8], "clipped within a pixel"
    assert file.areas.tolist() == [4, 9, 80, 63], "those of the boxes"
    assert not file.ignored.any()
    assert file.starts.tolist() == [0, 2, 4, 4]


def test_null_is_as_good_as_absent(save, coco):
    lacking, null = coco(keypoints=True), coco(keypoints=True)
    del lacking["categories"][0]["skeleton"]
    null["categories"][0] |= {"skeleton": None, "sigmas": None}
    for record in lacking["annotations"]:
        for field in ("area", "iscrowd", "num_keypoints"):
            del record[field]
    for record in null["annotations"]:
        record |= {"area": None, "iscrowd": None, "num_keypoints": None}
        record |= {"segmentation": None}
    expected = files.read(save(lacking))
    found = files.read(save(null))
    assert found.areas.tolist() == expected.areas.tolist()
    assert not found.ignored.any() and found.skeleton == ()
    assert found.sigmas is None
    # What a file must have is asked for.
    null["annotations"][2]["bbox"] = None
    with pytest.raises(ValueError, match="id 102, field `bbox`.*None"):
        files.read(save(null))
    null["annotations"] = None
    with pytest.raises(ValueError, match="`annotations` must be a list"):
        files.read(save(null))
    assert len(files.read(save(null), annotated=False).boxes) == 0


def test_a_crowd_may_be_true_or_false(save, coco):
    document = coco()
    for record in document["annotations"]:
        record["iscrowd"] = record["id"] == 101
    file = files.read(save(document))
    assert file.annotation_ids[file.ignored].tolist() == [101]


@pytest.mark.parametrize("project", ["creatures", "dog"])
def test_the_root_that_roboflow_adds_is_no_class(save, coco, project):
    document = coco()
    for record in document["categories"]:
        record["supercategory"] = project
    root = {"id": 0, "name": project, "supercategory": "none"}
    document["categories"].insert(0, root)
    file = files.read(save(document))
    assert file.label_names == ("person", "dog", "bottle")
    assert file.category_ids == (1, 18, 44)
    # One that is labeled, or that is not above all others, is a class.
    document["annotations"][0]["category_id"] = 0
    if project == "dog":
        with pytest.raises(ValueError, match="no other category has"):
            files.read(save(document))
    else:
        assert files.read(save(document)).category_ids[0] == 0
    document["annotations"][0]["category_id"] = 1
    document["categories"][2]["supercategory"] = "none"
    document["categories"][0]["name"] = "other"
    assert files.read(save(document)).category_ids[0] == 0


def test_texts_are_ids_too(save, coco):
    document = coco()
    for record in document["images"]:
        record["id"] = f"im{record['id']}"
    for record in document["annotations"]:
        record["image_id"] = f"im{record['image_id']}"
    file = files.read(save(document))
    assert file.image_ids.tolist() == ["im9", "im7", "im12"]
    document["images"][1]["id"] = 7
    with pytest.raises(ValueError, match="image id 7.*type of the others"):
        files.read(save(document))


def test_a_file_without_annotations_is_a_test_set(save, coco):
    document = coco()
    del document["annotations"]
    with pytest.raises(ValueError, match="`annotations` must be a list"):
        files.read(save(document))
    file = files.read(save(document), annotated=False)
    assert len(file.image_ids) == 3 and file.boxes.shape == (0, 4)


def test_faulty_annotations_can_be_dropped_but_nothing_else(save, coco):
    document = coco()
    document["annotations"][0]["bbox"] = [1, 1, 3, 0]
    document["annotations"][4]["bbox"] = [NAN, 1, 3, 4]
    document["annotations"][5]["category_id"] = 2
    with pytest.raises(ValueError, match="on_error='drop'"):
        files.read(save(document))
    with pytest.warns(UserWarning, match=r"Left out 3 .*'.*ann\.json'.*id 100"):
        file = files.read(save(document), on_error="drop")
    assert file.annotation_ids.tolist() == [101, 102, 103, 106]
    assert file.starts.tolist() == [0, 2, 2, 4]
    del document["images"][1]["width"]
    with pytest.raises(ValueError, match="`width`"):
        files.read(save(document), on_error="drop")
    with pytest.raises(ValueError, match="`on_error` must be one of"):
        files.read(save(coco()), on_error="ignore")


# === Malformed files: every kind at every place ===


def _set(key, field, value):
    """A record of list `key` gets a field; `...` means it loses it."""

    def apply(document, place):
        place %= len(document[key])
        record = document[key][place]
        name = f"id {record['id']}"
        record[field] = value
        if value is ...:
            del record[field]
        if field == "id":
            name = f"number {place}"
        return name, f"`{field}`"

    return apply


def _double(key):
    """Two records of a list get one id."""

    def apply(document, place):
        first, second = (
            document[key][(place + i) % len(document[key])] for i in (0, 1)
        )
        second["id"] = first["id"]
        return f"id {first['id']!r}", "`id`"

    return apply


def _replace(key, value):
    """A record of a list is no object."""

    def apply(document, place):
        document[key][place % len(document[key])] = value
        return (f"number {place % len(document[key])}",)

    return apply


def _box(index, value):
    """One number of a box is another."""

    def apply(document, place):
        record = document["annotations"][place]
        record["bbox"][index] = value
        return f"id {record['id']}", "`bbox`"

    return apply


def _keypoint(index, value):
    """One number of a person's keypoints is another."""

    def apply(document, place):
        record = document["annotations"][place]
        record["keypoints"][index] = value
        return f"id {record['id']}", "`keypoints`"

    return apply


def _fewer_keypoints(document, place):
    record = document["annotations"][place]
    del record["keypoints"][-3:]
    return f"id {record['id']}", "`keypoints`"


def _other_count(document, place):
    record = document["annotations"][place]
    record["num_keypoints"] += 1
    return f"id {record['id']}", "`num_keypoints`"


def _no_list(document, place):
    key = ["images", "annotations", "categories"][place % 3]
    document[key] = [{"id": 1}, None, "none"][place // 3]
    if place < 3:
        del document[key]
    return (f"`{key}`",)


KINDS = {
    "no list": _no_list,
    "an image that is no object": _replace("images", "0009.png"),
    "an annotation that is no object": _replace("annotations", [1, 2]),
    "a category that is no object": _replace("categories", "dog"),
    "an image without id": _set("images", "id", ...),
    "an image twice": _double("images"),
    "an image without file": _set("images", "file_name", ...),
    "an image of no height": _set("images", "height", 0),
    "an image without width": _set("images", "width", None),
    "a category without id": _set("categories", "id", ...),
    "a category twice": _double("categories"),
    "a category without name": _set("categories", "name", ...),
    "an annotation without id": _set("annotations", "id", ...),
    "an annotation twice": _double("annotations"),
    "an unknown image": _set("annotations", "image_id", 8),
    "no image": _set("annotations", "image_id", ...),
    "an unknown category": _set("annotations", "category_id", 2),
    "no category": _set("annotations", "category_id", ...),
    "no box": _set("annotations", "bbox", ...),
    "a box of text": _set("annotations", "bbox", "1 2 3 4"),
    "a box of three": _set("annotations", "bbox", [1, 1, 2]),
    "a text in a box": _box(1, "0"),
    "NaN in a box": _box(0, NAN),
    "infinity in a box": _box(3, float("inf")),
    "a negative width": _box(2, -2),
    "no height": _box(3, 0),
    "minus infinity in a box": _box(1, -float("inf")),
    "a negative height": _box(3, -0.5),
    "no width": _box(2, 0),
    "far to the left": _box(0, -2),
    "far to the right": _box(0, 30),
    "far above": _box(1, -20.5),
    "far below": _box(1, 30),
    "far too wide": _box(2, 400),
    "a NaN area": _set("annotations", "area", NAN),
    "a negative area": _set("annotations", "area", -1.0),
    "half a crowd": _set("annotations", "iscrowd", 0.5),
    "a crowd of text": _set("annotations", "iscrowd", "1"),
    "an image id of another type": _set("annotations", "image_id", "9"),
    "a category of another type": _set("annotations", "category_id", 1.5),
    "an image file of another type": _set("images", "file_name", 9),
    "an image of NaN height": _set("images", "height", NAN),
    "an image of negative width": _set("images", "width", -10),
    "a category of no name": _set("categories", "name", ""),
}
KEYPOINT_KINDS = {
    "NaN in a keypoint": _keypoint(0, NAN),
    "another visibility": _keypoint(2, 3),
    "fewer keypoints": _fewer_keypoints,
    "another number of keypoints": _other_count,
}


def test_malformed_files_are_refused_with_file_record_and_field(save, coco):
    refused = set()
    for kind, break_it in {**KINDS, **KEYPOINT_KINDS}.items():
        for place in range(PLACES):
            document = coco(keypoints=kind in KEYPOINT_KINDS)
            expected = break_it(document, place)
            path = save(document)
            with pytest.raises(ValueError) as error:
                files.read(path)
            for part in (r"ann.json'", *expected):
                assert part in str(error.value), kind
            refused.add(path.read_text())
    assert len(refused) > 200


def test_a_file_cut_short_anywhere_is_refused(save, coco):
    whole = json.dumps(coco())
    for cut in range(0, len(whole) - 1, len(whole) // 20):
        with pytest.raises(ValueError, match=r"ann\.json' is not JSON"):
            files.read(save(whole[:cut]))
    for root in ("[]", "3", "null"):
        with pytest.raises(ValueError, match=r"ann\.json' must hold an object"):
            files.read(save(root))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("keypoints", []),
        ("keypoints", ["nose", "nose", "ear"]),
        ("keypoints", "nose"),
        ("skeleton", [[0, 1]]),
        ("skeleton", [[1, 2, 3]]),
        ("sigmas", [0.1]),
    ],
)
def test_malformed_keypoint_names_are_refused(save, coco, field, value):
    document = coco(keypoints=True)
    document["categories"][0][field] = value
    with pytest.raises(ValueError, match=f"category id 1, field `{field}`"):
        files.read(save(document))


def test_boxes_smaller_than_a_pixel_and_many_boxes_are_fine(save, coco):
    document = coco()
    template = document["annotations"][0]
    document["annotations"] = [
        {**template, "id": i, "bbox": [i / 60, 0.5, 0.01, 0.02]}
        for i in range(500)
    ]
    file = files.read(save(document))
    sides = file.boxes[:, 2:] - file.boxes[:, :2]
    np.testing.assert_allclose(sides, [[0.01, 0.02]] * 500, atol=1e-5)
    assert (sides > 0).all()


@pytest.mark.parametrize("keypoints", [False, True])
def test_hundreds_of_mutated_files_are_read_or_refused_by_name(
    save, coco, keypoints
):
    rng, refused = np.random.default_rng(0), 0
    for number in range(400):
        content = coco(keypoints=keypoints)
        if number % 2:
            content = fuzzing.mutated_json(content, rng)
        else:
            content = json.dumps(content).encode()
            content = fuzzing.mutated_bytes(content, rng)
        path = save(content)
        try:
            file = files.read(path)
        except ValueError as error:
            refused += 1
            assert "ann.json" in str(error) and len(str(error)) < 800
        else:
            assert np.isfinite(file.boxes).all()
    assert 250 < refused < 400


def test_two_unicode_forms_of_a_category_are_not_two_classes(save, coco):
    document = coco()
    for place, name in enumerate(("caf\u00e9", "cafe\u0301")):
        document["categories"][place]["name"] = name
    with pytest.raises(ValueError, match="categories: .*another Unicode form"):
        files.read(save(document))
