"""Text and JSON of files: what is not UTF-8 or not JSON is an error."""

import functools
import io
import json

import pytest

from keras_jft import text_files

MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize("mark", [b"", MARK])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", "\r\n \r\n", ""])
def test_marks_line_ends_and_blank_lines_change_nothing(tmp_path, mark, end):
    path = tmp_path / "a.jsonl"
    lines = ['{"é": 1}', '["\u2028"]']
    path.write_bytes(mark + (end or "\n").join(lines).encode() + end.encode())
    values = [value for _, value in text_files.read_json_lines(path)]
    assert values == [{"é": 1}, ["\u2028"]]
    path.write_bytes(mark + lines[0].encode() + end.encode())
    assert text_files.read_json(path) == {"é": 1}


def test_lines_keep_their_numbers(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\n one \r\n\t\r\ntwo")
    assert [*text_files.read_lines(path)] == [(2, " one "), (4, "two")]
    assert text_files.read_text(path) == "\n one \r\n\t\r\ntwo"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON: Expecting value"),
        (b'{"a": [', "not JSON: .*cut short"),
        (b'"\xff"', "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8.*UTF-16"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" + b"1" * 5_000 + b"]", "4300 digits"),
        (b'{"a": 1, "b": 2, "a": 1}', "the key 'a' twice"),
        (b'[{"a": {"": 1, "": 1}}]', "the key '' twice"),
    ],
)
def test_what_is_not_json_is_an_error_with_the_file(tmp_path, content, reason):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"(?s)a\.json.*{reason}") as error:
        text_files.read_json(path)
    assert type(error.value) is ValueError
    path.write_bytes(b"1\n" + (content or b"]") + b"\n")
    with pytest.raises(ValueError, match=r"a\.json', line [12],") as error:
        [*text_files.read_json_lines(path)]
    assert type(error.value) is ValueError


def test_rows_of_csv_have_the_number_of_their_last_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(MARK + b'a,"b\r\nc"\r\n\r\n,\r\n ,\t\r\n"x""y",\xc3\xa9')
    rows = [(2, ["a", "b\r\nc"]), (6, ['x"y', "é"])]
    assert [*text_files.read_csv(path)] == rows
    file = io.BytesIO(path.read_bytes())
    assert [*text_files.read_csv("gs://a.csv", file)] == rows


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'a\n"b', "line 2, is not CSV"),
        (b'a\n"b"c\n', "line 2, is not CSV"),
        (b"a\n\0\n" + b"b" * 200_000, "line 3, is not CSV"),
        (b"a\n\xff\n", "line 2, is not UTF-8"),
    ],
)
def test_what_is_not_csv_is_an_error_with_its_line(tmp_path, content, reason):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.csv', {reason}") as error:
        [*text_files.read_csv(path)]
    assert type(error.value) is ValueError


def test_numbers_that_python_alone_writes_are_for_the_reader_to_judge():
    found = text_files.parse_json("[NaN, -Infinity, 1e999]", "'a'")
    assert json.dumps(found) == "[NaN, -Infinity, Infinity]"


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        for read in (text_files.read_text, text_files.read_json):
            with pytest.raises(ValueError, match=path.name):
                read(path)
        with pytest.raises(ValueError, match=path.name):
            [*text_files.read_lines(path)]


def test_errors_show_only_a_short_part_of_the_input():
    nested = 1
    for _ in range(500):
        nested = [nested]
    for value in ("a" * 10**6, list(range(10**5)), nested, {1: nested}):
        assert len(text_files.short(value)) <= 80
    assert text_files.short([1, "a", None]) == "[1, 'a', None]"


def test_a_folder_is_claimed_once_for_the_same_contents(tmp_path):
    claim = functools.partial(text_files.claim_folder, what="a cache")
    folder = tmp_path / "made" / "here"
    claim(folder, "note.json", {"size": 3})
    (folder / "000").mkdir()
    claim(folder, "note.json", {"size": 3})
    assert json.loads((folder / "note.json").read_text()) == {"size": 3}
    with pytest.raises(ValueError, match="`size` is 3, not 4; `more` is None"):
        claim(folder, "note.json", {"size": 4, "more": 1})
    with pytest.raises(ValueError, match="`size` is 3, not None"):
        claim(folder, "note.json", {})
    (folder / "note.json").write_text("[3]")
    with pytest.raises(ValueError, match=r"note\.json' must hold a JSON obj"):
        claim(folder, "note.json", {"size": 3})


def test_a_folder_of_other_things_is_not_claimed(tmp_path):
    (tmp_path / ".DS_Store").write_text("")
    (tmp_path / "@eaDir").mkdir()
    text_files.claim_folder(tmp_path, "note.json", {"size": 3}, "a cache")
    (tmp_path / "note.json").rename(tmp_path / "thesis.tex")
    with pytest.raises(ValueError, match="hold a cache.*'thesis.tex'"):
        text_files.claim_folder(tmp_path, "note.json", {"size": 3}, "a cache")
    assert not (tmp_path / "note.json").exists()
