"""Images and their labels listed in a CSV, JSON Lines or Parquet file."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_jft.data.dataset import Dataset, Info, warn_of_absent_classes
from keras_jft.data.datasets.image_files import ImageFiles
from keras_jft.data.datasets.image_paths import find_images
from keras_jft.data.datasets.parquet import RowGroups
from keras_jft.data.hierarchy import LabelHierarchy
from keras_jft.data.label_names import (
    almost,
    checked_names,
    labels_of,
    names_in,
)
from keras_jft.files import check_local, check_split
from keras_jft.text import number_of
from keras_jft.text_files import read_csv, read_json_lines, short
from keras_jft.typing import PathLike


def load(
    path: PathLike,
    split: str | None = None,
    *,
    directory: PathLike | None = None,
    image_column: str = "image",
    label_column: str = "labels",
    separator: str = ";",
    label_names: Sequence[str] | None = None,
    hierarchy: LabelHierarchy | Mapping[str, Any] | PathLike | None = None,
    many: bool = True,
    allow_outside: bool = False,
) -> Dataset:
    """Load the images of a manifest, in its order; their paths are the ids.

    Args:
        path: A `.csv`, `.jsonl` or `.parquet` file with one row per image, in
            UTF-8. Labels are strings or whole numbers: one label, a list, or a
            text split at `separator`. A row may have no labels.
        split: Keep the rows with this value in the column `split`; None: all
            rows. A file without this column is one split, "train" or the one
            in the name of the file or of its folder.
        directory: Folder that image paths are relative to; by default that of
            the file. Windows paths, another Unicode form of a name, and the
            folder's own name in front are understood.
        image_column: Name of the column of paths.
        label_column: Name of the column of labels.
        separator: What separates the labels in a cell.
        label_names: All labels, in the order of their ids; by default those of
            all rows of the file, whatever their split, sorted (whole numbers
            as numbers). Pass it if several files must agree on ids.
        hierarchy: As for `image_folder`; labels are its keys or names and are
            closed upward. All of its labels keep their ids.
        many: Whether an example has a list of labels. If not, every row must
            have exactly one.
        allow_outside: Whether `..` and absolute paths may leave `directory`.

    Returns:
        A `Dataset` with many labels per example, or with one.

    Raises:
        ValueError: The file has another form or no rows; an image is missing,
            a URL or outside the folder; or a label is unknown, or neither a
            text nor a whole number. The error names file and row.
    """
    check_local("path", path, "photos.csv")
    if not isinstance(many, (bool, np.bool)):
        raise ValueError(f"`many` must be True or False. Received: {many!r}.")
    path = Path(path)
    whole = _read(path, (image_column, label_column), split)
    table = _of_split(whole, split)
    images, where = table.columns[image_column], table.where
    directory = path.parent if directory is None else Path(directory)
    for position, image in enumerate(images):
        if not isinstance(image, str) or not image:
            raise ValueError(
                f"{where(position)}: `{image_column}` must be the path of an "
                f"image. Received: {short(image)}."
            )
    files = find_images(
        directory, images, repr(str(path)), allow_outside=allow_outside
    )
    _check_once(files, images, path)
    rows = _labels(table, label_column, separator)
    is_declared = label_names is not None and hierarchy is None
    if hierarchy is not None:
        if not many:
            raise ValueError(
                "A hierarchy gives an image many labels. Received: "
                "many=False and a hierarchy. Leave one of them out."
            )
        if not isinstance(hierarchy, LabelHierarchy):
            hierarchy = LabelHierarchy.from_json(hierarchy)
        label_names = hierarchy.names
        labels = _closed(rows, hierarchy, where)
    else:
        if not is_declared:
            # The names of all splits, so that splits agree on ids.
            rows_of_all = _labels(whole, label_column, separator)
            label_names = names_in(rows_of_all, whole.where)
        label_names = checked_names(label_names)
        labels = _to_ids(rows, label_names, where)
    counts = np.bincount(np.concatenate(labels), minlength=len(label_names))
    part = f"row of {str(path)!r}" + (f", {split!r}" if split else "")
    if is_declared or not label_names:
        warn_of_absent_classes(
            label_names,
            counts,
            part,
            "Check `label_names`, `label_column`, `split`.",
        )
    info = Info(
        num_examples=len(images),
        label_names=tuple(label_names),
        hierarchy=hierarchy,
        max_labels=max(1, *map(len, labels)) if many else None,
        class_counts=counts,
    )
    if not many:
        labels = _only_labels(labels, images, path)
    return ImageFiles(directory, files, labels.__getitem__, info, ids=images)


# === Files ===


@dataclasses.dataclass(frozen=True)
class _Table:
    """Columns of a file.

    Attributes:
        path: The file.
        columns: `{name: one value per row}`.
        unit: What errors call a row, "line" or "row".
        numbers: The number of each row.
    """

    path: Path
    columns: dict
    unit: str
    numbers: list

    def where(self, position):
        """Return what errors call a row."""
        return f"{str(self.path)!r}, {self.unit} {self.numbers[position]}"

    def rows_at(self, positions):
        """Return the table of some rows."""
        columns = {
            name: [values[i] for i in positions]
            for name, values in self.columns.items()
        }
        numbers = [self.numbers[i] for i in positions]
        return dataclasses.replace(self, columns=columns, numbers=numbers)


def columns_of(path):
    """Return the names of the columns of a file; [] of another kind of file.

    Args:
        path: As for `load`. Of JSON Lines, the first line counts.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".csv":
        return next((row for _, row in read_csv(path)), [])
    if suffix == ".parquet":
        return list(RowGroups([str(path)]).schema(0).names)
    if suffix == ".jsonl":
        _, first = next(read_json_lines(path), (1, None))
        return list(first) if isinstance(first, dict) else []
    return []


