"""Labels as files name them: strings or whole numbers, and nothing else.

Any other number, a null or a list in place of a label is never turned into a
class of that name: it is an error that names file and row.
"""

import re
from collections.abc import Iterable, Mapping, Set

import numpy as np

from keras_jft.text import composed
from keras_jft.text_files import short

# Whole numbers as Python and JSON write them; "007" and "1.0" are strings.
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
_FLOAT = re.compile(r"-?[0-9]+\.[0-9]+", re.ASCII)
# What pandas and Python write for a missing value; "NA" and "null" are names.
_MISSING = {"nan", "NaN", "None", "<NA>", "NaT"}
# A list, tuple or set as Python and JSON write it: "['a', 'b']", "[]", "[1]".
_PRINTED = re.compile(
    r"""\[\s*(['"0-9-].*)?\]|[({]\s*(['"].*)?[)}]|set\(\)""", re.DOTALL
)
_INT64 = (
    " pandas turns a column of whole numbers with an empty cell into floats: "
    "write the column as Int64."
)
_TWO_FORMS = (
    "also occurs in another Unicode form. Write all labels in one form, "
    "such as NFC."
)


def labels_of(cell, where, separator=None):
    """Return the labels of a cell, a list of strings and whole numbers.

    Args:
        cell: A string, a whole number, a list of these, or None: no labels.
        where: What errors call the cell, such as the quoted path and the row.
        separator: Where to split a string that is not in a list. None: the text
            is one label. Labels are stripped, and empty ones dropped.

    Raises:
        ValueError: The cell is or contains something else.

    Example:

    >>> labels_of("cat; dog", "'a.csv', line 2", separator=";")
    ['cat', 'dog']
    >>> labels_of([3, True], "'a.jsonl', line 2")
    Traceback (most recent call last):
    ValueError: 'a.jsonl', line 2: a label must be a string or a whole number. \
Received: True.
    """
    if cell is None:
        return []
    if separator is not None and not (separator and is_text(separator)):
        raise ValueError(
            "`separator` must be what stands between labels, such as ';'. "
            f"Received: {separator!r}."
        )
    if isinstance(cell, str) and separator is not None:
        if _PRINTED.fullmatch(cell.strip()):
            raise ValueError(
                f"{where}: {short(cell)} seems to be a list written as text. "
                f"Join its labels with {separator!r}, as in "
                f"{separator.join(('cat', 'dog'))!r}, or write the table as "
                "JSON Lines or Parquet, which have lists."
            )
        cell = cell.split(separator)
    labels = cell if isinstance(cell, (list, tuple)) else [cell]
    for label in labels:
        # Not `isinstance`: True is an int.
        whole = type(label) is int and abs(label) < 2**63
        if not whole and not is_text(label):
            remedy = _INT64 if isinstance(label, float) else ""
            raise ValueError(
                f"{where}: a label must be a string or a whole number. "
                f"Received: {short(label)}.{remedy}"
            )
    labels = [x.strip() if isinstance(x, str) else x for x in labels]
    return [label for label in labels if label != ""]


def names_in(rows, where):
    """Return the names of all labels of a file, in order, `[str]`.

    Whole numbers, and strings that all read as such, are in the order of the
    numbers; other strings in that of their letters.

    Args:
        rows: The labels of each row, as `labels_of` returns them.
        where: A function from a position to what errors call that row.

    Raises:
        ValueError: Some labels are numbers and others strings; or names look
            like whole numbers that were turned into floats.
    """
    names = set().union(*rows)
    if len(set(map(type, names))) > 1:
        first = {}
        for position, row in enumerate(rows):
            for label in row:
                first.setdefault(type(label), f"{where(position)}: {label!r}")
        raise ValueError(
            "All labels must be strings, or all whole numbers. Received: "
            f"{'; '.join(first.values())}. Write all as strings."
        )
    names = {str(name) for name in names}
    fault = _fault_of(names)
    if fault:
        name, problem = fault
        position = next(i for i, row in enumerate(rows) if name in row)
        raise ValueError(f"{where(position)}: the label {name!r} {problem}")
    whole = all(map(is_whole, names))
    return sorted(names, key=int if whole else None)


def checked_names(names, argument="label_names"):
    """Return the label names that a user passes, as a tuple of strings.

    Args:
        names: Strings or whole numbers, in the order of their ids.
        argument: Name of the argument, for errors.

    Raises:
        ValueError: They are something else, or a name is repeated or empty.

    Example:

    >>> checked_names(["cat", 7])
    ('cat', '7')
    """
    names = [
        name.item() if isinstance(name, np.generic) else name
        for name in checked_list(names, argument)
    ]
    names = [name.strip() if isinstance(name, str) else name for name in names]
    if "" in names:
        raise ValueError(
            f"`{argument}` must not have empty names. Received: an empty "
            f"string at position {names.index('')}."
        )
    names = tuple(map(str, labels_of(names, f"`{argument}`")))
    seen = set()
    again = [name for name in names if name in seen or seen.add(name)]
    if again:
        raise ValueError(
            f"`{argument}` must name each label once. Received again: "
            f"{short(again)}."
        )
    check_forms(names, f"`{argument}`")
    return names


