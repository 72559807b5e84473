"""Text, CSV and JSON files, read strictly as UTF-8.

A byte order mark, which Windows tools write, is skipped. Every fault raises a
`ValueError` that names the file.
"""

import contextlib
import csv
import io
import json
import reprlib

from keras_jft import files

_REPR = reprlib.Repr()
_REPR.maxlist = _REPR.maxdict = 40
_REPR.maxstring = _REPR.maxother = 80


def read_text(path):
    """Return the text of a file with its line ends unchanged.

    Raises:
        ValueError: There is no such file, or it is not UTF-8.
    """
    return decode(_existing(path).read_bytes(), repr(str(path)))


def read_lines(path):
    r"""Yield the number, from 1, and text of every line that is not blank.

    Lines end in `\n`, `\r\n` or `\r`; the file may be larger than memory.

    Raises:
        ValueError: There is no such file, or a line is not UTF-8.
    """
    with contextlib.closing(_lines(_existing(path).open("rb"), path)) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def read_csv(path, file=None):
    """Yield the number of the last line, from 1, and the cells of every row.

    Blank rows are skipped, as are rows of commas alone, which Excel writes.

    Args:
        path: The file, which may be larger than memory.
        file: The same file opened as bytes, where it is not on a local disk;
            it is closed at the end.

    Raises:
        ValueError: There is no such file, or a line is not UTF-8 or not CSV.
    """
    file = _existing(path).open("rb") if file is None else file
    with contextlib.closing(_lines(file, path)) as lines:
        rows = csv.reader(lines, strict=True)
        try:
            for row in rows:
                if any(map(str.strip, row)):
                    yield rows.line_num, row
        except csv.Error as error:
            raise ValueError(
                f"{str(path)!r}, line {rows.line_num}, is not CSV: {error}. "
                "The file may be cut short, or a quote may not be doubled."
            ) from error


def read_json(path):
    """Return what a JSON file holds.

    Raises:
        ValueError: There is no such file, or `parse_json` refuses its text.
    """
    return parse_json(read_text(path), repr(str(path)))


def claim_folder(folder, note, contents, what):
    """Mark a folder as that of some contents, or check that it is marked so.

    Several processes may claim one folder for the same contents at once.

    Args:
        folder: A folder; it is made if need be.
        note: Name of the JSON file in it that is the mark.
        contents: A dict that JSON can hold; it tells these contents from
            others.
        what: What errors call the contents, such as "a cache".

    Raises:
        ValueError: The folder is marked as that of something else, or it is
            not marked and holds files, other than those of tools.
    """
    path = files.as_path("directory", folder, "cache") / note
    if not path.exists():
        others = [
            name
            for name in files.names_in(folder)
            if name != note and not files.is_tool_name(name)
        ]
        if others:
            raise ValueError(
                f"`directory` must be new, empty or hold {what}. Received: "
                f"{str(folder)!r}, which holds other files: {others[:5]}."
            )
        files.write_json(path, contents)
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(
            f"{str(path)!r} must hold a JSON object. Received: {short(found)}. "
            "Delete its folder, or pass another `directory`."
        )
    differing = [
        f"`{key}` is {short(found.get(key))}, not {short(contents.get(key))}"
        for key in {**contents, **found}
        if found.get(key) != contents.get(key)
    ]
    if differing:
        raise ValueError(
            f"{str(folder)!r} holds {what} of something else: "
            f"{'; '.join(differing)}. Delete it, or pass another `directory`."
        )


def read_json_lines(path):
    """Yield the number, from 1, and value of every line that is not blank.

    Raises:
        ValueError: There is no such file, or `parse_json` refuses a line.
    """
    for number, line in read_lines(path):
        yield number, parse_json(line, f"{str(path)!r}, line {number},")


def decode(content, where):
    """Return bytes as text.

    Args:
        content: UTF-8, with or without a byte order mark.
        where: What errors call the bytes, such as the quoted path of a file.

    Raises:
        ValueError: The bytes are not UTF-8.

    Example:
        >>> decode(b"\\xef\\xbb\\xbfcaf\\xc3\\xa9", "'names.txt'")
        'café'
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(where) from error


def parse_json(text, where):
    """Return the value of a JSON text.

    `NaN` and `Infinity`, which Python writes, are read as floats; a caller that
    needs a finite number checks it and names the field.

    Args:
        text: The JSON of one value; bytes are decoded.
        where: What errors call the text, such as the quoted path of its file.

    Raises:
        ValueError: The text is not UTF-8 or not JSON, is nested too deeply, or
            has an integer of thousands of digits or a repeated key.

    Example:
        >>> parse_json('{"a": 1, "a": 2}', "'a.json'")
        Traceback (most recent call last):
        ValueError: 'a.json' is not JSON: an object has the key 'a' twice. \
It may be cut short or damaged: write or fetch it again.
    """
    if isinstance(text, bytes):
        text = decode(text, where)
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        reason = "its brackets are nested too deeply"
    except ValueError as error:
        reason = str(error)
    raise ValueError(
        f"{where} is not JSON: {reason}. It may be cut short or damaged: "
        "write or fetch it again."
    )


def short(value):
    """Return a value as an error message shows it, at most 80 characters.

    Example:
        >>> short([1, "a"])
        "[1, 'a']"
    """
    text = _REPR.repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _existing(path):
    found = files.as_path("path", path, "names.txt")
    if not found.is_file():
        raise ValueError(
            f"A file is required. Received: {str(path)!r}, which is not one."
        )
    return found


def _lines(file, path):
    """Yield the lines of a file of bytes, with their ends, and close it."""
    with io.TextIOWrapper(
        file, encoding="utf-8-sig", errors="surrogateescape", newline=""
    ) as lines:
        for number, line in enumerate(lines, 1):
            if not line.isascii():
                try:
                    line.encode()  # Fails on bytes that are not UTF-8.
                except UnicodeEncodeError:
                    where = f"{str(path)!r}, line {number},"
                    raise _not_utf8(where) from None
            yield line


def _not_utf8(where):
    return ValueError(
        f"{where} is not UTF-8 text. It may be UTF-16, Latin-1 or damaged: "
        "save it as UTF-8."
    )


def _object(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        seen = set()
        again = next(k for k, _ in pairs if k in seen or seen.add(k))
        raise ValueError(f"an object has the key {again[:80]!r} twice")
    return found
