"""Numbers as spreadsheets write them: `1,000.5`, `1.000,5`, `1 000`, `31 %`.

A cell such as `1.000` is a thousand in some countries and one in others. What
the other cells of the file say decides; where they do not, it is not guessed.
"""

import decimal
import re
from typing import NamedTuple

# Besides a comma or a point, what separates thousands: spaces, and in
# Switzerland apostrophes.
_SPACES = "[ \u00a0\u202f'\u2019]"
_MINUS = str.maketrans("\u2212", "-")
_NUMERIC = re.compile(
    rf"[+-]?(?=.*\d)(?:[\d.,]|(?<=\d){_SPACES}(?=\d))+(?:e[+-]?\d+)?\s*%?",
    re.IGNORECASE,
)
OTHER = {".": ",", ",": "."}
_GROUPS = {
    mark: rf"[1-9]\d{{0,2}}(?:{re.escape(mark)}\d{{3}})+" for mark in OTHER
}
_PATTERNS = {
    point: re.compile(
        rf"(?P<sign>[+-]?)(?P<whole>[1-9]\d{{0,2}}"
        rf"(?P<mark>{re.escape(mark)}|{_SPACES})\d{{3}}(?:(?P=mark)\d{{3}})*|\d*)"
        rf"(?P<fraction>{re.escape(point)}\d*)?"
        rf"(?P<exponent>e[+-]?\d+)?\s*(?P<percent>%?)",
        re.IGNORECASE,
    )
    for point, mark in OTHER.items()
}


class Cell(NamedTuple):
    """A cell of a column, and the line that it is on."""

    line: int
    text: str


class Notation(NamedTuple):
    """How the numbers of a column are written.

    Attributes:
        point: The decimal point, `"."` or `","`.
        is_sure: Whether a cell shows that, and it is not only usual.
    """

    point: str
    is_sure: bool


def number(text, point="."):
    """Return the number that a cell holds; None if it is another text.

    Args:
        text: The cell.
        point: The decimal point.

    Example:

    >>> number("1.000,5", ","), number("1 000"), number("31.4 %")
    (1000.5, 1000, 0.314)
    """
    found = _PATTERNS[point].fullmatch(text.translate(_MINUS))
    if not found or not any(map(str.isdecimal, text)):
        return None
    whole = re.sub(r"\D", "", found["whole"]) or "0"
    fraction = (found["fraction"] or ".")[1:] or "0"
    if not (found["fraction"] or found["exponent"] or found["percent"]):
        return int(found["sign"] + whole) if len(whole) < 300 else None
    plain = f"{found['sign']}{whole}.{fraction}{found['exponent'] or ''}"
    if found["percent"]:
        try:
            return float(decimal.Decimal(plain) / 100)
        except decimal.DecimalException:
            return None
    return float(plain)


def is_grouped(text, mark):
    """Return whether a mark may separate the thousands of a number."""
    return re.fullmatch(_GROUPS[mark], text) is not None


def notations(path, columns, usual):
    """Return `{name: Notation}` of the columns of a file.

    Args:
        path: The file, for messages.
        columns: `{name: [Cell, ...]}`, without empty cells.
        usual: The decimal point that is usual in such a file.

    Raises:
        ValueError: A column has decimal points and commas, or percent signs in
            some cells alone.
    """
    shown = {}
    for name, cells in columns.items():
        shown[name] = {}
        if all(_NUMERIC.fullmatch(c.text.translate(_MINUS)) for c in cells):
            _check_percent(path, name, cells)
            for cell in reversed(cells):
                shown[name] |= dict.fromkeys(_shown_by(cell.text), cell)
        if len(shown[name]) > 1:
            first, second = sorted(shown[name].values())
            raise ValueError(
                f"{path}: the column {name} has decimal points and decimal "
                f"commas: {first.text} in line {first.line}, {second.text} in "
                f"line {second.line}. Write all numbers with points."
            )
    found = {point for points in shown.values() for point in points}
    return {
        name: Notation(*points, True)
        if points
        else Notation(*found, True)
        if len(found) == 1
        else Notation(usual, False)
        for name, points in shown.items()
    }


def _shown_by(text):
    """Yield the decimal point if a number shows which one it is."""
    marks = [character for character in text if character in OTHER]
    if len(set(marks)) == 2 and marks.count(marks[-1]) == 1:
        yield marks[-1]
    elif len(marks) == 1:
        body = re.sub(rf"^[+-]|{_SPACES}|[e%].*$", "", text.lower())
        if not is_grouped(body, marks[0]):
            yield marks[0]


def _check_percent(path, name, cells):
    """Raise a `ValueError` if only some cells of a column are percentages."""
    signs = [cell.text.endswith("%") for cell in cells]
    if any(signs) and not all(signs):
        cell = cells[signs.index(False)]
        raise ValueError(
            f"{path}, line {cell.line}: {cell.text} has no percent sign, as "
            f"other cells of the column {name} have. Write all with it, or "
            "none."
        )