def splits_of(path):
    """Return the different values of the column `split`, in their order.

    Args:
        path: As for `load`.
    """
    names = _read(Path(path), ("split",), None).columns["split"]
    return list(dict.fromkeys(str(name) for name in names if name))


def _read(path, needed, split):
    """Read the columns `needed`, and `split` if there is one, of a file."""
    if not path.is_file():
        raise ValueError(
            f"`path` must be a file. Received: {str(path)!r}, which is not one."
        )
    readers = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
    if path.suffix.lower() not in readers:
        raise ValueError(
            "`path` must end in .csv, .jsonl or .parquet. Received: "
            f"{str(path)!r}."
        )
    return readers[path.suffix.lower()](path, needed, split)


def _wanted(path, given, needed, split):
    """Return names of the columns to read."""
    for column in needed:
        if column not in given:
            hint = _hint(given, column)
            _fail(path, given, column, f"{hint}Set `image_column` or "
                  "`label_column`.")  # fmt: skip
    if split is not None and "split" not in given:
        hint, remedy = _hint(given, "split"), "pass split=None for all rows."
        if hint:
            _fail(path, given, "split", f"{hint}Or {remedy}")
        check_split(split, path, f"Add a column 'split', or {remedy}")
    return dict.fromkeys((*needed, *({"split"} & set(given))))


def _fail(path, given, column, remedy):
    raise ValueError(
        f"{str(path)!r} must have a column {column!r}. Received the columns "
        f"{short(given)}. {remedy}"
    )


def _hint(given, column):
    """Return a sentence on a column that is almost right, or ""."""
    for name in given:
        if name.strip().casefold() == str(column).casefold():
            return f"Rename {name!r} to {column!r}. "
    if len(given) == 1 and given[0].startswith("sep="):
        return "Remove the first line, which is for Excel. "
    if len(given) == 1 and column in re.split("[;\t|]", given[0]):
        return "Separate the cells by commas. "
    return ""


