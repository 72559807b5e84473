"""Read rows from any CSV file, checking every line."""

import csv
import io
import re
import warnings

from keras_jft import files
from keras_jft.scaling.rows import spreadsheet
from keras_jft.scaling.rows.spreadsheet import Cell
from keras_jft.scaling.rows.table import CURVES, Row
from keras_jft.text import number_of

SIZES = "num_examples"
DELIMITERS = ",;\t"
_NOT_FINITE = re.compile("[+-]?(nan|inf|infinity)", re.IGNORECASE)
_LOOKED_AT = 50  # Lines whose cells are counted to find the delimiter.
INDEX = ("", "Unnamed: 0")  # Names of pandas's index, as written and as read.


def read(path, x=SIZES):
    """Return all rows of a CSV file as a list of dicts.

    Args:
        path: A file whose first line names the columns, such as
            `num_examples,score`, with commas, semicolons or tabs between them.
            Numbers become numbers, as spreadsheets write them: with decimal
            commas, separators of thousands or percent signs (31% is 0.31).
            Empty cells become None, columns that have neither a name nor a cell
            are left out, and `task`, `mode`, `arm`, `split` and `metric` stay
            text. A first column without a name is an index that pandas has
            written: of sizes, which become `num_examples` if no other column
            can be that, or of numbers of lines, which are left out.
        x: The column of sizes, which are whole numbers.

    Returns:
        A list of `Row`, in the order of the lines. A last line with too few
        cells, cut off by a kill or a full disk, is left out with a warning.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not UTF-8 text, a column has no name or
            shares it with another, a quote is left open, another line has more
            or fewer cells than there are columns, a number such as 1.000 may
            mean a thousand or one, or two lines are the same. The error names
            the lines.
    """
    text = _text(path)
    delimiter, lines = _cells(path, text)
    lines = _without_empty_columns(lines)
    lines = _with_named_columns(lines or [(1, ())])
    (_, header), *lines = lines
    _check_header(path, header)
    if lines and len(lines[-1][1]) < len(header):
        number, cells = lines.pop()
        warnings.warn(
            f"{path}: the last line, {number}, is cut off and was dropped: "
            f"{delimiter.join(cells)}",
            stacklevel=3,
        )
    elif lines and not text.endswith("\n"):
        # In CSV, unlike JSON, half a number still looks like a number.
        warnings.warn(
            f"{path}: the last line, {lines[-1][0]}, has no line end. If the "
            f"file was cut off there, fix it: {delimiter.join(lines[-1][1])}",
            stacklevel=3,
        )
    columns = {
        name: [Cell(n, c[i]) for n, c in lines if len(c) > i and c[i]]
        for i, name in enumerate(header)
    }
    usual = "," if delimiter == ";" else "."
    notations = spreadsheet.notations(path, columns, usual)
    for name, cells in columns.items():
        _check_separators(path, name, cells, notations[name], x, header)
    points = [notations[name].point for name in header]
    seen = {}
    return [_row(path, *line, header, points, seen) for line in lines]


def _cells(path, text):
    """Return the delimiter, and the number and the cells of each line.

    Excel may name the delimiter in a first line: `sep=;`.
    """
    named = re.match(r"sep=(.)\r?\n", text)
    if named:
        return named[1], _split(path, text, named[1])[1:]
    first = next(filter(str.strip, text.splitlines()), "")
    found = [d for d in DELIMITERS if d in first] or [","]
    split = {delimiter: _split(path, text, delimiter) for delimiter in found}
    if len(split) > 1:
        # A name or a text may have the mark, too: then lines differ.
        split = {
            delimiter: lines
            for delimiter, lines in split.items()
            if len({len(cells) for _, cells in lines[:_LOOKED_AT]}) == 1
            and len(lines[0][1]) > 1
        } or {found[0]: split[found[0]]}
    if len(split) > 1:
        raise ValueError(
            f"{path}, line 1: it is unclear whether {' or '.join(split)!s} "
            f"separates the columns: {first[:80]!r}. Write the file with one "
            "of them alone."
        )
    return next(iter(split.items()))


def _split(path, text, delimiter):
    """Return the number and the cells of each line that is not blank."""
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        return [
            (reader.line_num, tuple(map(str.strip, cells)))
            for cells in reader
            if any(map(str.strip, cells))
        ]
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num}: {error}. Is a quote left open in "
            "this line or an earlier one?"
        ) from None


def _without_empty_columns(lines):
    """Return the lines without columns that have neither a name nor a cell."""
    if not lines:
        return lines
    filled = {i for _, cells in lines for i, text in enumerate(cells) if text}
    width = max(len(cells) for _, cells in lines)
    empty = {i for i in range(width) if i not in filled}
    if not empty:
        return lines
    return [
        (n, tuple(text for i, text in enumerate(cells) if i not in empty))
        for n, cells in lines
    ]


