"""A cache of examples: decoded once, then read from memory or from disk."""

import concurrent.futures
import hashlib
import math
import os

import numpy as np

from keras_jft import files, npy
from keras_jft.data.batch import BOX_EXTRAS
from keras_jft.data.dataset import Dataset, Wrapped, check_data, probes
from keras_jft.text_files import claim_folder
from keras_jft.typing import PathLike

_CHUNK = 512  # Examples that are built together.
# The column of each entry of `bounding_boxes`.
_BOX_COLUMNS = {"boxes": "boxes"} | {
    key: f"box_{key}" for key in ("labels", *BOX_EXTRAS)
}


def cache(data: Dataset, directory: PathLike | None = None) -> Dataset:
    """Return the same examples, each read from `data` once, here and now.

    Random access to the result costs a few array reads. On disk, the examples
    are `.npz` files that are mapped, not loaded, so they may be larger than
    memory. Each is written whole or not at all, and an interrupted build
    continues where it stopped.

    Args:
        data: A `Dataset`.
        directory: Folder that keeps the examples for later runs; by default
            they are kept in memory. What a URL keeps is also copied to the disk
            for temporary files, while it is in use. The folder recognizes its
            data set by the number of examples, the classes and their counts,
            if known, and 64 probed examples. Use another folder for a data set
            that differs from the cached one in any other way.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: An example cannot be read; or `directory` is the cache of
            another data set.
    """
    check_data(data)
    if directory is not None:
        folder = files.as_path("directory", directory, "cache/photos")
        claimed = {"num_examples": len(data), "fingerprint": _digest(data)}
        claim_folder(folder, "cache.json", claimed, "a cache")

    def chunk(start):
        if directory is None:
            return _columns(data, start)
        path = folder / f"{start // _CHUNK:06}.npz"
        if not path.exists():
            _write(path, _columns(data, start))
        return _map(path)

    return Cache(data, _parallel(chunk, range(0, len(data), _CHUNK)))


class Cache(Wrapped):
    """Examples of a data set held as columns of arrays, chunk by chunk.

    Args:
        data: The `Dataset` they came from, which provides `info` and `ids`.
        chunks: One `{key: _Column}` per `_CHUNK` examples.
    """

    def __init__(self, data, chunks):
        super().__init__(data)
        self._chunks = chunks

    # From the cache: `data` may have to decode images for its annotations.
    annotations = Dataset.annotations

    def take(self, positions):
        """Return examples at `positions`, as views of the cache."""
        positions = np.asarray(positions)
        ids = np.asarray(self.ids(positions)).tolist()
        return [
            {**self._read(*divmod(position, _CHUNK)), "ids": id}
            for position, id in zip(positions.tolist(), ids, strict=True)
        ]

    def _read(self, chunk, row):
        example = {
            key: column[row] for key, column in self._chunks[chunk].items()
        }
        if "boxes" in example:
            example["bounding_boxes"] = {
                key: example.pop(column)
                for key, column in _BOX_COLUMNS.items()
                if column in example
            }
        return example


class _Column:
    """Arrays of possibly different shapes, concatenated into one."""

    def __init__(self, values, shapes):
        self.values, self.shapes = values, shapes
        self._shapes = [tuple(shape) for shape in shapes.tolist()]
        sizes = shapes.prod(axis=1, dtype="int64")
        self._stops = np.cumsum(sizes).tolist()
        self._starts = [0, *self._stops[:-1]]

    def __getitem__(self, row):
        flat = self.values[self._starts[row] : self._stops[row]]
        return flat.reshape(self._shapes[row])[()]

    @classmethod
    def checked(cls, values, shapes):
        """Return the column that a file holds, checked.

        Raises:
            ValueError: The shapes do not match the number of values.
        """
        whole = shapes.ndim == 2 and shapes.dtype.kind == "i"
        if not whole or values.ndim != 1 or (shapes < 0).any():
            raise ValueError(f"its shapes are {shapes.shape}, or negative")
        # Python's integers do not overflow.
        count = sum(map(math.prod, shapes.tolist()))
        if count != len(values):
            raise ValueError(f"{count} values are expected, not {len(values)}")
        return cls(values, shapes)

    @classmethod
    def of(cls, arrays):
        """Return the column of a list of arrays of one rank."""
        shapes = np.array([array.shape for array in arrays], "int64")
        values = np.concatenate([array.reshape(-1) for array in arrays])
        # Readers get views, which must be read-only.
        values.flags.writeable = False
        return cls(values, shapes.reshape(len(arrays), -1))


def _columns(data, start):
    """Return `{key: _Column}` of the chunk that starts at position `start`."""
    positions = np.arange(start, min(start + _CHUNK, len(data)))
    rows = [_flat(example) for example in data.take(positions)]
    return {
        key: _Column.of([row[key] for row in rows])
        for key in rows[0]
        if key != "ids"
    }


def _flat(example):
    """Return `{key: array}`, with boxes and their labels beside the rest."""
    flat = dict(example)
    if "bounding_boxes" in flat:
        entry = flat.pop("bounding_boxes")
        flat |= {_BOX_COLUMNS[key]: rows for key, rows in entry.items()}
    return {key: np.asarray(value) for key, value in flat.items()}


# === On disk ===


def _digest(data):
    """Return a digest of the probed examples and of the classes.

    Unlike ids, it changes with labels and pixels. Reading the whole data set
    would cost as much as the cache saves.
    """
    digest = hashlib.blake2b(digest_size=16)
    counts = data.info.class_counts
    known = data.info.label_names, None if counts is None else counts.tolist()
    digest.update(repr(known).encode())
    for example in data.take(probes(data)):
        for key, array in sorted(_flat(example).items()):
            digest.update(f"{key} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def _write(path, columns):
    arrays = {}
    for key, column in columns.items():
        arrays |= {key: column.values, f"{key}.shapes": column.shapes}
    with files.atomic_write(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)


def _map(path):
    """Return the `{key: _Column}` of a chunk in a file."""
    with files.local_copy(path) as copy:
        try:
            arrays = npy.from_archive(copy)
            return {
                key: _Column.checked(values, arrays[f"{key}.shapes"])
                for key, values in arrays.items()
                if not key.endswith(".shapes")
            }
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"The cached chunk {str(path)!r} is damaged: {error}. Delete "
                "it, and it will be built again."
            ) from error


def _parallel(function, jobs):
    """Return `[function(job) for job in jobs]`, on all cores."""
    executor = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    try:
        return list(executor.map(function, jobs))
    finally:
        executor.shutdown(cancel_futures=True)
