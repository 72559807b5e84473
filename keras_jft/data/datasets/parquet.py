"""Parquet files with one row per image and labels with probabilities.

`load` and `ParquetImages` read images and labels; `RowGroups` reads columns of
row groups, for `manifest` too.

Shapes: N rows (images) of all files together, G row groups, n positions.

References:
    COYO-Labeled-300M, 2022,
    https://huggingface.co/datasets/kakaobrain/coyo-labeled-300m: `labels` and
    `label_probs`, lists of the 50 likeliest of 21,841 classes.
"""

import collections
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keras_jft import files as files_lib
from keras_jft.data.dataset import Dataset, Info, warn_of_absent_classes
from keras_jft.data.datasets.image_paths import ImageFinder
from keras_jft.data.datasets.label_rows import ExampleLabels, LabelRows
from keras_jft.data.datasets.parquet_labels import LabelColumns, LabelIndex
from keras_jft.data.hierarchy import LabelHierarchy
from keras_jft.data.images import decode_image, read_file
from keras_jft.data.label_names import checked_names
from keras_jft.files import check_split, files_of, of_split
from keras_jft.text_files import short
from keras_jft.typing import PathLike

_BYTES, _TEXTS = (
    (pa.binary(), pa.large_binary()),
    (pa.string(), pa.large_string()),
)
# The exceptions that pyarrow raises for damaged files, whose text need not be
# UTF-8.
_FAULTS = (pa.ArrowException, OSError, ValueError, OverflowError)
# Columns of row groups that stay in memory: enough for the threads of one
# pipeline to read neighboring rows.
_KEPT = 16


def load(
    split: str | None = None,
    *,
    path: PathLike | Sequence[PathLike],
    directory: PathLike | None = None,
    image_column: str = "image",
    id_column: str | None = None,
    label_column: str = "labels",
    probability_column: str = "label_probs",
    fields: tuple[str, str] = ("label", "probability"),
    threshold: float = 0.0,
    unknown: float | None = None,
    label_names: Sequence[str] | None = None,
    hierarchy: LabelHierarchy | Mapping[str, Any] | PathLike | None = None,
    allow_outside: bool = False,
) -> Dataset:
    """Load the images of Parquet files, in the order of their rows.

    Labels are read at once, one row group after another. Images are read on
    demand, with their whole row group: files that contain the images and are
    read in random order should have small row groups, of about 100 rows
    (`pq.write_table(..., row_group_size=100)`).

    Args:
        split: The text that replaces `{split}` in `path` and `directory`.
        path: A file, a pattern with `*`, a folder of `.parquet` files, or a
            list of these; local or in a bucket (gs://, s3://).
        directory: Folder that paths of images are relative to; by default that
            of their Parquet file.
        image_column: Column of the bytes of image files, of paths, or of
            structs with `bytes` and `path` (used if `bytes` is null). URLs are
            not followed.
        id_column: Column of ids, whole numbers or strings; by default ids are
            `"file:row"`, with rows counted from 0.
        label_column: Column of lists of labels, ids or names; or of lists of
            structs with a label and its probability. A row may have none.
        probability_column: Column of equally long lists of probabilities;
            None: there are none. It is not used with structs.
        fields: Names of label and probability in a struct.
        threshold: Lowest probability of a label that is present.
        unknown: Lowest probability, below `threshold`, of a label that is
            unknown rather than absent; examples then have `unknown_labels`.
        label_names: All labels, in the order of their ids; by default the
            names in the files, sorted. Required for labels that are ids,
            unless there is a `hierarchy`.
        hierarchy: As for `image_folder`; labels are its keys, names or ids,
            and are closed upward. A number is an id, unless the name of some
            label is a number: then numbers are names.
        allow_outside: Whether `..` and absolute paths of images may leave
            their folder.

    Returns:
        A `Dataset` with many labels per example. A repeated label of a row
        has the highest of its probabilities.

    Raises:
        ValueError: A file is not Parquet, lacks a column or has no rows; lists
            of a row are not equally long, a label is unknown, a probability is
            not in 0..1, an id is repeated, or an image is missing, a URL or
            outside the folder. The error names file and row.
    """
    if not 0 <= (unknown or 0) <= threshold <= 1:
        raise ValueError(
            "`threshold` and `unknown` must be in 0..1, `unknown` the lower. "
            f"Received: threshold={threshold}, unknown={unknown}."
        )
    if hierarchy is not None and not isinstance(hierarchy, LabelHierarchy):
        hierarchy = LabelHierarchy.from_json(hierarchy)
    is_declared = label_names is not None and hierarchy is None
    check_split(split, path, "Write `{split}` into it, or pass split=None.")
    groups = RowGroups(files_of(of_split(path, split), suffix=".parquet"))
    columns = LabelColumns(
        labels=label_column, probabilities=probability_column, fields=fields
    )
    if hierarchy is not None:
        label_names = hierarchy.names
    elif label_names is None:
        label_names = columns.label_names(groups)
    else:
        label_names = checked_names(label_names)
    directory = of_split(directory, split)
    index = LabelIndex(label_names, hierarchy)
    rows, labels, probabilities = columns.read(groups, index)
    present = probabilities >= np.float32(threshold)
    maybe = ~present & (probabilities >= np.float32(unknown or 0))
    num_examples = int(groups.starts[-1])
    tables = [
        LabelRows(rows[chosen], labels[chosen], num_examples,
                  len(label_names), hierarchy)
        for chosen in (present, maybe)
    ]  # fmt: skip
    class_counts, longest = tables[0].count()
    if is_declared or not label_names:
        warn_of_absent_classes(
            label_names,
            class_counts,
            f"row of {of_split(path, split)!r}",
            "Check `label_names`, which numbers count from 0, and `threshold`.",
        )
    return ParquetImages(
        groups,
        image_column,
        directory,
        _find_images(groups, image_column, directory, allow_outside),
        ExampleLabels(tables[0], None if unknown is None else tables[1]),
        None if id_column is None else _read_ids(groups, id_column),
        Info(
            num_examples=num_examples,
            label_names=tuple(label_names),
            hierarchy=hierarchy,
            max_labels=max(1, longest),
            class_counts=class_counts,
        ),
    )


