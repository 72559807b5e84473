"""Records of a JSON file, read strictly: errors name file, record and field."""

import dataclasses
import math

from keras_jft.text_files import read_json as read_json
from keras_jft.text_files import short


def records_of(path, root, key, kind):
    """Return the records of the list `root[key]`, of `root` if `key` is None.

    Args:
        path: The file, for errors.
        root: The value of the whole file.
        key: Name of the list.
        kind: What errors call a record, such as "annotation".

    Raises:
        ValueError: There is no such list, or an item of it is not an object.
    """
    found, where = root, "the file"
    if key is not None:
        if not isinstance(root, dict):
            raise ValueError(
                f"{str(path)!r} must hold an object with the list `{key}`. "
                f"Received: a {type(root).__name__}."
            )
        found, where = root.get(key), f"`{key}`"
    if not isinstance(found, list):
        received = "nothing" if found is None else type(found).__name__
        raise ValueError(
            f"{str(path)!r}: {where} must be a list of {kind} records. "
            f"Received: {received}."
        )
    for number, fields in enumerate(found):
        if not isinstance(fields, dict):
            raise ValueError(
                f"{str(path)!r}: {kind} number {number} must be an object "
                f"with fields. Received: {short(fields)}."
            )
    return [
        Record(path, kind, number, fields)
        for number, fields in enumerate(found)
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One object of a file, with methods that read a field and check its type.

    Every method raises a `ValueError` that names file, record and field. A
    field that is null counts as absent, so test `field in record` before
    reading an optional one.

    Attributes:
        path: The file.
        kind: What errors call the record.
        position: Its position in its list, from 0.
        fields: The object.
    """

    path: object
    kind: str
    position: int
    fields: dict

    def __contains__(self, field):
        return self.fields.get(field) is not None

    def fail(self, field, expected, remedy=""):
        """Raise the error of one field; `remedy` is a sentence."""
        name = self.fields.get("id")
        which = f"number {self.position}"
        if name is not None:
            which = f"id {short(name)}"
        received = (
            short(self.fields[field]) if field in self.fields else "nothing"
        )
        raise ValueError(
            f"{str(self.path)!r}: {self.kind} {which}, field `{field}`: "
            f"expected {expected}. Received: {received}."
            + f" {remedy}"
            * bool(remedy)
        )

    def name(self, field):
        """Return an id, a whole number or text; 3.0 is the number 3."""
        value = _as_whole(self.fields.get(field))
        whole = type(value) is int and abs(value) < 2**63
        if not whole and not isinstance(value, str):
            self.fail(field, "a whole number or text")
        return value

    def integer(self, field, lowest=0, remedy=""):
        """Return a whole number of at least `lowest`; 3.0 is one, too."""
        value = _as_whole(self.fields.get(field))
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or not lowest <= value < 2**63
        ):
            self.fail(field, f"a whole number of {lowest} or more", remedy)
        return value

    def number(self, field, lowest=-math.inf):
        """Return a finite number of at least `lowest`, as float."""
        value = self.fields.get(field)
        if not is_finite(value) or value < lowest:
            more = "" if lowest == -math.inf else f" of {lowest} or more"
            self.fail(field, f"a finite number{more}")
        return float(value)

    def numbers(self, field, count, what):
        """Return a list of `count` finite numbers."""
        values = self.fields.get(field)
        if (
            not isinstance(values, list)
            or len(values) != count
            or not all(map(is_finite, values))
        ):
            self.fail(field, f"{count} finite numbers, {what}")
        return values

    def text(self, field):
        """Return text that is not empty."""
        value = self.fields.get(field)
        if not isinstance(value, str) or not value:
            self.fail(field, "text")
        return value

    def flag(self, field):
        """Return a flag, 0 or 1, false or true; a missing one is False."""
        value = _as_whole(self.fields.get(field))
        if value is None:
            return False
        if value not in (0, 1) or not isinstance(value, int):
            self.fail(field, "0 or 1")
        return bool(value)


def _as_whole(value):
    """Return a whole float, as pandas writes whole numbers, as an int."""
    is_whole = isinstance(value, float) and value.is_integer()
    return int(value) if is_whole else value


def is_finite(value):
    """Return whether a value is a number that float32 can hold.

    >>> is_finite(2), is_finite(True), is_finite("2"), is_finite(1e99)
    (True, False, False, False)
    """
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < 1e38
    )
