"""Images listed in a CSV, JSON Lines or Parquet file with several labels."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from keras_jft.data.datasets.dataset import Info
from keras_jft.data.datasets.image_files import ImageFiles
from keras_jft.data.labels import LabelHierarchy


def load(
    path,
    split=None,
    *,
    directory=None,
    image_column="image",
    label_column="labels",
    separator=";",
    label_names=None,
    hierarchy=None,
    many=True,
):
    """The images of a manifest, in its order; ids are the paths it gives.

    Args:
        path: A `.csv`, `.jsonl` or `.parquet` file with a row an image. Labels
            are a list, or text split at `separator`; none is allowed.
        split: Keeps the rows whose column `split` says so. A file without
            this column is one split.
        directory: Folder that image paths are relative to; that of the file,
            if left out.
        image_column: Column of paths.
        label_column: Column of labels.
        separator: Between labels in a text.
        label_names: All labels, in the order of their ids; those of the file,
            sorted, if left out. Give it where files must agree on ids.
        hierarchy: As for `image_folder`; labels are its keys or names, are
            closed upward, and all of its labels keep their ids.
        many: Whether an example has a list of labels. If not, every row must
            name just one.

    Returns:
        A `Dataset` with many labels an example, or with one.

    Raises:
        ValueError: The file has another form or no rows, or names images that
            are missing or labels that are not known.
    """
    path = Path(path)
    table = _read(path)
    for column in (image_column, label_column):
        if column not in table:
            raise ValueError(
                f"{str(path)!r} must have a column {column!r}. Received the "
                f"columns {list(table)}. Set `image_column` or `label_column`."
            )
    table = _of_split(table, split, path)
    images = table[image_column].astype(str).tolist()
    directory = path.parent if directory is None else Path(directory)
    _check_once(images, path)
    _check_exist(directory, images, path)
    rows = [_as_list(cell, separator) for cell in table[label_column]]
    if hierarchy is not None:
        if not many:
            raise ValueError(
                "A hierarchy gives an image many labels. Received: "
                "many=False and a hierarchy. Leave one of them out."
            )
        if not isinstance(hierarchy, LabelHierarchy):
            hierarchy = LabelHierarchy.from_json(hierarchy)
        label_names = hierarchy.names
        labels = [hierarchy.close([*map(hierarchy.index, r)]) for r in rows]
    else:
        if label_names is None:
            label_names = sorted(set().union(*rows))
        labels = _to_ids(rows, label_names, path)
    counts = np.bincount(np.concatenate(labels), minlength=len(label_names))
    info = Info(
        num_examples=len(images),
        label_names=tuple(label_names),
        hierarchy=hierarchy,
        max_labels=max(1, *map(len, labels)) if many else None,
        class_counts=counts,
    )
    if not many:
        labels = _only_labels(labels, images, path)
    return ImageFiles(directory, images, labels.__getitem__, info)


def _only_labels(labels, images, path):
    for image, ids in zip(images, labels, strict=True):
        if len(ids) != 1:
            raise ValueError(
                f"With many=False every row of {str(path)!r} must have one "
                f"label. Received {len(ids)} for {image!r}."
            )
    return [ids[0] for ids in labels]


def _read(path):
    if not path.is_file():
        raise ValueError(
            f"`path` must be a file. Received: {str(path)!r}, which is none."
        )
    kind = path.suffix.lower()
    if kind == ".parquet":
        return pd.read_parquet(path)
    if kind == ".csv":
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    if kind != ".jsonl":
        raise ValueError(
            "`path` must end in .csv, .jsonl or .parquet. Received: "
            f"{str(path)!r}."
        )
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                row = error
            if not isinstance(row, dict):
                raise ValueError(
                    f"Every line of {str(path)!r} must be a JSON object. "
                    f"Line {number}: {row}."
                )
            rows.append(row)
    return pd.DataFrame(rows, dtype=object)  # No number becomes a float.


def _of_split(table, split, path):
    if split is not None and "split" in table:
        splits = table["split"].dropna().astype(str)
        known = sorted(set(splits))
        table = table.loc[splits.index[splits == split]]
        if table.empty:
            raise ValueError(
                f"`split` must be one of {known}, the splits of "
                f"{str(path)!r}. Received: {split!r}."
            )
    if table.empty:
        raise ValueError(f"{str(path)!r} must have rows. Received none.")
    return table


def _check_once(images, path):
    """Raises unless every row is of another image: they are ids."""
    seen = set()
    again = [name for name in images if name in seen or seen.add(name)]
    if again:
        raise ValueError(
            f"{str(path)!r} must have one row an image, with all of its "
            f"labels. Received {len(again)} rows of images that were there "
            f"before: {again[:5]}."
        )


def _check_exist(directory, images, path):
    """Raises unless every image is there; lists each folder only once."""
    folders = {os.path.dirname(image) for image in images}
    there = {
        os.path.join(folder, file)
        for folder in folders
        if (directory / folder).is_dir()
        for file in os.listdir(directory / folder)
    }
    missing = [image for image in images if image not in there]
    if missing:
        raise ValueError(
            f"Every image of {str(path)!r} must be in {str(directory)!r}. "
            f"Missing are {len(missing)} of {len(images)}: {missing[:5]}. "
            "Set `directory`, or drop their rows."
        )


def _as_list(cell, separator):
    """The labels of one cell, as text."""
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return []
    if isinstance(cell, str):
        cell = [label.strip() for label in cell.split(separator)]
    labels = [cell] if np.isscalar(cell) else cell
    return [str(label) for label in labels if str(label)]


def _to_ids(rows, label_names, path):
    ids = {name: label for label, name in enumerate(label_names)}
    if len(ids) < len(label_names):
        raise ValueError(
            "`label_names` must name each label once. Received: "
            f"{len(label_names) - len(ids)} names again."
        )
    unknown = sorted(set().union(*rows) - ids.keys())
    if unknown:
        raise ValueError(
            f"Every label of {str(path)!r} must be in `label_names`. Unknown: "
            f"{unknown[:5]}, {len(unknown)} in all."
        )
    return [
        np.array(sorted({ids[label] for label in row}), "int32") for row in rows
    ]