def _with_named_columns(lines):
    """Return the lines with a first column without a name named or left out.

    pandas writes the index of a DataFrame like this.
    """
    (number, header), *others = lines
    if len(header) < 2 or header[0] not in INDEX:
        return lines
    # The last line may be cut off within its index: leave it out of the check.
    whole = [cells for _, cells in others if len(cells) >= len(header)]
    index, *columns = zip(*whole, strict=False) if whole else ((), ())
    if not all(map(_is_whole, index)):
        return lines
    counted = [str(i) for i in range(len(index) + 1)]
    numbers_lines = "0" in index or [*index] == counted[1:]
    others_are_small = not any(map(_may_be_sizes, columns))
    if SIZES not in header and others_are_small and not numbers_lines:
        return [(number, (SIZES, *header[1:])), *others]
    if SIZES not in header and "0" not in index and len({*index}) < len(index):
        return lines
    return [(number, cells[1:]) for number, cells in lines]


def _may_be_sizes(cells):
    """Return whether a column holds whole numbers that are not all small."""
    return all(map(_is_whole, cells)) and max(map(float, cells)) >= 10


def _is_whole(text):
    """Return whether a cell is a whole number, 300 or 300.0."""
    return text.removesuffix(".0").isdecimal()


def _text(path):
    content = files.read_bytes(path)
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
    if len(header) > 1 and all(
        spreadsheet.number(n) is not None for n in header
    ):
        raise ValueError(
            f"{path}, line 1: expected the names of the columns, such as "
            f"num_examples,score. Received numbers: {','.join(header)!r}. Add "
            "a first line with the names."
        )
    if not header or "" in header or len(set(header)) < len(header):
        raise ValueError(
            f"{path}, line 1: expected the names of the columns, each once, "
            "with commas between them, such as num_examples,score. Received: "
            f"{','.join(header)!r}."
        )


def _check_separators(path, name, cells, notation, x, header):
    """Raise a `ValueError` if `1.000` may mean a thousand or one."""
    point, mark = notation.point, spreadsheet.OTHER[notation.point]
    grouped = [c for c in cells if spreadsheet.is_grouped(c.text, mark)]
    if grouped and not notation.is_sure and name != x:
        raise _unclear(path, name, grouped[0], mark)
    # Without the column of sizes, any column may be that.
    if x in header and name != x:
        return
    pointed = [c for c in cells if point in c.text]
    # A single number with other decimals shows that all points are decimal.
    if not all(spreadsheet.is_grouped(c.text, point) for c in pointed):
        return
    # Scores may be written with three decimals. All as .000, or beside whole
    # numbers above any percentage, they are more likely to be sizes.
    beside = [c.text for c in cells if c.text.isdecimal()]
    if pointed and (
        name == x
        or all(c.text.endswith(f"{point}000") for c in pointed)
        and len({c.text for c in pointed}) > 1
        or any(int(text) > 100 for text in beside)
    ):
        more = "" if x in header else " If it does not hold sizes, name `x`."
        raise _unclear(path, name, pointed[0], point, more)


def _unclear(path, name, cell, mark, more=""):
    line, text = cell
    return ValueError(
        f"{path}, line {line}: is {text} a number with a thousands separator? "
        f"Write {text.replace(mark, '')} or, with one more decimal, {text}0, "
        f"in the column {name}.{more}"
    )


def _row(path, number, cells, header, points, seen):
    """Return a line as a `Row`; `seen` maps earlier lines to their numbers."""
    if len(cells) != len(header):
        raise ValueError(
            f"{path}, line {number}: expected "
            f"{number_of(len(header), 'cell')}, one for "
            f"each of {','.join(header)}. Received {len(cells)}: "
            f"{','.join(cells)}. Fix or delete that line."
        )
    values = tuple(map(_value, header, cells, points))
    if seen.setdefault(values, number) != number:
        raise ValueError(
            f"{path}, lines {seen[values]} and {number}: the same run twice: "
            f"{','.join(cells)}. Delete one, or tell repetitions apart by a "
            "column `seed`."
        )
    return Row(
        zip(header, values, strict=True), place=f"line {number} of {path}"
    )


def _value(name, text, point):
    """Return a cell as a number, None if empty, or text; names stay text."""
    if not text or name in CURVES:
        return text or None
    if _NOT_FINITE.fullmatch(text):
        return float(text)
    found = spreadsheet.number(text, point)
    return text if found is None else found
