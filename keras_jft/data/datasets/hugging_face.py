"""Data sets that the library `datasets` of Hugging Face saved to disk.

`dataset.save_to_disk(folder)` writes Arrow files, which are mapped, not loaded,
and need no other library than pyarrow.

References:
    https://huggingface.co/docs/datasets/process#save
"""

import functools
from pathlib import Path

import numpy as np
import pyarrow as pa

from keras_jft.data.dataset import Dataset, Info
from keras_jft.data.images import decode_image
from keras_jft.data.label_names import labels_of, names_in
from keras_jft.text_files import read_json, short
from keras_jft.typing import PathLike

_IMAGES = ("image", "img", "images")
_LABELS = ("label", "labels", "fine_label")


def load(
    directory: PathLike,
    split: str | None = None,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
) -> Dataset:
    """Load the rows of a saved data set; ids are their positions.

    Args:
        directory: The folder that `save_to_disk` wrote.
        split: The split of a `DatasetDict`; None for a single `Dataset`.
        image_column: By default the first of "image", "img" and "images".
        label_column: By default the first of "label", "labels" and
            "fine_label". One label per image, or a list.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: The folder holds no such data set or no such split or
            column, an image is not stored in it, or a label is not a class.
    """
    folder = Path(directory) if split is None else Path(directory, split)
    known = splits(directory)
    if split is None and known:
        raise ValueError(
            f"{str(directory)!r} has the splits {list(known)}. Received: "
            "split=None. Pass one of them."
        )
    if not (folder / "state.json").is_file():
        raise ValueError(
            f"{str(folder)!r} must be a folder that `save_to_disk` wrote. "
            f"Received none. Splits: {list(known)}."
        )
    features = read_json(folder / "dataset_info.json").get("features") or {}
    table = table_of(folder)
    image_column = _column(folder, table, image_column, _IMAGES, "image_column")
    label_column = _column(folder, table, label_column, _LABELS, "label_column")
    return SavedRows(
        folder, image_column, table[label_column], features.get(label_column)
    )


def splits(directory):
    """Return the splits of a saved `DatasetDict`; () of a single data set."""
    path = Path(directory, "dataset_dict.json")
    return tuple(read_json(path)["splits"]) if path.is_file() else ()


def table_of(folder):
    """Return the rows of a data set, mapped from its files, as a table.

    Args:
        folder: The folder of one split.

    Raises:
        ValueError: A file is damaged, or there are no rows.
    """
    files = [
        file["filename"]
        for file in read_json(folder / "state.json")["_data_files"]
    ]
    parts = []
    for name in files:
        path = folder / Path(name).name
        try:
            with pa.memory_map(str(path)) as mapped:
                parts.append(pa.ipc.open_stream(mapped).read_all())
        except (pa.ArrowException, OSError) as error:
            raise ValueError(
                f"{str(path)!r} cannot be read as Arrow: {error}."
            ) from None
    if not parts or not sum(part.num_rows for part in parts):
        raise ValueError(f"{str(folder)!r} must have rows. Received none.")
    return pa.concat_tables(parts)


def _column(folder, table, name, usual, argument):
    found = [n for n in ([name] if name else usual) if n in table.column_names]
    if not found:
        raise ValueError(
            f"`{argument}` must be a column of {str(folder)!r}, which has "
            f"{table.column_names}. Received: {name!r}."
        )
    return found[0]


class SavedRows(Dataset):
    """Rows of Arrow tables: images as stored files, and labels.

    Args:
        folder: The folder of the rows.
        image_column: The column of `{"bytes", "path"}`.
        labels: Column of numbers or texts, or of lists.
        feature: What the data set says of labels, or None.
    """

    def __init__(self, folder, image_column, labels, feature):
        self._folder, self._image_column = str(folder), image_column
        rows = labels.to_pylist()
        many = any(isinstance(row, list) for row in rows)
        names = _names(feature)
        where = "row {} of the labels".format
        cells = [labels_of(row, where(i)) for i, row in enumerate(rows)]
        if names is None:
            names = names_in(cells, where)
            ids = {name: i for i, name in enumerate(names)}
            self._labels = [[ids[str(cell)] for cell in row] for row in cells]
        else:
            self._labels = [[int(cell) for cell in row] for row in cells]
        for i, row in enumerate(self._labels):
            wrong = not many and len(row) != 1
            if wrong or not all(0 <= label < len(names) for label in row):
                raise ValueError(
                    f"{where(i)} must be one of {len(names)} classes. "
                    f"Received: {short(rows[i])}."
                )
        self._many = many
        self.info = Info(
            num_examples=len(rows),
            label_names=tuple(names),
            max_labels=max(1, *map(len, self._labels)) if many else None,
            class_counts=np.bincount(
                [label for row in self._labels for label in set(row)],
                minlength=len(names),
            ),
        )

    @functools.cached_property
    def _images(self):
        return table_of(Path(self._folder))[self._image_column]

    def __getstate__(self):
        """Return what goes to another process, which maps the files itself."""
        return {k: v for k, v in vars(self).items() if k != "_images"}

    def ids(self, positions):
        """Return the positions, int64."""
        return np.asarray(positions, "int64")

    def image_bytes(self, position):
        """Return the stored file of an image."""
        found = self._images[int(position)].as_py()
        content = found.get("bytes") if isinstance(found, dict) else None
        if content is None:
            raise ValueError(
                f"The image of row {position} must be stored in the data set. "
                f"Received: {short(found)}, the name of a file elsewhere."
            )
        return content

    def __getitem__(self, position):
        position = self._position(position)
        pixels = decode_image(self.image_bytes(position), f"row {position}")
        return {"images": pixels, **self._annotations(position)}

    def annotations(self, positions):
        """Return labels and ids without decoding an image."""
        return [self._annotations(int(position)) for position in positions]

    def _annotations(self, position):
        labels = self._labels[position]
        labels = np.unique(labels) if self._many else np.array(labels[0])
        return {"labels": labels.astype("int32"), "ids": int(position)}


def _names(feature):
    """Return the names of a `ClassLabel`, or of a list of them, or None."""
    while isinstance(feature, dict) and "feature" in feature:
        feature = feature["feature"]
    if isinstance(feature, list) and feature:
        feature = feature[0]
    return feature.get("names") if isinstance(feature, dict) else None
