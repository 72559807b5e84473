"""Shards of records, as TFRecord or ArrayRecord files, and their indices.

`Shard` and its two subclasses read a file at any place. `parse`, `shard_name`
and `index_path` define the names of files. `Index` is the index that is written
beside a shard; `writer` writes a shard.

Shapes: n records of a shard.
"""

import contextlib
import io
import re
import struct
import threading
import zipfile
import zlib

import numpy as np

from keras_jft import files, npy
from keras_jft.data.datasets.records import schema
from keras_jft.text import number_of

# The exceptions that `zipfile` and NumPy raise for damaged files.
_FAULTS = (
    ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError,
    TypeError, SyntaxError, OverflowError, struct.error,
)  # fmt: skip
_RANDOM = "readahead_buffer_size:0,max_parallelism:0"
KINDS = ("tfrecord", "array_record")
# Where the data of a record is and its checksum: 16 bytes per record.
_PLACE = np.dtype([("start", "<i8"), ("size", "<u4"), ("crc32", "<u4")])
# Bytes around the data: its length with a checksum, and the data's CRC32C.
_HEADER, _FOOTER = 12, 4


class Shard:
    """The records of one file, read at any place by any number of threads.

    Args:
        folder: Folder of the file and of its index.
        file: Its name.
        num_records: Number of records that it must have.
        first_id: Id of its first record if ids are consecutive; None: ids are
            in the index.
        id_type: `int` or `str`.

    Raises:
        ValueError: While reading: a file is damaged, or of another length.
    """

    def __init__(self, folder, file, num_records, first_id, id_type=int):
        self.path = f"{folder}/{file}"
        self.index_path = index_path(self.path)
        self.num_records, self.first_id = num_records, first_id
        self.id_type = id_type
        self._lock, self._found = threading.RLock(), None

    def __getstate__(self):
        return {**self.__dict__, "_lock": None, "_found": None}

    def __setstate__(self, state):
        self.__dict__.update(state, _lock=threading.RLock())

    has_places = False

    def where(self, place):
        """Return what errors call a record."""
        return f"record {place} of {self.path!r}"

    def ids_at(self, places):
        """Return the ids of records, `(n,)` int64 or str."""
        if self.first_id is not None:
            return self.first_id + places
        return self._index["ids"][places]

    def read(self, place):
        """Return the bytes of one record."""
        raise NotImplementedError

    def scan(self):
        """Yield all records in order, each checked."""
        raise NotImplementedError

    @property
    def _index(self):
        with self._lock:
            if self._found is None:
                self._found = self._load_index()
            return self._found

    def _load_index(self):
        folder, _, name = self.index_path.rpartition("/")
        if name not in files.list_folder(folder):
            return self._build_index()
        try:
            return self._checked(files.read_bytes(self.index_path))
        except (*_FAULTS, MemoryError) as error:
            raise ValueError(
                f"The index {self.index_path!r} is damaged: {error}. Delete "
                "it, and it will be built again from the records."
            ) from error

    def _checked(self, content):
        """Return the arrays of an index, of the types that are read."""
        index = {}
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                packed = member.compress_type != zipfile.ZIP_STORED
                if packed or member.file_size > len(content):
                    raise ValueError(f"{member.filename!r} is packed")
                name = member.filename.removesuffix(".npy")
                index[name] = npy.from_bytes(archive.read(member), "biufUV")
        needed = {"places"} if self.has_places else set()
        needed |= {"ids"} if self.first_id is None else set()
        if not needed <= index.keys():
            raise ValueError(f"it lacks {sorted(needed - index.keys())}")
        for key in needed:
            rows, kind = index[key], "U" if self.id_type is str else "i"
            right = rows.dtype.kind == kind
            if key == "places":
                right = rows.dtype == _PLACE
                right = right and (rows["start"] >= 0).all()
            if not right or rows.ndim != 1:
                raise ValueError(f"its {key} are {rows.dtype}, {rows.shape}")
            if len(rows) != self.num_records:
                raise ValueError(
                    f"it must have {self.num_records} {key}, not {len(rows)}"
                )
        return index

    def _build_index(self):
        """Build the index of a shard that lost it, and write it beside it."""
        index = Index(self.has_places)
        for place, record in enumerate(self.scan()):
            found = schema.stored_id(record, self.where(place))
            where = self.where(place)
            index.add(record, schema.id_of(found, self.id_type, where))
        if index.num_records != self.num_records:
            self._fail_count(index.num_records)
        index.write(self.index_path)
        return index.arrays()

    def _fail_count(self, received):
        raise ValueError(
            f"{self.path!r} must have {number_of(self.num_records, 'record')}. "
            f"Received: {received}. It is cut short, missing, or of another "
            "set: write or fetch it again."
        )


class TFRecordShard(Shard):
    """A TFRecord file, read at the places in its index."""

    has_places = True

    def read(self, place):
        """Return the bytes of one record."""
        start, size, crc32 = self._index["places"][place].item()
        record = files.read_range(self.path, start, size)
        if len(record) < size:
            raise ValueError(
                f"{self.where(place)} ends at byte {start + size}, the file "
                f"at {start + len(record)}. It is cut short: write or fetch "
                "it again."
            )
        if zlib.crc32(record) != crc32:
            raise ValueError(
                f"{self.where(place)}, byte {start} to {start + size}, is "
                "damaged: its checksum differs. Write or fetch the file again."
            )
        return record

    def scan(self):
        """Yield all records in order; TensorFlow checks their CRC32C."""
        tf = files.tensorflow("Reading records")
        with files.local_copy(self.path) as path, _named_errors(path, "read"):
            yield from tf.data.TFRecordDataset(str(path)).as_numpy_iterator()


