"""The row groups of Parquet files, read one at a time.

Shapes: G row groups of all files.
"""

import collections
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keras_jft import files as files_lib

# What pyarrow raises of damaged files; names may not be UTF-8.
_FAULTS = (pa.ArrowException, OSError, ValueError, OverflowError)
# Row groups whose column stays in memory: enough for the threads of one
# pipeline to read neighboring rows.
_KEPT = 16


class RowGroups:
    """Row groups, numbered through all files, and which rows they hold.

    Args:
        paths: Paths of Parquet files.

    Attributes:
        starts: `(G + 1,)` int64; group g has the rows
            `starts[g]:starts[g + 1]` of all.

    Raises:
        ValueError: A file is no Parquet file, or none has rows.
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
        """What goes to another process: no lock, nothing that was read."""
        state = dict(self.__dict__)
        del state["_lock"], state["_kept"], state["_metadata"]
        return state

    def __setstate__(self, state):
        """Takes the state of another process."""
        self.__dict__.update(state)
        self._metadata = [_metadata(path) for path in self.paths]
        self._kept, self._lock = collections.OrderedDict(), threading.Lock()

    def path(self, group):
        """The file of a row group."""
        return self.paths[self._files[group]]

    def first_row(self, group):
        """Position, in its file, of the first row of a group."""
        return int(self.starts[group] - self._first_rows[self._files[group]])

    def schema(self, group):
        """The Arrow schema of the file of a row group."""
        return self._metadata[self._files[group]].schema.to_arrow_schema()

    def find(self, positions):
        """The row group of each position, `(n,)`."""
        return np.searchsorted(self.starts, positions, side="right") - 1

    def places(self, positions):
        """File number, and row in that file, of positions among all rows."""
        files = self._files[self.find(positions)]
        return files, positions - self._first_rows[files]

    def read(self, group, columns):
        """Columns of a row group, a `pyarrow.Table`.

        Raises:
            ValueError: They cannot be read; the error names the file.
        """
        file = self._files[group]
        inner = int(group - self._first_groups[file])
        try:
            with files_lib.opened(self.paths[file]) as opened:
                whole = pq.ParquetFile(opened, metadata=self._metadata[file])
                table = whole.read_row_group(inner, columns=columns)
            table.validate(full=True)  # Texts may not be UTF-8.
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
        """One column of a row group as a list of Python's own values.

        Raises:
            ValueError: As `read`; or Python has no such value.
        """
        column = self.read(group, [name])[name]
        try:
            return column.to_pylist()
        except _FAULTS as error:  # A date of the year 10^6.
            raise ValueError(
                f"{self.path(group)!r}, column {name!r}, cannot be read: "
                f"{error}. Write or fetch the file again."
            ) from error

    def column(self, group, name):
        """One column of a row group; those read last are kept in memory."""
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
            f"{path!r} is no Parquet file: {error}. It may be cut short: "
            "write or fetch it again."
        ) from error
