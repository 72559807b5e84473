"""EXIF's orientation: one decision through every source, and into records."""

import json

import numpy as np
import pytest
from PIL import ExifTags, Image

from keras_jft import data as jft_data

LABELED = ("image_folder", "manifest")
ANNOTATED = ("coco", "coco_people", "voc", "mask_folder", "camvid")
# What is white in the file, 4 x 6, and where it is shown of orientation 6,
# turned by a quarter clockwise: the left two columns, the top two rows.
STORED = np.zeros((4, 6, 3), "uint8")
STORED[:, :2] = 255
SHOWN = np.zeros((6, 4, 3), "uint8")
SHOWN[:2] = 255


@pytest.fixture
def save(tmp_path):
    def save(path, pixels=STORED, orientation=6):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        Image.fromarray(pixels).save(path, exif=exif)
        return path

    return save


def _options(source, save, folder, shown=False):
    """Writes one image with its annotation, made as stored or as shown."""
    height, width = (SHOWN if shown else STORED).shape[:2]
    white = [0, 0, 4, 2] if shown else [0, 0, 2, 4]
    if source == "image_folder":
        save("cat/a.png")
        return {"directory": folder, "split": None}
    if source == "manifest":
        save("a.png")
        (folder / "list.csv").write_text("image,labels\na.png,cat\n")
        return {"path": folder / "list.csv", "split": None}
    if source.startswith("coco"):
        save("a.png")
        keypoints = {"keypoints": ["nose"]} if "people" in source else {}
        document = {
            "images": [
                {"id": 1, "file_name": "a.png", "height": height,
                 "width": width}
            ],
            "categories": [{"id": 1, "name": "person", **keypoints}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "bbox": white,
                 **({"keypoints": [1, 1, 2]} if keypoints else {})}
            ],
        }  # fmt: skip
        (folder / "a.json").write_text(json.dumps(document))
        return {"annotations": folder / "a.json"}
    if source == "voc":
        save("JPEGImages/a.png")
        (folder / "ImageSets/Main").mkdir(parents=True)
        (folder / "ImageSets/Main/train.txt").write_text("a\n")
        (folder / "Annotations").mkdir()
        (folder / "Annotations/a.xml").write_text(
            f"<annotation><size><width>{width}</width><height>{height}</height>"
            "</size><object><name>cat</name><difficult>0</difficult><bndbox>"
            f"<xmin>0</xmin><ymin>0</ymin><xmax>{white[2]}</xmax>"
            f"<ymax>{white[3]}</ymax></bndbox></object></annotation>"
        )
        return {"directory": folder, "one_based": False}
    mask = ((SHOWN if shown else STORED)[..., 0] > 0).astype("uint8")
    camvid = source == "camvid"
    save("train/a.png" if camvid else "train/images/a.png")
    save("trainannot/a.png" if camvid else "train/masks/a.png", mask, 1)
    return {"directory": folder} | ({} if camvid else {"classes": 2})


def _assert_annotation_lies_on_white(example):
    image = example["images"]
    if "segmentation_masks" in example:
        mask = example["segmentation_masks"][..., 0]
        np.testing.assert_array_equal(mask, image[..., 0] > 0)
    else:
        x1, y1, x2, y2 = example["bounding_boxes"]["boxes"][0].astype(int)
        assert image[y1:y2, x1:x2].min() == 255
        assert (image > 0).sum() == 3 * (y2 - y1) * (x2 - x1)


@pytest.mark.parametrize("source", LABELED)
def test_images_with_labels_alone_are_seen_as_people_see_them(
    source, save, tmp_path
):
    data = jft_data.load(source, **_options(source, save, tmp_path))
    np.testing.assert_array_equal(data[0]["images"], SHOWN)


@pytest.mark.parametrize("source", ANNOTATED)
@pytest.mark.parametrize("shown", [False, True])
def test_annotations_keep_to_their_pixels(source, shown, save, tmp_path):
    options = _options(source, save, tmp_path, shown)
    right = "apply" if shown else "ignore"
    data = jft_data.load(source, orientation=right, **options)
    np.testing.assert_array_equal(data[0]["images"], SHOWN if shown else STORED)
    _assert_annotation_lies_on_white(data[0])
    wrong = "ignore" if shown else "apply"
    data = jft_data.load(source, orientation=wrong, **options)
    with pytest.raises(ValueError, match=f"EXIF.*orientation='{right}'"):
        data[0]


@pytest.mark.parametrize("source", ANNOTATED)
def test_where_nothing_is_said_it_is_said_by_a_warning(source, save, tmp_path):
    data = jft_data.load(source, **_options(source, save, tmp_path))
    with pytest.warns(UserWarning, match="EXIF orientation 6"):
        example = data[0]
    _assert_annotation_lies_on_white(example)
    np.testing.assert_array_equal(data[0]["images"], STORED)


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("image_folder", {}),
        ("coco", {"orientation": "ignore"}),
        ("coco", {"orientation": "apply"}),
    ],
)
def test_records_hold_what_was_seen(
    source, options, orientation, save, tmp_path
):
    pytest.importorskip("tensorflow")
    shown = options.get("orientation") == "apply" and orientation == 6
    options |= _options(source, save, tmp_path, shown)
    path = save("cat/a.png" if source == "image_folder" else "a.png",
                orientation=orientation)  # fmt: skip
    data = jft_data.load(source, **options)
    for name in ("train", "again"):  # Records of records, too.
        target = tmp_path / "records" / f"{name}@1"
        jft_data.write_records(data, target, verbose=False)
        found = jft_data.load("records", name, directory=tmp_path / "records")
        np.testing.assert_array_equal(found[0]["images"], data[0]["images"])
        if source == "coco":
            np.testing.assert_allclose(
                found[0]["bounding_boxes"]["boxes"],
                data[0]["bounding_boxes"]["boxes"],
                atol=1e-5,
            )
        as_stored = (data[0]["images"].shape == STORED.shape) and (
            data[0]["images"] == STORED
        ).all()
        assert (found.image_bytes(0) == path.read_bytes()) == as_stored
        data = found


def test_any_reader_of_records_sees_the_image_as_it_was_seen(save, tmp_path):
    tf = pytest.importorskip("tensorflow")
    save("cat/a.png")
    data = jft_data.load("image_folder", None, directory=tmp_path)
    jft_data.write_records(data, tmp_path / "train@1", verbose=False)
    (record,) = tf.data.TFRecordDataset(
        str(tmp_path / "train.tfrecord-00000-of-00001")
    )
    features = tf.train.Example.FromString(record.numpy()).features.feature
    encoded = features["image/encoded"].bytes_list.value[0]
    np.testing.assert_array_equal(tf.io.decode_png(encoded).numpy(), SHOWN)
    assert features["image/height"].int64_list.value[0] == 6