class ParquetImages(Dataset):
    """Images in a column of Parquet files, or named by it, and their labels.

    Args:
        groups: `RowGroups`.
        image_column: Name of the column.
        directory: Folder that paths are relative to; None: that of the file.
        found: `{position: path}` of images whose row spells it differently.
        labels: `ExampleLabels`.
        ids: `(N,)` ids; None: file and row.
        info: The data set's `Info`.
    """

    def __init__(
        self, groups, image_column, directory, found, labels, ids, info
    ):
        self.groups, self.directory, self._found = groups, directory, found
        self._column, self._labels, self._ids = image_column, labels, ids
        self.info = info

    def ids(self, positions):
        """Return the ids of the column, or `"file:row"`."""
        positions = np.asarray(positions)
        if self._ids is not None:
            return self._ids[positions]
        files, rows = self.groups.places(positions)
        names = np.array([f"{Path(p).name}:" for p in self.groups.paths])
        return np.char.add(names[files], rows.astype(str))

    def take(self, positions):
        """Return examples at `positions`; read each row group once."""
        positions = np.asarray(positions)
        groups, examples = self.groups.find(positions), [None] * len(positions)
        known = self.annotations(positions)
        for group in np.unique(groups):
            for place in np.flatnonzero(groups == group):
                source, name = self._source(positions[place], group)
                pixels = decode_image(source, name)
                examples[place] = {"images": pixels, **known[place]}
        return examples

    def image_bytes(self, position):
        """Return the image file."""
        source, _ = self._source(position, self.groups.find(position))
        if isinstance(source, bytes):
            return source
        return read_file(source)

    def annotations(self, positions):
        """Return labels and ids without reading an image."""
        ids = self.ids(positions).tolist()
        return [
            {**self._labels[position], "ids": name}
            for position, name in zip(positions, ids, strict=True)
        ]

    def _source(self, position, group):
        """Return bytes or path of an image, and what errors call it."""
        row = int(position - self.groups.starts[group])
        value = self.groups.column(group, self._column)[row].as_py()
        path = self.groups.path(group)
        name = f"{path}, row {self.groups.first_row(group) + row}"
        if isinstance(value, dict):
            content = value.get("bytes")
            value = value.get("path") if content is None else content
        if isinstance(value, str):
            value = self._found.get(int(position), value)
            path = os.path.join(_folder(path, self.directory), value)
            return files_lib.image_source(path), path
        return value or b"", name


