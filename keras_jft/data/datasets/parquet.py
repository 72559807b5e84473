"""Parquet files with a row an image and labels with probabilities, as COYO's.

References:
    COYO-Labeled-300M, 2022,
    https://huggingface.co/datasets/kakaobrain/coyo-labeled-300m: `labels` and
    `label_probs`, lists of the 50 likeliest of 21,841 classes.
"""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa

from keras_jft.data.datasets import filesystem
from keras_jft.data.datasets.dataset import Dataset, Info
from keras_jft.data.datasets.decoding import decode_image
from keras_jft.data.datasets.file_patterns import files_of, of_split
from keras_jft.data.datasets.label_rows import ExampleLabels, LabelRows
from keras_jft.data.datasets.parquet_labels import LabelColumns, LabelIndex
from keras_jft.data.datasets.row_groups import RowGroups
from keras_jft.data.labels import LabelHierarchy


def load(
    split=None,
    *,
    path,
    directory=None,
    image_column="image",
    id_column=None,
    label_column="labels",
    probability_column="label_probs",
    fields=("label", "probability"),
    threshold=0.0,
    unknown=None,
    label_names=None,
    hierarchy=None,
):
    """The images of Parquet files, in the order of their rows.

    Labels are read when the data set is loaded, one row group after another,
    and images when they are asked for, with their row group: files that hold
    the images and are read in random order want small ones, of about 100 rows
    (`pq.write_table(..., row_group_size=100)`).

    Args:
        split: What `{split}` stands for in `path` and `directory`.
        path: A file, a pattern with `*`, a folder of `.parquet` files, or a
            list of these; local or in a bucket (gs://, s3://).
        directory: Folder that paths of images are relative to; that of their
            Parquet file, if left out.
        image_column: Column of the files' bytes, of paths, or of structs with
            `bytes` and `path`. URLs are not followed.
        id_column: Column of ids, whole numbers or texts; `"file:row"`, rows
            counted from 0, if left out.
        label_column: Column of lists of labels, ids or names; or of lists of
            structs with a label and its probability. A row may have none.
        probability_column: Column of lists of as many probabilities; None:
            there are none. Structs do not need it.
        fields: Names of label and probability in a struct.
        threshold: Lowest probability of a label that is present.
        unknown: Lowest probability, below `threshold`, of a label that is
            unknown rather than absent: then examples have `unknown_labels`.
        label_names: All labels, in the order of their ids. Names that the
            files have, sorted, if left out; ids need it, or `hierarchy`.
        hierarchy: As for `image_folder`; labels are its keys, names or ids,
            and are closed upward.

    Returns:
        A `Dataset` with many labels an example. A label that a row has twice
        has the higher of its probabilities.

    Raises:
        ValueError: A file is no Parquet file, lacks a column or has no rows;
            lists of a row are not equally long, a label is unknown, a
            probability is not in 0..1, an id is there twice or an image is
            missing. The error names file and row.
    """
    if not 0 <= (unknown or 0) <= threshold <= 1:
        raise ValueError(
            "`threshold` and `unknown` must be in 0..1, `unknown` the lower. "
            f"Received: threshold={threshold}, unknown={unknown}."
        )
    if hierarchy is not None and not isinstance(hierarchy, LabelHierarchy):
        hierarchy = LabelHierarchy.from_json(hierarchy)
    groups = RowGroups(files_of(of_split(path, split), suffix=".parquet"))
    columns = LabelColumns(
        labels=label_column, probabilities=probability_column, fields=fields
    )
    if hierarchy is not None:
        label_names = hierarchy.names
    elif label_names is None:
        label_names = columns.label_names(groups)
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
    return ParquetImages(
        groups,
        image_column,
        _check_images(groups, image_column, of_split(directory, split)),
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
    """Images in, or named by, a column of Parquet files, and their labels.

    Args:
        groups: `RowGroups`.
        image_column: Name of the column.
        directory: Folder that paths are relative to; None: that of the file.
        labels: `ExampleLabels`.
        ids: `(N,)` ids; None: file and row.
        info: The data set's `Info`.
    """

    def __init__(self, groups, image_column, directory, labels, ids, info):
        self.groups, self.directory = groups, directory
        self._column, self._labels, self._ids = image_column, labels, ids
        self.info = info

    def ids(self, positions):
        """Those of the column, or `"file:row"`."""
        positions = np.asarray(positions)
        if self._ids is not None:
            return self._ids[positions]
        files, rows = self.groups.places(positions)
        names = np.array([f"{Path(p).name}:" for p in self.groups.paths])
        return np.char.add(names[files], rows.astype(str))

    def take(self, positions):
        """Examples at `positions`; each row group is read once."""
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
        """The image file."""
        source, _ = self._source(position, self.groups.find(position))
        if isinstance(source, bytes):
            return source
        return Path(source).read_bytes()

    def annotations(self, positions):
        """Labels and ids; no image is read."""
        ids = self.ids(positions).tolist()
        return [
            {**self._labels[position], "ids": name}
            for position, name in zip(positions, ids, strict=True)
        ]

    def _source(self, position, group):
        """Bytes or path of an image, and what errors call it."""
        row = int(position - self.groups.starts[group])
        value = self.groups.column(group, self._column)[row].as_py()
        path = self.groups.path(group)
        name = f"{path}, row {self.groups.first_row(group) + row}"
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, str):
            path = _place_of(value, path, self.directory)
            return filesystem.image_source(path), path
        return value or b"", name


