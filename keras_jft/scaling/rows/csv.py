"""Rows from a CSV file, whoever made it, checked line by line."""

import csv
import io
import pathlib
import re
import warnings

from keras_jft.scaling.law import evidence

SIZES = "num_examples"
NUMBER = re.compile("[+-]?[0-9.]+(e[+-]?[0-9]+)?%?", re.IGNORECASE)
THOUSANDS = re.compile("[1-9][0-9]{0,2}([.][0-9]{3})+")
INDEX = ("", "Unnamed: 0")  # What pandas calls an index, written and read.


def read(path):
    """All rows of a CSV file, a list of dicts.

    Args:
        path: A file whose first line names the columns, such as
            `num_examples,score`. Numbers become numbers, empty cells None;
            `task`, `mode`, `split` and `metric` stay text. A first column
            without a name that numbers the lines, as pandas writes its index,
            is left out.

    Returns:
        A list of dicts, in the order of the lines. A last line with too few
        cells, torn by a kill or a full disk, is left out, with a warning.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no UTF-8 text, a column has no name or that
            of another, a quote is left open, another line has more or fewer
            cells than there are columns, a size may be a thousand or one, as
            1.000, or two lines are the same; names the lines.
    """
    text = _text(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [
            (reader.line_num, tuple(map(str.strip, cells)))
            for cells in reader
            if any(map(str.strip, cells))
        ]
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num}: {error}. Is a quote left open "
            "there or before?"
        ) from None
    lines = _without_index(lines or [(1, ())])
    (_, header), *lines = lines
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
    _check_sizes(path, header, lines)
    seen = {}
    return [_row(path, *line, header, seen) for line in lines]


def _without_index(lines):
    """Lines without a first column that only numbers them."""
    (_, header), *others = lines
    if len(header) < 2 or header[0] not in INDEX:
        return lines
    # A last line may be cut off in its index.
    index = [cells[0] for _, cells in others if len(cells) >= len(header)]
    if len({*index}) < len(index) or not all(map(str.isdecimal, index)):
        return lines
    return [(number, cells[1:]) for number, cells in lines]


def _text(path):
    content = pathlib.Path(path).read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text, line = "\0", content.count(b"\n", 0, error.start) + 1
    else:
        line = text.count("\n", 0, max(text.find("\0"), 0)) + 1
    if "\0" in text:
        raise ValueError(
            f"{path}, line {line}: expected text in UTF-8. Save the file as "
            "CSV in UTF-8."
        )
    return text


def _check_header(path, header):
    if len(header) == 1 and ({*";\t|"} & {*header[0]}):
        raise ValueError(
            f"{path}, line 1: expected commas between the columns. Received: "
            f"{header[0]!r}. Separate columns by commas, and write decimals "
            "with a point."
        )
    if len(header) > 1 and all(map(NUMBER.fullmatch, header)):
        raise ValueError(
            f"{path}, line 1: expected the names of the columns, such as "
            f"num_examples,score. Received numbers: {','.join(header)!r}. Put "
            "a line with the names before it."
        )
    if not header or "" in header or len(set(header)) < len(header):
        raise ValueError(
            f"{path}, line 1: expected the names of the columns, each once, "
            "with commas between them, such as num_examples,score. Received: "
            f"{','.join(header)!r}."
        )


def _check_sizes(path, header, lines):
    """Raise a `ValueError` where `1.000` images may be a thousand, or one."""
    if SIZES not in header:
        return
    place = header.index(SIZES)
    cells = [(number, c[place]) for number, c in lines if len(c) > place]
    dotted = [(number, text) for number, text in cells if "." in text]
    # One that has other decimals shows that all are decimals.
    if dotted and all(THOUSANDS.fullmatch(text) for _, text in dotted):
        number, text = dotted[0]
        raise ValueError(
            f"{path}, line {number}: is {text} a number with a thousands "
            f"separator? Write {text.replace('.', '')} or "
            f"{text.split('.')[0]}, without a point, in the column {SIZES}."
        )


def _row(path, number, cells, header, seen):
    """A line as a dict; `seen` has the numbers of those before it."""
    if len(cells) != len(header):
        raise ValueError(
            f"{path}, line {number}: expected {len(header)} cells, one for "
            f"each of {','.join(header)}. Received {len(cells)}: "
            f"{','.join(cells)}. Mend or delete that line."
        )
    values = tuple(map(_value, header, cells))
    if seen.setdefault(values, number) != number:
        raise ValueError(
            f"{path}, lines {seen[values]} and {number}: the same run twice: "
            f"{','.join(cells)}. Delete one, or give repetitions of a run "
            "a column `seed`."
        )
    return dict(zip(header, values, strict=True))


def _value(name, text):
    """A cell as a number, None or what it says; names stay text."""
    kinds = () if name in evidence.CURVES or "_" in text else (int, float)
    for kind in kinds:
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None