def _folder(path, directory):
    """Return the folder that paths in the file `path` are relative to."""
    return os.path.dirname(path) if directory is None else str(directory)


def _find_images(groups, column, directory, allow_outside):
    """Return `{position: path}` of images whose row spells it differently."""
    finders, found, faults = {}, {}, []
    for group in range(len(groups)):
        folder = _folder(groups.path(group), directory)
        if folder not in finders:
            finders[folder] = ImageFinder(folder, allow_outside=allow_outside)
        for row, name in _paths(groups, group, column):
            try:
                path = finders[folder].find(name)
            except ValueError as error:
                row += groups.first_row(group)
                faults.append(f"{groups.path(group)}, row {row}: {error}")
                continue
            if path != name:
                found[int(groups.starts[group]) + row] = path
    if faults:
        raise ValueError(
            f"Every path in {column!r} must be that of a file. {len(faults)} "
            f"are not: {'; '.join(faults[:5])}. Set `directory`, or correct or "
            "drop their rows."
        )
    return found


def _paths(groups, group, column):
    """Return the rows of a group without bytes, each with its path."""
    path, schema = groups.path(group), groups.schema(group)
    kind = schema.field(column).type if column in schema.names else None
    if kind in _BYTES:
        return []
    if kind in _TEXTS:
        return enumerate(groups.values(group, column))
    fields = {}
    if kind is not None and pa.types.is_struct(kind):
        fields = {kind.field(i).name: kind.field(i).type
                  for i in range(kind.num_fields)}  # fmt: skip
    if (
        not fields.keys() & {"bytes", "path"}
        or fields.get("bytes", pa.null()) not in (*_BYTES, pa.null())
        or fields.get("path", pa.null()) not in (*_TEXTS, pa.null())
    ):
        raise ValueError(
            f"{path!r} must have a column {column!r} of bytes, paths or "
            f"structs of both. Received: {kind or schema.names}. Set "
            "`image_column`."
        )
    rows = groups.values(group, column)
    return [
        (row, value["path"])
        for row, value in enumerate(rows)
        if value and value.get("bytes") is None and value.get("path")
    ]


def _read_ids(groups, column):
    """Return `(N,)` ids, int64 or str, all different."""
    parts, kind = [], None
    for group in range(len(groups)):
        names = groups.schema(group).names
        if column not in names:
            raise ValueError(
                f"{groups.path(group)!r} must have a column {column!r}. "
                f"Received the columns {names}. Set `id_column`."
            )
        for row, name in enumerate(groups.values(group, column)):
            kind = kind or type(name)
            if (
                type(name) is not kind
                or kind not in (int, str)
                or (kind is int and abs(name) >= 2**63)
            ):
                raise ValueError(
                    f"{groups.path(group)!r}, row "
                    f"{groups.first_row(group) + row}: `id_column` {column!r} "
                    "must have whole numbers, or strings, in every row. "
                    f"Received: {short(name)}."
                )
            parts.append(name)
    ids = np.array(parts)
    unique, first = np.unique(ids, return_index=True)
    if len(unique) < len(ids):
        position = np.setdiff1d(np.arange(len(ids)), first)[0]
        file, row = groups.places(position)
        raise ValueError(
            f"{groups.paths[file]!r}, row {row}: ids must not be repeated. "
            f"Received again: {parts[position]!r}."
        )
    return ids


