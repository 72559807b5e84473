"""Records of a JSON file: an error names file, record and field."""

import pytest

from keras_jft.data.datasets.json_records import (
    Record,
    read_json,
    records_of,
)


def _record(**fields):
    return Record("a.json", "image", 3, fields)


@pytest.mark.parametrize(
    ("read", "right", "wrong"),
    [
        (
            lambda r: r.name("x"),
            [0, -4, "a", "", 1.0],
            [1.5, None, True, [], 2**70, 1e30],
        ),
        (
            lambda r: r.integer("x"),
            [0, 5, 5.0, 2**63 - 1],
            [-1, 0.5, "5", None, False, 2**63, 10**4000, 1e30],
        ),
        (lambda r: r.integer("x", 1), [1], [0]),
        (lambda r: r.number("x"), [0, -2.5], ["1", None, float("nan"), 1e99]),
        (lambda r: r.number("x", lowest=0), [0.0, 3], [-0.1]),
        (lambda r: r.numbers("x", 2, "x, y"), [[1, 2.5]], [[1], [1, "2"], 3]),
        (lambda r: r.numbers("x", 1, "x"), [[1]], [[True], [float("inf")]]),
        (lambda r: r.text("x"), ["a"], ["", 3, None]),
        (lambda r: r.flag("x"), [0, 1, True, 1.0, 0.0], [2, "1", 0.5]),
    ],
)
def test_a_field_is_read_or_named(read, right, wrong):
    for value in right:
        assert read(_record(x=value, id=8)) == value
    for value in wrong:
        with pytest.raises(ValueError, match=r"'a\.json': image id 8, .*`x`"):
            read(_record(x=value, id=8))


def test_a_record_without_id_is_named_by_its_place():
    with pytest.raises(ValueError, match=r"image number 3.*Received: nothing"):
        _record().text("name")
    with pytest.raises(ValueError, match=r"Received: \[0, 1.*\.\.\.\."):
        _record(name=[*range(100)]).text("name")


def test_an_error_says_what_to_do():
    with pytest.raises(ValueError, match=r"Received: None\. Write it\.$"):
        _record(width=None).integer("width", 1, "Write it.")


def test_a_whole_number_of_pandas_is_an_int():
    name = _record(image_id=7.0).name("image_id")
    assert name == 7 and type(name) is int


def test_no_flag_is_zero():
    assert _record().flag("iscrowd") is False
    assert _record(iscrowd=None).flag("iscrowd") is False


def test_an_optional_field_that_is_null_is_absent():
    assert "area" not in _record(area=None) and "area" not in _record()
    assert "area" in _record(area=0)


def test_a_record_with_an_endless_id_is_named_in_short():
    with pytest.raises(ValueError, match=r"image id \[\[\[") as error:
        _record(id=[[[[[[[[[1]]]]]]] * 9]] * 99).text("name")
    assert len(str(error.value)) < 300


def test_files_that_are_no_json_are_named(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(ValueError, match=r"a\.json', which is not one"):
        read_json(path)
    path.write_text('{"images": [')
    with pytest.raises(ValueError, match=r"a\.json' is not JSON: .*line 1"):
        read_json(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.json' is not UTF-8"):
        read_json(path)


def test_a_list_of_objects_is_needed():
    good = records_of("a.json", {"images": [{"id": 1}]}, "images", "image")
    assert [record.name("id") for record in good] == [1]
    assert len(records_of("a.json", [{}, {}], None, "result")) == 2
    for root, message in [
        ([], r"an object with the list `images`.*a list"),
        ({}, r"`images` must be a list.*nothing"),
        ({"images": {"id": 1}}, r"`images` must be a list.*dict"),
        ({"images": [{}, 5]}, r"image number 1 must be an object.*5"),
    ]:
        with pytest.raises(ValueError, match=message):
            records_of("a.json", root, "images", "image")