def checked_list(values, argument):
    """Return the values of an argument that is a list, as a list.

    A string would be split into letters, a set has a different order in every
    process, and the values of a dict would be lost.

    Args:
        values: A list, a tuple, an array or an iterator.
        argument: Name of the argument, for errors.

    Raises:
        ValueError: It is a string, a set, a dict or a single value.

    Example:

    >>> checked_list("cat", "classes")
    Traceback (most recent call last):
    ValueError: `classes` must be a list. Received: 'cat'. Give ['cat'].
    """
    if isinstance(values, (str, bytes)):
        remedy = f"Give [{short(values)}]"
    elif isinstance(values, Mapping):
        remedy = "Give the names as a list, in the order of their ids"
    elif isinstance(values, Set):
        remedy = "A set has no order: give a list, such as `sorted` returns"
    elif not isinstance(values, Iterable) or (
        isinstance(values, np.ndarray) and not values.ndim
    ):
        remedy = f"Give [{short(values)}]"
    else:
        return list(values)
    raise ValueError(
        f"`{argument}` must be a list. Received: {short(values)}. {remedy}."
    )


def check_forms(names, where):
    """Raise `ValueError` where two names look alike but differ.

    Args:
        names: Strings.
        where: What errors call the place they are from.

    Example:

    >>> check_forms(["caf\u00e9", "cafe\u0301"], "'images'")
    Traceback (most recent call last):
    ValueError: 'images': the label 'caf\xe9' also occurs in another Unicode \
form. Write all labels in one form, such as NFC.
    """
    name = _in_two_forms(names)
    if name is not None:
        raise ValueError(f"{where}: the label {name!r} {_TWO_FORMS}")


def almost(name, names):
    """Return a hint for an error: the known name that `name` nearly equals.

    Args:
        name: A string that is not in `names`.
        names: Strings.

    Returns:
        Text to put after `name`, or "" if no name is close.

    Example:

    >>> almost("Cat ", ["cat", "dog"])
    " (there is 'cat')"
    >>> almost("cafe\u0301", ["caf\u00e9"])
    " (there is 'caf\xe9', of another Unicode form)"
    """
    for other in names:
        one, two = composed(name), composed(other)
        if one == two:
            return f" (there is {other!r}, of another Unicode form)"
        if one.strip().casefold() == two.strip().casefold():
            return f" (there is {other!r})"
    return ""


def label_ids_by_text(label_names):
    """Return `{text: label id}` of the names, and of the ids as text.

    Args:
        label_names: As `checked_names` returns them. If any name is a number,
            numbers are names, and ids are left out.

    Example:

    >>> label_ids_by_text(("cat", "dog"))
    {'cat': 0, 'dog': 1, '0': 0, '1': 1}
    >>> label_ids_by_text(("5", "3"))
    {'5': 0, '3': 1}
    """
    ids = {name: label for label, name in enumerate(label_names)}
    if not any(map(is_whole, label_names)):
        ids |= {str(label): label for label in range(len(label_names))}
    return ids


def is_whole(text):
    """Return whether a string reads as a whole number.

    >>> is_whole("12"), is_whole("012"), is_whole("1.0")
    (True, False, False)
    """
    return _WHOLE.fullmatch(text) is not None


def _fault_of(names):
    """Return a name that cannot be meant and why, for the error; or None."""
    floats = sorted(filter(_FLOAT.fullmatch, names))
    if floats and all(is_whole(name.removesuffix(".0")) for name in names):
        return floats[0], (
            "seems to be a whole number that became a float, as in pandas "
            "when a cell is empty. Write the column as Int64, or pass "
            "`label_names` if that is its name."
        )
    if floats:
        return floats[0], (
            "is a number that is not whole, which cannot be a class. Check the "
            "column, or pass `label_names` if a class has that name."
        )
    missing = sorted(names & _MISSING)
    if missing:
        return missing[0], (
            "seems to stand for a missing value. Leave the cell empty if an "
            "image has no labels, or pass `label_names` if a class has that "
            "name."
        )
    name = _in_two_forms(names)
    return None if name is None else (name, _TWO_FORMS)


def _in_two_forms(names):
    """Return a name that equals another but for its Unicode form; or None."""
    forms = {}
    for name in sorted(names):
        if forms.setdefault(composed(name), name) != name:
            return name
    return None


def is_text(value):
    """Return whether a value is text that can name a file or a class.

    >>> is_text("café"), is_text("\\ud800"), is_text(3)
    (True, False, False)
    """
    if not isinstance(value, str):
        return False
    try:
        # Surrogates stand for bytes of a file name that are not UTF-8.
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