class RowGroups:
    """The row groups of Parquet files, numbered consecutively.

    Args:
        paths: Paths of Parquet files.

    Attributes:
        starts: `(G + 1,)` int64; group g has the rows
            `starts[g]:starts[g + 1]` of all.

    Raises:
        ValueError: A file is not Parquet, or no file has rows.
    """

    def __init__(self, paths):
        self.paths = list(paths)
        self._metadata = [_metadata(path) for path in self.paths]
        counts = [
            [file.row_group(g).num_rows for g in range(file.num_row_groups)]
            for file in self._metadata
        ]
        self._files = np.repeat(np.arange(len(counts)), [*map(len, counts)])
        flat = [n for rows in counts for n in rows]
        self.starts = np.concatenate([[0], np.cumsum(flat, dtype="int64")])
        if not self.starts[-1]:
            raise ValueError(f"{self.paths} must have rows. Received none.")
        first_groups = np.cumsum([0, *map(len, counts)])
        self._first_groups = first_groups[:-1]
        self._first_rows = self.starts[self._first_groups.clip(0, len(flat))]
        self._kept, self._lock = collections.OrderedDict(), threading.Lock()

    def __len__(self):
        return len(self._files)

    def __getstate__(self):
        """Return what goes to another process: no lock, nothing read."""
        state = dict(self.__dict__)
        del state["_lock"], state["_kept"], state["_metadata"]
        return state

    def __setstate__(self, state):
        """Take over the state of another process."""
        self.__dict__.update(state)
        self._metadata = [_metadata(path) for path in self.paths]
        self._kept, self._lock = collections.OrderedDict(), threading.Lock()

    def path(self, group):
        """Return the file of a row group."""
        return self.paths[self._files[group]]

    def first_row(self, group):
        """Return the position, in its file, of the first row of a group."""
        return int(self.starts[group] - self._first_rows[self._files[group]])

    def schema(self, group):
        """Return the Arrow schema of the file of a row group."""
        return self._metadata[self._files[group]].schema.to_arrow_schema()

    def find(self, positions):
        """Return the row group of each position, `(n,)`."""
        return np.searchsorted(self.starts, positions, side="right") - 1

    def places(self, positions):
        """Return the file number and the row in that file of positions."""
        files = self._files[self.find(positions)]
        return files, positions - self._first_rows[files]

    def read(self, group, columns):
        """Read columns of a row group, a `pyarrow.Table`.

        Raises:
            ValueError: They cannot be read; the error names the file.
        """
        file = self._files[group]
        inner = int(group - self._first_groups[file])
        try:
            with files_lib.opened(self.paths[file]) as opened:
                whole = pq.ParquetFile(opened, metadata=self._metadata[file])
                table = whole.read_row_group(inner, columns=columns)
            table.validate(full=True)  # Text need not be UTF-8.
            expected = int(self.starts[group + 1] - self.starts[group])
            if len(table) != expected:
                raise ValueError(f"{len(table)} rows, not {expected}")
            return table
        except _FAULTS as error:
            raise ValueError(
                f"{self.paths[file]!r}, row group {inner}, cannot be read: "
                f"{error}. Write or fetch the file again."
            ) from error

    def values(self, group, name):
        """Read a column of a row group as a list of Python values.

        Raises:
            ValueError: As `read`; or Python cannot represent a value.
        """
        column = self.read(group, [name])[name]
        try:
            return column.to_pylist()
        except _FAULTS as error:  # For example a date in the year 10^6.
            raise ValueError(
                f"{self.path(group)!r}, column {name!r}, cannot be read: "
                f"{error}. Write or fetch the file again."
            ) from error

    def column(self, group, name):
        """Return a column of a row group; keep the last ones in memory."""
        key = int(group), name
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        column = self.read(group, [name])[name]
        with self._lock:
            self._kept[key] = column
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return column


def _metadata(path):
    try:
        with files_lib.opened(path) as file:
            metadata = pq.read_metadata(file)
        metadata.schema.to_arrow_schema()
        return metadata
    except _FAULTS as error:
        raise ValueError(
            f"{path!r} is not a Parquet file: {error}. It may be cut short: "
            "write or fetch it again."
        ) from error
