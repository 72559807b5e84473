"""Read rows from any CSV file, checking every line."""

import csv
import io
import pathlib
import re
import warnings

from keras_jft.scaling.rows.table import CURVES

SIZES = "num_examples"
NUMBER = re.compile("[+-]?[0-9.]+(e[+-]?[0-9]+)?%?", re.IGNORECASE)
THOUSANDS = re.compile("[1-9][0-9]{0,2}([.][0-9]{3})+")
INDEX = ("", "Unnamed: 0")  # Names of pandas's index, as written and as read.


def read(path):
    """Return all rows of a CSV file as a list of dicts.

    Args:
        path: A file whose first line names the columns, such as
            `num_examples,score`. Numbers become numbers, empty cells None;
            `task`, `mode`, `arm`, `split` and `metric` stay text. A first
            column without a name is an index that pandas has written: of sizes,
            which become `num_examples` if no other column can be that, or of
            numbers of lines, which are left out.

    Returns:
        A list of dicts, in the order of the lines. A last line with too few
        cells, cut off by a kill or a full disk, is left out with a warning.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not UTF-8 text, a column has no name or
            shares it with another, a quote is left open, another line has more
            or fewer cells than there are columns, a size such as 1.000 may
            mean a thousand or one, or two lines are the same. The error names
            the lines.
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
            f"{path}, line {reader.line_num}: {error}. Is a quote left open in "
            "this line or an earlier one?"
        ) from None
    lines = _with_named_columns(lines or [(1, ())])
    (_, header), *lines = lines
    _check_header(path, header)
    if lines and len(lines[-1][1]) < len(header):
        number, cells = lines.pop()
        warnings.warn(
            f"{path}: the last line, {number}, is cut off and was dropped: "
            f"{','.join(cells)}",
            stacklevel=3,
        )
    elif lines and not text.endswith("\n"):
        # In CSV, unlike JSON, half a number still looks like a number.
        warnings.warn(
            f"{path}: the last line, {lines[-1][0]}, has no line end. If the "
            f"file was cut off there, fix it: {','.join(lines[-1][1])}",
            stacklevel=3,
        )
    # Without `num_examples`, any column may be the one of sizes.
    for name in {SIZES} & {*header} or header:
        _check_separators(path, name, header.index(name), lines)
    seen = {}
    return [_row(path, *line, header, seen) for line in lines]


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
            f"num_examples,score. Received numbers: {','.join(header)!r}. Add "
            "a first line with the names."
        )
    if not header or "" in header or len(set(header)) < len(header):
        raise ValueError(
            f"{path}, line 1: expected the names of the columns, each once, "
            "with commas between them, such as num_examples,score. Received: "
            f"{','.join(header)!r}."
        )


def _check_separators(path, name, place, lines):
    """Raise a `ValueError` if `1.000` may mean a thousand or one."""
    cells = [(number, c[place]) for number, c in lines if len(c) > place]
    dotted = [(number, text) for number, text in cells if "." in text]
    # A single number with other decimals shows that all points are decimal.
    if not dotted or not all(THOUSANDS.fullmatch(text) for _, text in dotted):
        return
    # Scores may be written with three decimals. All as .000, or beside whole
    # numbers above any percentage, they are more likely to be sizes.
    beside = [text for _, text in cells if text.isdecimal()]
    if (
        name == SIZES
        or all(text.endswith(".000") for _, text in dotted)
        and len({text for _, text in dotted}) > 1
        or any(int(text) > 100 for text in beside)
    ):
        number, text = dotted[0]
        raise ValueError(
            f"{path}, line {number}: is {text} a number with a thousands "
            f"separator? Write {text.replace('.', '')} or "
            f"{text.split('.')[0]}, without a point, in the column {name}."
        )


def _row(path, number, cells, header, seen):
    """Return a line as a dict; `seen` maps earlier lines to their numbers."""
    if len(cells) != len(header):
        raise ValueError(
            f"{path}, line {number}: expected {len(header)} cells, one for "
            f"each of {','.join(header)}. Received {len(cells)}: "
            f"{','.join(cells)}. Fix or delete that line."
        )
    values = tuple(map(_value, header, cells))
    if seen.setdefault(values, number) != number:
        raise ValueError(
            f"{path}, lines {seen[values]} and {number}: the same run twice: "
            f"{','.join(cells)}. Delete one, or tell repetitions apart by a "
            "column `seed`."
        )
    return dict(zip(header, values, strict=True))


def _value(name, text):
    """Return a cell as a number, None if empty, or text; names stay text."""
    kinds = () if name in CURVES or "_" in text else (int, float)
    for kind in kinds:
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None