def _place_of(value, path, directory):
    """The file of an image that a row of the file `path` names."""
    folder = os.path.dirname(path) if directory is None else str(directory)
    return os.path.join(folder, value)


def _check_images(groups, column, directory):
    """`directory`, if the column can hold images and its paths are files."""
    missing = []
    for group in range(len(groups)):
        path, schema = groups.path(group), groups.schema(group)
        kind = schema.field(column).type if column in schema.names else None
        if kind in (pa.binary(), pa.large_binary()) or (
            kind is not None and pa.types.is_struct(kind)
        ):
            continue
        if kind not in (pa.string(), pa.large_string()):
            raise ValueError(
                f"{path!r} must have a column {column!r} of bytes, paths or "
                f"structs of both. Received: {kind or schema.names}. Set "
                "`image_column`."
            )
        names = groups.read(group, [column])[column].to_pylist()
        missing += [
            f"{path}, row {groups.first_row(group) + row}: {name}"
            for row, name in enumerate(names)
            if not name
            or not filesystem.is_file(_place_of(name, path, directory))
        ]
    if missing:
        raise ValueError(
            f"Every path in {column!r} must be that of a file. Missing are "
            f"{len(missing)}: {missing[:5]}. Set `directory`; fetch what URLs "
            "name first."
        )
    return directory


def _read_ids(groups, column):
    """`(N,)` ids, int64 or str, of which none is there twice."""
    parts = []
    for group in range(len(groups)):
        names = groups.schema(group).names
        if column not in names:
            raise ValueError(
                f"{groups.path(group)!r} must have a column {column!r}. "
                f"Received the columns {names}. Set `id_column`."
            )
        parts += groups.read(group, [column])[column].to_pylist()
    kinds = {type(name) for name in parts}
    if kinds not in ({int}, {str}):
        raise ValueError(
            f"`id_column` {column!r} must have whole numbers or texts in every "
            f"row. Received: {sorted(kind.__name__ for kind in kinds)}."
        )
    ids = np.array(parts)
    unique, first = np.unique(ids, return_index=True)
    if len(unique) < len(ids):
        position = np.setdiff1d(np.arange(len(ids)), first)[0]
        file, row = groups.places(position)
        raise ValueError(
            f"{groups.paths[file]!r}, row {row}: an id must be there once. "
            f"Received again: {parts[position]!r}."
        )
    return ids
