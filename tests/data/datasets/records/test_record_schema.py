"""Examples of every task as `tf.train.Example`s, and back."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_jft.data.datasets.records import schema
from keras_jft.data.datasets.records.schema import (
    encode_image,
    from_record,
    stored_image,
    to_record,
)

tf = pytest.importorskip("tensorflow")


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (9, 7, 3), "uint8")


def _again(example, **options):
    record = to_record(example, encode_image(example["images"]))
    return from_record(record, "record 3 of 'a'", **options)


def _assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            _assert_same(found[key], value)
        elif key in ("boxes", "keypoints", "areas"):
            assert found[key].dtype == np.float32
            assert found[key].shape == value.shape
            np.testing.assert_allclose(found[key], value, rtol=3e-7)
        else:
            assert np.asarray(found[key]).dtype == np.asarray(value).dtype
            np.testing.assert_array_equal(found[key], value)


def test_labels_come_back_one_many_or_none(image):
    for labels in ([4, 0, 18_290], []):
        labels = np.array(labels, "int32")
        example = {"images": image, "labels": labels, "ids": "a/ü.jpg"}
        _assert_same(_again(example), example)
        example["unknown_labels"] = labels + 1
        _assert_same(_again(example), example)
    example = {"images": image, "labels": np.int32(7), "ids": "3"}
    found = _again(example, one_label=True)
    _assert_same(found, example)
    assert np.ndim(found["labels"]) == 0
    example = {"images": image, "ids": "3"}
    _assert_same(_again(example), example)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_boxes_come_back(image, rng, count):
    corners = np.sort(rng.uniform(0, 7, (count, 2, 2)), axis=1)
    boxes = corners.reshape(-1, 4).astype("float32")
    keypoints = rng.uniform(0, 7, (count, 2, 3)).astype("float32")
    keypoints[..., 2] = rng.integers(0, 3, (count, 2))
    entry = {
        "boxes": boxes,
        "labels": np.arange(count, dtype="int32"),
        "ignored": np.arange(count) % 2 == 1,
        "areas": rng.uniform(0, 9, count).astype("float32"),
        "keypoints": keypoints,
    }
    example = {"images": image, "bounding_boxes": entry, "ids": "1"}
    _assert_same(_again(example, num_keypoints=2), example)
    entry = {key: entry[key] for key in ("boxes", "labels")}
    example = {"images": image, "bounding_boxes": entry, "ids": "1"}
    _assert_same(_again(example), example)


def test_boxes_to_the_border_stay_inside():
    for width in range(1, 500, 7):
        example = {
            "images": np.zeros((2, width, 3), "uint8"),
            "bounding_boxes": {
                "boxes": np.array([[0, 0, width, 2]], "float32"),
                "labels": np.array([0], "int32"),
            },
            "ids": 0,
        }
        found = _again(example)["bounding_boxes"]["boxes"]
        assert found.tolist() == [[0, 0, width, 2]]


def test_masks_and_keypoints_come_back(image, rng):
    mask = rng.integers(0, 256, (9, 7, 1), "uint8")
    points = np.array([[0.5, 8.25, 2], [0, 0, 0], [6.9, 1.1, 1]], "float32")
    example = {
        "images": image, "segmentation_masks": mask, "keypoints": points,
        "ids": "12", "image_ids": "3",
    }  # fmt: skip
    _assert_same(_again(example), example)


def test_the_names_are_those_of_the_object_detection_api(image):
    example = {
        "images": image,
        "labels": np.array([5], "int32"),
        "bounding_boxes": {
            "boxes": np.array([[0, 3, 3.5, 9]], "float32"),
            "labels": np.array([2], "int32"),
        },
        "ids": 17,
    }
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG")
    record = to_record(example, buffer.getvalue())
    assert stored_image(record, "a") == buffer.getvalue()
    number = tf.io.FixedLenFeature([], tf.int64)
    text, side = (
        tf.io.FixedLenFeature([], tf.string),
        tf.io.FixedLenFeature([1], tf.float32),
    )
    found = tf.io.parse_single_example(
        record,
        {
            "image/encoded": text,
            "image/format": text,
            "image/source_id": text,
            "image/height": number,
            "image/width": number,
            "image/class/label": number,
            "image/object/bbox/xmin": side,
            "image/object/bbox/ymin": side,
            "image/object/bbox/xmax": side,
            "image/object/bbox/ymax": side,
            "image/object/class/label": number,
        },
    )
    assert found["image/encoded"] == buffer.getvalue()
    assert found["image/format"] == b"jpeg"
    assert found["image/source_id"] == b"17"
    assert (found["image/height"], found["image/width"]) == (9, 7)
    assert found["image/class/label"] == 5
    assert found["image/object/class/label"] == 2
    sides = [found[f"image/object/bbox/{s}"] for s in ("xmin", "ymin")]
    np.testing.assert_allclose(np.ravel(sides), [0, 1 / 3])
    sides = [found[f"image/object/bbox/{s}"] for s in ("xmax", "ymax")]
    np.testing.assert_allclose(np.ravel(sides), [0.5, 1])


def _record(image, **features):
    message = tf.train.Example.FromString(
        to_record({"images": image, "ids": 0}, encode_image(image))
    )
    for name, value in features.items():
        feature = message.features.feature["image/" + name.replace("_", "/")]
        feature.Clear()
        if isinstance(value, list):
            feature.int64_list.value.extend(value)
        else:
            feature.bytes_list.value.append(value)
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"encoded": b"no image"}, "the image of record 3 of 'a'.*cannot be"),
        ({"encoded": [3]}, "`image/encoded`.*Received: a int64_list"),
        ({"class_label": [2**40]}, "`image/class/label`.*beyond int32"),
        ({"class_label": [-(2**63)]}, "`image/class/label`.*beyond int32"),
        ({"class_label": [1, 2]}, "`image/class/label`.*1 value, not 2"),
        ({"class_label": b"cat"}, "`image/class/label`.*a bytes_list"),
        ({"segmentation_class_encoded": b"no"}, "the mask of record 3 of 'a'"),
        ({"keypoint_x": [1]}, "`image/keypoint/x`.*a int64_list"),
        ({"object_bbox_xmin": [1]}, "`image/object/bbox/xmin`.*a int64_list"),
    ],
)
def test_a_faulty_record_is_named_with_its_feature(image, features, message):
    with pytest.raises(ValueError, match=message) as raised:
        from_record(_record(image, **features), "record 3 of 'a'", one_label=1)
    assert "record 3 of 'a'" in str(raised.value)


def test_what_is_no_example_is_refused():
    with pytest.raises(ValueError, match="a is not a tf.train.Example"):
        from_record(b"\x0a\xff123", "a")
    with pytest.raises(ValueError, match="`image/encoded`.*nothing"):
        from_record(b"", "a")


def test_numbers_that_are_not_finite_are_refused(image):
    entry = {
        "boxes": np.array([[0, 0, np.nan, 1]], "float32"),
        "labels": np.array([0]),
    }
    example = {"images": image, "ids": 0, "bounding_boxes": entry}
    record = to_record(example, encode_image(image))
    with pytest.raises(ValueError, match="'a', feature.*xmax.*not finite"):
        from_record(record, "'a'")


def test_a_size_below_one_pixel_is_refused(image):
    record = _record(image, height=[0])
    with pytest.raises(ValueError, match="image/height.*a size of 0"):
        from_record(record, "'a'", pixels=False)


def test_an_id_that_is_no_number_is_named():
    assert schema.id_of("7", int, "'a'") == 7
    with pytest.raises(ValueError, match="'a' must have a whole number.*'x'"):
        schema.id_of("x", int, "'a'")