def _csv(path, needed, split):
    lines = read_csv(path)
    _, header = next(lines, (1, []))
    # Skip the index that `DataFrame.to_csv` writes, a column without a name.
    wanted = _wanted(path, [name for name in header if name], needed, split)
    rows, numbers = [], []
    for number, row in lines:
        if len(row) != len(header):
            raise ValueError(
                f"{str(path)!r}, line {number}: there must be a cell for each "
                f"of the {number_of(len(header), 'column')}. Received: "
                f"{short(row)}. The line may be cut short, or a cell with "
                "commas is not quoted."
            )
        rows.append(row)
        numbers.append(number)
    for name in wanted:
        if header.count(name) > 1:
            raise ValueError(
                f"{str(path)!r} must have each column once. Received "
                f"{header.count(name)} columns {name!r}."
            )
    columns = {
        name: [row[header.index(name)] for row in rows] for name in wanted
    }
    return _Table(path, columns, "line", numbers)


def _jsonl(path, needed, split):
    rows, numbers = [], []
    for number, row in read_json_lines(path):
        if not isinstance(row, dict):
            raise ValueError(
                f"{str(path)!r}, line {number}: every line must be a JSON "
                f"object. Received: {short(row)}."
            )
        rows.append(row)
        numbers.append(number)
    given = dict.fromkeys(name for row in rows for name in row)
    columns = {
        name: [row.get(name) for row in rows]
        for name in (
            _wanted(path, list(given), needed, split) if rows else needed
        )
    }
    return _Table(path, columns, "line", numbers)


def _parquet(path, needed, split):
    groups = RowGroups([str(path)])
    columns = {
        name: [
            value
            for group in range(len(groups))
            for value in groups.values(group, name)
        ]
        for name in _wanted(path, groups.schema(0).names, needed, split)
    }
    return _Table(path, columns, "row", range(int(groups.starts[-1])))


def _of_split(table, split):
    splits = table.columns.get("split")
    if split is not None and splits is not None:
        splits = [None if name is None else str(name) for name in splits]
        positions = [i for i, name in enumerate(splits) if name == str(split)]
        if not positions:
            known = sorted({name for name in splits if name})
            raise ValueError(
                f"`split` must be one of {short(known)}, the splits of "
                f"{str(table.path)!r}. Received: {split!r}."
            )
        table = table.rows_at(positions)
    if not len(table.numbers):
        raise ValueError(f"{str(table.path)!r} must have rows. Received none.")
    return table


def _check_once(files, images, path):
    """Raise `ValueError` if two rows are of the same image."""
    seen = set()
    again = [
        image
        for file, image in zip(files, images, strict=True)
        if file in seen or seen.add(file)
    ]
    if again:
        raise ValueError(
            f"{str(path)!r} must have one row per image, with all of its "
            f"labels. Received {number_of(len(again), 'row')} of images that "
            f"an earlier row has: {again[:5]}."
        )


# === Labels ===


def _labels(table, column, separator):
    """Return the labels of each row, as the file names them."""
    return [
        labels_of(cell, table.where(position), separator)
        for position, cell in enumerate(table.columns[column])
    ]


def _only_labels(labels, images, path):
    for image, ids in zip(images, labels, strict=True):
        if len(ids) != 1:
            raise ValueError(
                f"With many=False every row of {str(path)!r} must have one "
                f"label. Received {len(ids)} for {image!r}."
            )
    return [ids[0] for ids in labels]


def _closed(rows, hierarchy, where):
    """Return label ids of each row, closed upward."""
    labels = []
    for position, row in enumerate(rows):
        try:
            ids = [hierarchy.index(str(label)) for label in row]
        except ValueError as error:
            raise ValueError(f"{where(position)}: {error}") from None
        labels.append(hierarchy.close(ids))
    return labels


def _to_ids(rows, label_names, where):
    ids = {name: label for label, name in enumerate(label_names)}
    rows = [[*map(str, row)] for row in rows]
    for position, row in enumerate(rows):
        unknown = [label for label in row if label not in ids]
        if unknown:
            more = len(set().union(*rows) - ids.keys())
            raise ValueError(
                f"{where(position)}: every label must be in `label_names`. "
                f"Unknown: {short(unknown)}{almost(unknown[0], ids)}, of "
                f"{more} that are in the file."
            )
    return [
        np.array(sorted({ids[label] for label in row}), "int32") for row in rows
    ]
