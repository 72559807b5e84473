"""Labels with probabilities in Parquet columns, checked row by row.

Shapes: M labels of all rows together.
"""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_jft.data.label_names import is_whole, names_in
from keras_jft.text import number_of
from keras_jft.text_files import short


class LabelIndex:
    """Maps labels, as files name them, to label ids.

    Args:
        label_names: All labels, in the order of their ids.
        hierarchy: The `LabelHierarchy` whose keys and names are labels, or
            None.
    """

    def __init__(self, label_names, hierarchy=None):
        self.size, self._hierarchy = len(label_names), hierarchy
        self._ids = {name: label for label, name in enumerate(label_names)}
        keys = () if hierarchy is None else hierarchy.keys
        self._has_numbers = any(map(is_whole, (*label_names, *keys)))

    def find(self, label):
        """Return the id of a name or of an id; -1 where it is unknown.

        A number is an id, unless any name is a number.
        """
        if isinstance(label, int):
            if not self._has_numbers:
                return label if 0 <= label < self.size else -1
            label = str(label)
        if self._hierarchy is None:
            return self._ids.get(label, -1)
        try:
            return self._hierarchy.index(label)
        except ValueError:
            return -1


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelColumns:
    """Where the rows of Parquet files have their labels.

    Attributes:
        labels: Column of lists of labels, or of structs.
        probabilities: Column of equally long lists of probabilities; None:
            there are none.
        fields: Names of label and probability in a struct.
    """

    labels: str
    probabilities: str | None
    fields: tuple[str, str] = ("label", "probability")

    def read(self, groups, index):
        """Read the labels of all rows, one row group after another.

        Args:
            groups: `RowGroups`.
            index: `LabelIndex`.

        Returns:
            `(M,)` int64 positions, ascending, `(M,)` int32 label ids, and
            `(M,)` float32 probabilities, 1 where the files have none.

        Raises:
            ValueError: A column is missing or has another type, lists are not
                equally long, a label is unknown, or a probability is not in
                0..1. The error names file and row.
        """
        parts = [
            self._read_group(groups, group, index)
            for group in range(len(groups))
        ]
        rows, labels, probabilities = zip(*parts, strict=True)
        return (
            np.concatenate(rows),
            np.concatenate(labels).astype("int32"),
            np.concatenate(probabilities),
        )

    def label_names(self, groups):
        """Return all names of labels in the files, sorted.

        Raises:
            ValueError: Labels are not strings; or a column is missing.
        """
        names = set()
        for group in range(len(groups)):
            _, flat, _ = self._flat(groups, group)
            if len(flat) and not _is_text(flat.type):
                raise ValueError(
                    f"{groups.path(group)!r}, column {self.labels!r}, has "
                    f"labels of type {flat.type}. Pass `label_names` or "
                    "`hierarchy`, which define how many there are."
                )
            names.update(pc.unique(flat).to_pylist())
        where = f"{groups.paths}, column {self.labels!r}"
        return names_in([names - {None}], lambda _: where)

    def _read_group(self, groups, group, index):
        rows, flat, probabilities = self._flat(groups, group)

        def fail(place, problem):
            row = groups.first_row(group) + int(rows[place])
            raise ValueError(f"{groups.path(group)!r}, row {row}: {problem}")

        if not len(flat):
            return rows, np.zeros(0, "int32"), probabilities
        if not (_is_text(flat.type) or pa.types.is_integer(flat.type)):
            fail(
                0,
                f"`{self.labels}` must be strings or whole numbers. Received: "
                f"{short(flat[0].as_py())}, {flat.type}.",
            )
        encoded = flat.dictionary_encode(null_encoding="encode")
        ids = [index.find(label) for label in encoded.dictionary.to_pylist()]
        ids = np.array(ids, "int32")[encoded.indices.to_numpy()]
        for place in np.flatnonzero(ids < 0)[:1]:
            fail(
                place,
                f"`{self.labels}` must have names or ids of the {index.size} "
                f"labels. Received: {flat[int(place)].as_py()!r}.",
            )
        right = (probabilities >= 0) & (probabilities <= 1)
        for place in np.flatnonzero(~right)[:1]:
            fail(
                place,
                "a probability must be in 0..1. Received: "
                f"{probabilities[place]}.",
            )
        return rows + groups.starts[group], ids, probabilities

    def _flat(self, groups, group):
        """Return `(M,)` rows, labels and probabilities of a group."""
        path, names = groups.path(group), self._names(groups, group)
        table = groups.read(group, names)
        lists, *others = (table[name].combine_chunks() for name in names)
        flat, rows = pc.list_flatten(lists), pc.list_parent_indices(lists)
        rows = rows.to_numpy().astype("int64")
        if others:
            counts, more = _lengths(lists), _lengths(others[0])
            for row in np.flatnonzero(counts != more)[:1]:
                raise ValueError(
                    f"{path!r}, row {groups.first_row(group) + row}: there "
                    f"must be one of `{names[1]}` per label. Received: "
                    f"{more[row]} for {number_of(counts[row], 'label')}."
                )
            probabilities = pc.list_flatten(others[0])
            return rows, flat, _as_floats(path, names[1], probabilities)
        if pa.types.is_struct(flat.type):
            label, probability = (
                pc.struct_field(flat, field) for field in self.fields
            )
            return rows, label, _as_floats(path, self.labels, probability)
        return rows, flat, np.ones(len(rows), "float32")

    def _names(self, groups, group):
        """Return the columns to read: labels and perhaps probabilities."""
        path, schema = groups.path(group), groups.schema(group)
        kind = _list_type(path, schema, self.labels)
        if not pa.types.is_struct(kind):
            if self.probabilities is None:
                return [self.labels]
            _list_type(path, schema, self.probabilities)
            return [self.labels, self.probabilities]
        given = [kind.field(i).name for i in range(kind.num_fields)]
        if not set(self.fields) <= set(given):
            raise ValueError(
                f"{path!r}, column {self.labels!r}, must have structs with "
                f"the fields {list(self.fields)}. Received: {given}. Set "
                "`fields`."
            )
        return [self.labels]


def _list_type(path, schema, column):
    """Return the type of the values in the lists of a column."""
    if column not in schema.names:
        raise ValueError(
            f"{path!r} must have a column {column!r}. Received the columns "
            f"{schema.names}. Set `label_column` or `probability_column`, "
            "which may be None."
        )
    kind = schema.field(column).type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise ValueError(
            f"{path!r}, column {column!r}, must have lists. Received: {kind}."
        )
    return kind.value_type


def _lengths(lists):
    return pc.fill_null(pc.list_value_length(lists), 0).to_numpy()


def _as_floats(path, column, probabilities):
    kind = probabilities.type
    if len(probabilities) and not (
        pa.types.is_floating(kind) or pa.types.is_integer(kind)
    ):
        raise ValueError(
            f"{path!r}, column {column!r}: probabilities must be numbers. "
            f"Received: {kind}."
        )
    # A number beyond float32 is infinite, and refused with its row.
    floats = pc.fill_null(probabilities.cast(pa.float32(), safe=False), np.nan)
    return floats.to_numpy(zero_copy_only=False)


def _is_text(kind):
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
