"""VOC's annotation files: read as they are, refused where they are broken."""

import os

import fuzzing
import numpy as np
import pytest

from keras_jft.data.datasets import voc
from keras_jft.data.datasets.boxed_images import Faults

OBJECTS = [("dog", (2, 3, 5, 8), 0), ("person", (1, 1, 10, 8), 1)]


def _read(path, on_error="raise", **options):
    return voc.read(path, Faults(on_error), **options)


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
    assert voc.class_names(save_voc("a", OBJECTS)) == {"dog", "person"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</annotation>", "", r"is not XML"),
        ("annotation>", "notes>", r"must hold an `annotation`"),
        ("<width>10</width>", "", r"`size/width`.*None"),
        ("<height>8<", "<height>0<", r"`size/height`.*'0'"),
        ("<height>8<", "<height>8.5<", r"`size/height`.*'8.5'"),
        ("<height>8<", f"<height>{'8' * 5000}<", r"`size/height`.*'888"),
        ("<xmin>2<", "<xmin>1e400<", r"number 0, field `bndbox/xmin`.*'1e400'"),
        ("<xmin>2<", f"<xmin>{'9' * 5000}<", r"number 0, .*xmin`.*'999"),
        ("<xmax>5<", "<xmax>1e300<", r"number 0, field `bndbox`.*inside"),
        ("<xmin>1<", "<xmin>1_0<", r"number 1, field `bndbox/xmin`.*'1_0'"),
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


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "latin-1", "windows-1252", "gb18030"]
)
def test_a_file_is_read_in_the_encoding_that_it_declares(save_voc, encoding):
    name = "caf\u00e9"
    path = save_voc("a", [(name, (2, 3, 5, 8), 0)])
    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    text = f'<?xml version="1.0" encoding="{declared}"?>\n{path.read_text()}'
    path.write_bytes(text.encode(encoding))
    assert _read(path).names == (name,)
    assert voc.class_names(path) == {name}


@pytest.mark.parametrize("declared", ["utf-8", "gbk", "rot13", "x-unknown"])
def test_bytes_of_another_encoding_are_refused(save_voc, declared):
    path = save_voc("a", OBJECTS)
    head = f'<?xml version="1.0" encoding="{declared}"?>'.encode()
    body = path.read_bytes().replace(b"dog", b"d\xf6<g")
    path.write_bytes(head + body)
    with pytest.raises(ValueError, match=r"a\.xml' is not XML.*encoding"):
        _read(path)


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "/etc/hostname">]>',
        '<!DOCTYPE a SYSTEM "http://localhost/a.dtd">',
    ],
)
def test_a_document_type_is_refused(save_voc, declaration):
    path = save_voc("a", OBJECTS)
    path.write_text(declaration + path.read_text().replace("dog", "&c;"))
    with pytest.raises(ValueError, match=r"a\.xml'.*document type"):
        _read(path)


@pytest.mark.parametrize(
    "text, expected",
    [("False", False), ("Unspecified", False), ("0.0", False),
     ("True", True), ("1.0", True), (" 1 ", True)],
)  # fmt: skip
def test_difficult_is_read_as_tools_write_it(text, expected, save_voc):
    path = save_voc("a", [("dog", (1, 1, 3, 3), text)])
    assert _read(path).difficult.tolist() == [expected]


def test_a_size_may_be_written_as_a_float(save_voc):
    path = save_voc("a", [("dog", (1, 1, 3, 3), 0)])
    path.write_text(path.read_text().replace(">8<", ">8.0<"))
    assert _read(path).image_size == (8, 10)


def test_an_empty_difficult_is_no_difficulty(save_voc):
    path = save_voc("a", OBJECTS)
    text = path.read_text()
    for empty in ("<difficult></difficult>", "<difficult/>", ""):
        path.write_text(text.replace("<difficult>0</difficult>", empty))
        assert _read(path).difficult.tolist() == [False, True]


def test_deep_nesting_is_read(save_voc):
    path = save_voc("a", OBJECTS)
    deep = "<a>" * 100_000 + "</a>" * 100_000
    path.write_text(path.read_text().replace("<size>", f"{deep}<size>"))
    assert _read(path).names == ("dog", "person")


def test_what_is_not_a_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.xml")
    with pytest.raises(ValueError, match=r"a\.xml' does not exist"):
        _read(tmp_path / "a.xml")


def test_hundreds_of_mutated_files_are_read_or_refused_by_name(save_voc):
    path = save_voc("a", OBJECTS)
    text, rng, refused = path.read_text(), np.random.default_rng(0), 0
    for number in range(600):
        if number % 3:
            content = fuzzing.mutated_xml(text, rng).encode()
        else:
            head = '<?xml version="1.0" encoding="utf-8"?>'
            content = fuzzing.mutated_bytes((head + text).encode(), rng)
        path.write_bytes(content)
        try:
            file = _read(path)
        except ValueError as error:
            refused += 1
            assert "a.xml" in str(error) and len(str(error)) < 800
        else:
            assert np.isfinite(file.boxes).all()
    assert 300 < refused < 600


def test_a_faulty_object_can_be_dropped(save_voc):
    path = save_voc("a", [("dog", (5, 5, 2, 8), 0), *OBJECTS])
    assert _read(path, "drop").names == ("dog", "person")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.xml' does not exist"):
        _read(tmp_path / "none.xml")
