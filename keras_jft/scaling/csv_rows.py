"""Rows from a CSV file, whoever made it, checked line by line."""

import csv
import io
import pathlib
import warnings

from keras_jft.scaling import evidence


def read(path):
    """All rows of a CSV file, a list of dicts.

    Args:
        path: A file whose first line names the columns, such as
            `num_examples,score`. Numbers become numbers, empty cells None;
            `task`, `mode`, `split` and `metric` stay text.

    Returns:
        A list of dicts, in the order of the lines. A last line with too few
        cells, torn by a kill or a full disk, is left out, with a warning.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a column has no name or that of another, another line
            has more or fewer cells than there are columns, or two lines are
            the same; names the lines.
    """
    text = pathlib.Path(path).read_text(encoding="utf-8-sig", errors="replace")
    reader = csv.reader(io.StringIO(text, newline=""))
    lines = [
        (reader.line_num, tuple(map(str.strip, cells)))
        for cells in reader
        if any(map(str.strip, cells))
    ]
    (_, header), *lines = lines or [(1, ())]
    _check_header(path, header)
    if lines and len(lines[-1][1]) < len(header):
        number, cells = lines.pop()
        warnings.warn(
            f"{path}: the last line, {number}, is cut off and is dropped: "
            f"{','.join(cells)}",
            stacklevel=3,
        )
    elif lines and not text.endswith("\n"):
        # Unlike JSON, half a number looks like a number.
        warnings.warn(
            f"{path}: no line end follows the last line, {lines[-1][0]}. If "
            f"the file was cut off there, mend it: {','.join(lines[-1][1])}",
            stacklevel=3,
        )
    seen = {}
    for number, cells in lines:
        _check_line(path, number, cells, header, seen)
    return [
        {n: _value(n, cell) for n, cell in zip(header, cells, strict=True)}
        for _, cells in lines
    ]


def _check_header(path, header):
    if not header or "" in header or len(set(header)) < len(header):
        raise ValueError(
            f"{path}, line 1: expected the names of the columns, each once, "
            "with commas between them, such as num_examples,score. Received: "
            f"{','.join(header)!r}."
        )


def _check_line(path, number, cells, header, seen):
    if len(cells) != len(header):
        raise ValueError(
            f"{path}, line {number}: expected {len(header)} cells, one for "
            f"each of {','.join(header)}. Received {len(cells)}: "
            f"{','.join(cells)}. Mend or delete that line."
        )
    if seen.setdefault(cells, number) != number:
        raise ValueError(
            f"{path}, lines {seen[cells]} and {number}: the same run twice: "
            f"{','.join(cells)}. Delete one, or give repetitions of a run "
            "a column `seed`."
        )


def _value(name, text):
    """A cell as a number, None or what it says; names stay text."""
    for kind in () if name in evidence.CURVES else (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None
