"""Files of records: their names, indices, and how they are written.

A shard of the set `DIR/train` is `DIR/train.tfrecord-00003-of-00016`. Its index
`DIR/train.index-00003-of-00016`, an `.npz` file, has where each record lies
(TFRecord only) and the examples' ids (where they are not their positions).
"""

import contextlib
import io
import os
import re
import tempfile
import zlib

import numpy as np

from keras_jft import files

KINDS = ("tfrecord", "array_record")
# Where a record's data lies and what it must be: 16 bytes a record.
PLACE = np.dtype([("start", "<i8"), ("size", "<u4"), ("crc32", "<u4")])
# Around the data: its length with a checksum, and the data's CRC32C.
_HEADER, _FOOTER = 12, 4


def parse(path):
    """`(folder, name, kind, number of shards)` of `DIR/name[.kind]@16`.

    A name may have dots, "train-v1.0", but no word after the last one.

    Raises:
        ValueError: It has another form, or is not UTF-8.

    Example:

    >>> parse("gs://bucket/jft/train@128")
    ('gs://bucket/jft', 'train', 'tfrecord', 128)
    >>> parse("val.array_record@2")
    ('.', 'val', 'array_record', 2)
    >>> parse("train-v1.0@1")
    ('.', 'train-v1.0', 'tfrecord', 1)
    """
    files.check_utf8(path)
    found = re.fullmatch(
        r"(?:(.*)/)?([^/@]+?)(?:\.([a-zA-Z_]+))?@(\d+)", str(path)
    )
    if not found or not int(found[4]) or found[3] not in (None, *KINDS):
        raise ValueError(
            "`path` must be DIR/NAME@SHARDS, such as 'gs://bucket/jft/train"
            "@128', or DIR/NAME.array_record@SHARDS. A word after a dot is of "
            f"{list(KINDS)}, numbers are of the name. Received: {str(path)!r}."
        )
    folder, name, kind, count = found.groups()
    folder = "." if folder is None else folder or "/"
    return folder, name, kind or KINDS[0], int(count)


def shard_name(name, kind, number, count):
    """Name of one shard.

    >>> shard_name("train", "tfrecord", 3, 16)
    'train.tfrecord-00003-of-00016'
    """
    return f"{name}.{kind}-{number:05}-of-{count:05}"


def index_path(path):
    """Path of a shard's index.

    >>> index_path("a/train.tfrecord-00003-of-00016")
    'a/train.index-00003-of-00016'
    """
    return re.sub(r"\.\w+-(\d+-of-\d+)$", r".index-\1", path)


class Index:
    """The index of a shard, grown record by record.

    Args:
        has_places: Whether it says where records lie.
    """

    def __init__(self, has_places):
        self.has_places = has_places
        self.num_records = self._end = 0
        self._places, self._ids = [], []

    def add(self, record, id):
        """Takes the next record of the file, and its id."""
        self._ids.append(id)
        if self.has_places:
            start = self._end + _HEADER
            self._places.append((start, len(record), zlib.crc32(record)))
            self._end = start + len(record) + _FOOTER
        self.num_records += 1

    @property
    def first_id(self):
        """The first id where all are integers in a row, else None."""
        first, ids = (*self._ids, 0)[0], range(self.num_records)
        if isinstance(first, str):
            return None
        in_a_row = all(self._ids[i] == first + i for i in ids)
        return int(first) if in_a_row else None

    def arrays(self):
        """`{"places": (n,) PLACE, "ids": (n,)}`, what is needed of it."""
        arrays = {}
        if self.has_places:
            arrays["places"] = np.array(self._places, PLACE)
        if self.first_id is None:
            arrays["ids"] = np.array(self._ids)
        return arrays

    def write(self, path):
        """Writes it, unless nothing of it is needed."""
        arrays = self.arrays()
        if arrays:
            content = io.BytesIO()
            np.savez(content, **arrays)
            files.write_bytes(path, content.getvalue())


# === Writing ===


@contextlib.contextmanager
def writer(path, kind):
    """Gives `write(record)`; the file gets its name when the block ends well.

    Args:
        path: The file.
        kind: One of `KINDS`.

    Raises:
        OSError: It cannot be written.
    """
    with (
        files.whole(path) as partial,
        files.named_errors(path, "written"),
    ):
        if kind == "tfrecord":
            tf = files.tensorflow("Writing records")
            with tf.io.TFRecordWriter(partial) as file:
                yield file.write
        elif files.is_local(path):
            with _array_record_writer(partial, path) as write:
                yield write
        else:
            # The library of ArrayRecord writes local files alone.
            with tempfile.TemporaryDirectory() as folder:
                local = os.path.join(folder, "shard")
                with _array_record_writer(local, path) as write:
                    yield write
                files.gfile().copy(local, partial, overwrite=True)


@contextlib.contextmanager
def _array_record_writer(file, path):
    writer = array_record().ArrayRecordWriter(file, "group_size:1")

    def named(method):
        def call(*arguments):
            try:
                method(*arguments)
            except RuntimeError as error:
                raise OSError(
                    f"{path!r} could not be written: {error}."
                ) from error

        return call

    try:
        yield named(writer.write)
    finally:
        named(writer.close)()


def array_record():
    """The library of ArrayRecord."""
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise ImportError(
            "ArrayRecord files need the package `array_record`, which is not "
            "installed. `pip install array_record`, or write TFRecord files."
        ) from error
    return array_record_module