class ArrayRecordShard(Shard):
    """An ArrayRecord file, which has its own index and checksums."""

    _reader = None

    def __getstate__(self):
        return {**super().__getstate__(), "_reader": None}

    def read(self, place):
        """Return the bytes of one record."""
        reader = self._open()
        try:
            return reader.read([int(place)])[0]
        except RuntimeError as error:
            raise ValueError(
                f"{self.where(place)} is damaged: {error}. Write or fetch the "
                "file again."
            ) from error

    def scan(self):
        """Yield all records in order."""
        return map(self.read, range(self.num_records))

    def _open(self):
        with self._lock:
            if self._reader is None:
                reader = array_record().ArrayRecordReader(self.path, _RANDOM)
                # A file that is missing or cut short has no records.
                if reader.num_records() != self.num_records:
                    self._fail_count(reader.num_records())
                self._reader = reader
            return self._reader


SHARDS = {"tfrecord": TFRecordShard, "array_record": ArrayRecordShard}


def parse(path):
    """Return folder, name, kind and number of shards of a path.

    The path has the form `DIR/NAME[.KIND]@SHARDS`. A name may contain dots, as
    in "train-v1.0", but not a word after the last of them.

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
    files.check_path("path", path, "gs://bucket/jft/train@128")
    files.check_utf8(path)
    found = re.fullmatch(
        r"(?:(.*)/)?([^/@]+?)(?:\.([a-zA-Z_]+))?@(\d+)", str(path)
    )
    if not found or not int(found[4]) or found[3] not in (None, *KINDS):
        raise ValueError(
            "`path` must be DIR/NAME@SHARDS, such as 'gs://bucket/jft/train"
            "@128', or DIR/NAME.array_record@SHARDS. A word after the last dot "
            f"must be one of {list(KINDS)}. Received: {str(path)!r}."
        )
    folder, name, kind, count = found.groups()
    folder = "." if folder is None else folder or "/"
    return folder, name, kind or KINDS[0], int(count)


def shard_name(name, kind, number, count):
    """Return the name of one shard.

    >>> shard_name("train", "tfrecord", 3, 16)
    'train.tfrecord-00003-of-00016'
    """
    return f"{name}.{kind}-{number:05}-of-{count:05}"


def index_path(path):
    """Return the path of a shard's index.

    >>> index_path("a/train.tfrecord-00003-of-00016")
    'a/train.index-00003-of-00016'
    """
    return re.sub(r"\.\w+-(\d+-of-\d+)$", r".index-\1", path)


class Index:
    """The index of a shard, built record by record.

    Args:
        has_places: Whether it stores where records are.
    """

    def __init__(self, has_places):
        self.has_places = has_places
        self.num_records = self._end = 0
        self._places, self._ids = [], []

    def add(self, record, id):
        """Add the next record of the file, and its id."""
        self._ids.append(id)
        if self.has_places:
            start = self._end + _HEADER
            self._places.append((start, len(record), zlib.crc32(record)))
            self._end = start + len(record) + _FOOTER
        self.num_records += 1

    @property
    def first_id(self):
        """The first id if all ids are consecutive integers, else None."""
        first, ids = (*self._ids, 0)[0], range(self.num_records)
        if isinstance(first, str):
            return None
        in_a_row = all(self._ids[i] == first + i for i in ids)
        return int(first) if in_a_row else None

    def arrays(self):
        """Return `{"places": (n,) _PLACE, "ids": (n,)}`, as far as needed."""
        arrays = {}
        if self.has_places:
            arrays["places"] = np.array(self._places, _PLACE)
        if self.first_id is None:
            arrays["ids"] = np.array(self._ids)
        return arrays

    def write(self, path):
        """Write the index, unless nothing of it is needed."""
        arrays = self.arrays()
        if arrays:
            content = io.BytesIO()
            np.savez(content, **arrays)
            files.write_bytes(path, content.getvalue())


# === Writing ===


@contextlib.contextmanager
def writer(path, kind):
    """Yield `write(record)`; the file gets its name if the block succeeds.

    Args:
        path: The file.
        kind: One of `KINDS`.

    Raises:
        OSError: It cannot be written.
    """
    files.remove_partial(path)
    with files.atomic_write(path) as partial, _named_errors(path, "written"):
        if kind == "tfrecord":
            tf = files.tensorflow("Writing records")
            with tf.io.TFRecordWriter(partial) as file:
                yield file.write
        else:
            with _array_record_writer(partial, path) as write:
                yield write


@contextlib.contextmanager
def _named_errors(path, doing):
    """Turn TensorFlow's errors of a file into `OSError`s that name it.

    Args:
        path: The file.
        doing: What was attempted, as a participle, such as "read".
    """
    errors = files.tensorflow("Reading and writing records").errors
    try:
        yield
    except errors.OpError as error:
        reason = str(error.message).strip() or type(error).__name__
        raise OSError(
            f"{str(path)!r} could not be {doing}: {reason}. Check that it "
            "exists, that you have permission, and that the disk is not full."
        ) from error


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
    """Import the library of ArrayRecord."""
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise ImportError(
            "ArrayRecord files need the package `array_record`, which is not "
            "installed. `pip install array_record`, or write TFRecord files."
        ) from error
    return array_record_module
