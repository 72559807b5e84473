"""Open Images' CSV files of image-level labels, read in bounded memory.

Files are read block by block. Of a row that counts 8 bytes are kept, and of an
image its id, whatever order the rows come in.

Shapes: N images, R rows that count, C classes.

References:
    Kuznetsova et al. 2020, "The Open Images Dataset V4",
    https://arxiv.org/abs/1811.00982, section 3.2;
    https://storage.googleapis.com/openimages/web/download_v7.html.
"""

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from keras_jft import files
from keras_jft.data import hierarchy
from keras_jft.files import files_of

COLUMNS = ("ImageID", "Source", "LabelName", "Confidence")
MACHINE = "machine"
# What a row says; of several about one label of one image the last of these
# counts: people over machines, the higher confidence over the lower.
UNKNOWN, BY_MACHINE, NEGATIVE, BY_PEOPLE = range(4)
_BLOCK = 8 << 20  # Bytes of a file that are read at once.
_LABEL_BITS = 30


def read_descriptions(path):
    """`{LabelName: DisplayName}` of a CSV file with or without a header.

    Names that several labels have get their LabelName in brackets.

    Raises:
        ValueError: A line has another form, or a LabelName is there twice.
    """
    (path,) = files_of(path)
    names = hierarchy.read_descriptions(path, files.opened(path))
    seen, repeated = set(), set()
    for name in names.values():
        (repeated if name in seen else seen).add(name)
    return {
        key: f"{name} ({key})" if name in repeated else name
        for key, name in names.items()
    }


class LabelReader:
    """Reads files of labels and keeps what counts of their rows.

    Args:
        keys: LabelName of each label id.
        kept: Those whose rows count; None: all.
        sources: Values of Source that count; None: all.
        threshold: Confidence from which a label is present.
        unknown: Confidence from which a machine's label is unknown, up to
            `threshold`; None: it is absent.
        on_error: "raise", or "drop": rows that cannot be right are left out.
    """

    def __init__(
        self, keys, kept, sources, threshold, unknown, on_error="raise"
    ):
        self.keys = pa.array(keys, pa.string())
        self.is_kept = np.ones(len(keys), bool)
        if kept is not None:
            self.is_kept = np.isin(keys, list(kept))
        self.sources, self.threshold = sources, threshold
        self.unknown = threshold if unknown is None else unknown
        self.drops = on_error == "drop"
        self.seen_sources, self.errors, self.num_errors = set(), [], 0
        self._images, self._rows = [], []

    def add(self, path):
        """Reads one file.

        Raises:
            ValueError: It is no CSV, lacks a column, or has a row with an
                unknown label or a confidence out of 0..1; with its line.
        """
        line = 2
        for batch in _blocks(path):
            self._add(path, line, batch)
            line += len(batch)

    def result(self):
        """`(N,)` ids, bytes, ascending, and `(R,)` image, label, state.

        Rows are sorted by image and label, each pair once.
        """
        if not self._images:
            return np.zeros(0, "S1"), *np.zeros((3, 0), "int32")
        ids = np.unique(np.concatenate(self._images))
        rows = []
        while self._images:
            places = np.searchsorted(ids, self._images.pop())
            image, cell = self._rows.pop()
            cell |= places[image] << (_LABEL_BITS + 2)
            rows.append(cell)
        rows = np.concatenate(rows)
        rows.sort()
        is_last = np.ones(len(rows), bool)
        is_last[:-1] = rows[:-1] >> 2 != rows[1:] >> 2
        rows = rows[is_last]
        labels = rows >> 2 & ((1 << _LABEL_BITS) - 1)
        images = rows >> (_LABEL_BITS + 2)
        return (
            ids,
            images.astype("int32"),
            labels.astype("int32"),
            (rows & 3).astype("int8"),
        )

    def warn(self):
        """Warns of the rows that were left out, if any were."""
        if self.num_errors:
            warnings.warn(
                f"Left {self.num_errors} rows of labels out, the first "
                f"because: {self.errors[0]}",
                stacklevel=4,
            )

    def _add(self, path, line, batch):
        source, confidence = batch["Source"], batch["Confidence"]
        self.seen_sources |= set(pc.unique(source).to_pylist())
        labels = pc.index_in(batch["LabelName"], self.keys)
        labels = pc.fill_null(labels, -1).to_numpy()
        confidence = pc.fill_null(confidence, np.nan).to_numpy()
        counts = self._checked(path, line, batch, labels, confidence)
        if self.sources is not None:
            wanted = pc.is_in(source, pa.array(self.sources))
            counts &= wanted.to_numpy(zero_copy_only=False)
        by_machine = pc.equal(source, MACHINE).to_numpy(zero_copy_only=False)
        present = confidence >= self.threshold
        state = np.where(
            by_machine,
            np.where(present, BY_MACHINE, UNKNOWN),
            np.where(present, BY_PEOPLE, NEGATIVE),
        )
        says = ~by_machine | (confidence >= self.unknown)
        says &= self.is_kept[labels]
        images = batch["ImageID"].filter(pa.array(counts)).dictionary_encode()
        ids = images.dictionary.cast(pa.binary()).to_numpy(zero_copy_only=False)
        places = images.indices.to_numpy().astype("int32")
        says = says[counts]
        cells = (labels.astype("int64") << 2 | state)[counts]
        self._images.append(ids.astype("S"))
        self._rows.append((places[says], cells[says]))

    def _checked(self, path, line, batch, labels, confidence):
        """Which rows are right, `(n,)`; raises if others are not dropped."""
        is_empty = pc.equal(batch["ImageID"], "")
        faults = {
            "ImageID": (is_empty.to_numpy(zero_copy_only=False), "an id"),
            "LabelName": (labels < 0, f"one of the {len(self.keys)} labels"),
            "Confidence": (
                ~((confidence >= 0) & (confidence <= 1)),
                "a number in 0..1",
            ),
        }
        right = np.ones(len(batch), bool)
        for column, (is_wrong, expected) in faults.items():
            for row in np.flatnonzero(is_wrong)[:1].tolist():
                value = batch[column][row].as_py()
                self._fail(path, line + row, column, expected, value)
            right &= ~is_wrong
        self.num_errors += int((~right).sum())
        return right

    def _fail(self, path, line, column, expected, value):
        error = (
            f"{str(path)!r}, line {line}, column {column}: expected "
            f"{expected}. Received: {value!r}."
        )
        if not self.drops:
            raise ValueError(
                f"{error} Mend it, or set `on_error='drop'` to leave such "
                "rows out."
            )
        self.errors.append(error)


def _blocks(path):
    """Yields the record batches of a CSV file."""
    text = dict.fromkeys(COLUMNS[:3], pa.string())
    try:
        # One thread: errors then say their row.
        with files.opened(path) as file:
            yield from arrow_csv.open_csv(
                file,
                read_options=arrow_csv.ReadOptions(
                    use_threads=False, block_size=_BLOCK
                ),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=COLUMNS,
                    column_types={**text, "Confidence": pa.float64()},
                ),
            )
    except (pa.ArrowException, KeyError) as error:
        raise ValueError(
            f"{str(path)!r} must be a CSV file with the columns "
            f"{', '.join(COLUMNS)}. {str(error).strip()}."
        ) from error
