"""VOC's annotation files: read as they are, refused where they are broken."""

import numpy as np
import pytest

from keras_jft.data.datasets import voc_files
from keras_jft.data.datasets.boxed_images import Faults

OBJECTS = [("dog", (2, 3, 5, 8), 0), ("person", (1, 1, 10, 8), 1)]


def _read(path, on_error="raise", **options):
    return voc_files.read(path, Faults(on_error), **options)


def test_pixels_are_counted_from_one(save_voc):
    file = _read(save_voc("a", OBJECTS))
    assert file.image_size == (8, 10)
    assert file.names == ("dog", "person"), "parts are no objects"
    # Columns 2..5 and rows 3..8 of the image.
    assert file.boxes.tolist() == [[1, 2, 5, 8], [0, 0, 10, 8]]
    assert file.difficult.tolist() == [False, True]
    zero_based = _read(save_voc("a", OBJECTS), one_based=False)
    assert zero_based.boxes[0].tolist() == [2, 3, 5, 8]


def test_one_pixel_is_a_box_and_no_object_is_fine(save_voc):
    file = _read(save_voc("a", [("dog", (4, 4, 4, 4), 0)]))
    assert file.boxes.tolist() == [[3, 3, 4, 4]]
    file = _read(save_voc("b", []))
    assert file.boxes.shape == (0, 4) and file.difficult.dtype == np.bool_


def test_the_names_of_a_file(save_voc):
    assert voc_files.names_in(save_voc("a", OBJECTS)) == {"dog", "person"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</annotation>", "", r"is not XML"),
        ("annotation>", "notes>", r"must hold an `annotation`"),
        ("<width>10</width>", "", r"`size/width`.*None"),
        ("<height>8<", "<height>0<", r"`size/height`.*'0'"),
        ("<height>8<", "<height>8.5<", r"`size/height`.*'8.5'"),
        ("<name>dog</name>", "", r"object number 0, field `name`"),
        ("<xmin>2</xmin>", "", r"number 0, field `bndbox/xmin`.*None"),
        ("<xmin>2<", "<xmin>two<", r"number 0, field `bndbox/xmin`.*'two'"),
        ("<ymax>8<", "<ymax>nan<", r"number 0, field `bndbox/ymax`.*'nan'"),
        ("<xmax>5<", "<xmax>1<", r"number 0, field `bndbox`.*above 0"),
        ("<xmax>5<", "<xmax>12<", r"number 0, field `bndbox`.*inside"),
        ("<xmin>1<", "<xmin>-2<", r"number 1, field `bndbox`.*inside"),
        ("<difficult>1", "<difficult>2", r"number 1, field `difficult`.*'2'"),
    ],
)
def test_a_malformed_file_is_refused_with_object_and_field(
    save_voc, old, new, message
):
    path = save_voc("a", OBJECTS)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=rf"a\.xml'.*{message}"):
        _read(path)


def test_a_faulty_object_can_be_dropped(save_voc):
    path = save_voc("a", [("dog", (5, 5, 2, 8), 0), *OBJECTS])
    assert _read(path, "drop").names == ("dog", "person")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.xml' does not exist"):
        _read(tmp_path / "none.xml")
