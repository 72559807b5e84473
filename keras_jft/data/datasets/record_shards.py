"""Shards of records, read at any place: TFRecord and ArrayRecord."""

import io
import struct
import threading
import zipfile
import zlib

from keras_jft import files, npy
from keras_jft.data.datasets import record_files, record_schema

# What `zipfile` and `np.load` raise of damaged files.
_FAULTS = (
    ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError,
    TypeError, SyntaxError, OverflowError, struct.error,
)  # fmt: skip
_RANDOM = "readahead_buffer_size:0,max_parallelism:0"


class Shard:
    """The records of one file, read at any place by any number of threads.

    Args:
        folder: Folder of the file and of its index.
        file: Its name.
        num_records: Records that it must hold.
        first_id: Id of its first record where ids are consecutive; None: they
            are in the index.
        id_type: `int` or `str`.

    Raises:
        ValueError: While reading: a file is damaged, or of another length.
    """

    def __init__(self, folder, file, num_records, first_id, id_type=int):
        self.path = f"{folder}/{file}"
        self.index_path = record_files.index_path(self.path)
        self.num_records, self.first_id = num_records, first_id
        self.id_type = id_type
        self._lock, self._found = threading.RLock(), None

    def __getstate__(self):
        return {**self.__dict__, "_lock": None, "_found": None}

    def __setstate__(self, state):
        self.__dict__.update(state, _lock=threading.RLock())

    has_places = False

    def where(self, place):
        """What errors call a record."""
        return f"record {place} of {self.path!r}"

    def ids_at(self, places):
        """The ids of records, `(n,)` int64 or str."""
        if self.first_id is not None:
            return self.first_id + places
        return self._index["ids"][places]

    def read(self, place):
        """The bytes of one record."""
        raise NotImplementedError

    def scan(self):
        """All records in order, read from end to end; checks each."""
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
                "it; it is then built again from the records."
            ) from error

    def _checked(self, content):
        """The arrays of an index's bytes, of the types that are read."""
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
                right = rows.dtype == record_files.PLACE
                right = right and (rows["start"] >= 0).all()
            if not right or rows.ndim != 1:
                raise ValueError(f"its {key} are {rows.dtype}, {rows.shape}")
            if len(rows) != self.num_records:
                raise ValueError(
                    f"it must have {self.num_records} {key}, not {len(rows)}"
                )
        return index

    def _build_index(self):
        """The index of a shard that has lost it, written beside it."""
        index = record_files.Index(self.has_places)
        for place, record in enumerate(self.scan()):
            found = record_schema.stored_id(record, self.where(place))
            where = self.where(place)
            index.add(record, record_schema.id_of(found, self.id_type, where))
        if index.num_records != self.num_records:
            self._fail_count(index.num_records)
        index.write(self.index_path)
        return index.arrays()

    def _fail_count(self, received):
        raise ValueError(
            f"{self.path!r} must hold {self.num_records} records. Received: "
            f"{received}. It is cut short, missing, or of another set: write "
            "or fetch it again."
        )


class TFRecordShard(Shard):
    """A TFRecord file, read where its index says."""

    has_places = True

    def read(self, place):
        """The bytes of one record."""
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
        """All records in order, by TensorFlow, which checks their CRC32C."""
        tf = files.tensorflow("Reading records")
        with files.named_errors(self.path, "read"):
            yield from tf.data.TFRecordDataset(self.path).as_numpy_iterator()


class ArrayRecordShard(Shard):
    """An ArrayRecord file, which has its own index and checksums."""

    _reader = None

    def __getstate__(self):
        return {**super().__getstate__(), "_reader": None}

    def read(self, place):
        """The bytes of one record."""
        reader = self._open()
        try:
            return reader.read([int(place)])[0]
        except RuntimeError as error:
            raise ValueError(
                f"{self.where(place)} is damaged: {error}. Write or fetch the "
                "file again."
            ) from error

    def scan(self):
        """All records in order."""
        return map(self.read, range(self.num_records))

    def _open(self):
        with self._lock:
            if self._reader is None:
                reader = record_files.array_record().ArrayRecordReader(
                    self.path, _RANDOM
                )
                # A file that is missing or cut short has none.
                if reader.num_records() != self.num_records:
                    self._fail_count(reader.num_records())
                self._reader = reader
            return self._reader


SHARDS = {"tfrecord": TFRecordShard, "array_record": ArrayRecordShard}
