"""Open Images: image-level labels by people and machines, from its CSV files.

`load` reads the files with `_LabelReader`, lets rejections by people override
machine labels, and drops images without a file. The reader packs each row into
one integer, so that sorting rows is fast; see `_LabelReader.result`.

Shapes: N images, R rows of labels, C classes, n rows of a block of a file.
"""

import itertools
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from keras_jft import checks
from keras_jft import files as files_lib
from keras_jft.data import hierarchy as hierarchy_lib
from keras_jft.data.dataset import Dataset, Info
from keras_jft.data.datasets.boxed_images import ON_ERROR
from keras_jft.data.datasets.label_rows import ExampleLabels, LabelRows
from keras_jft.data.hierarchy import LabelHierarchy
from keras_jft.data.images import decode_image
from keras_jft.data.label_names import checked_names
from keras_jft.files import check_split, files_of, of_split
from keras_jft.text import number_of
from keras_jft.text_files import decode, parse_json
from keras_jft.typing import PathLike

_CHUNK = 1_000_000
_COLUMNS = ("ImageID", "Source", "LabelName", "Confidence")
_MACHINE = "machine"
# States of a label, in rising priority. Of several rows about one label of one
# image the highest counts: people over machines, then the higher confidence.
_UNKNOWN, _BY_MACHINE, _NEGATIVE, _BY_PEOPLE = range(4)
_BLOCK = 8 << 20  # Bytes of a file that are read at once.
_LABEL_BITS = 30  # Bits of a label id in a packed row.


def load(
    split: str | None = "train",
    *,
    labels: PathLike | Sequence[PathLike],
    directory: PathLike,
    descriptions: PathLike | None = None,
    hierarchy: LabelHierarchy | Mapping[str, Any] | PathLike | None = None,
    classes: PathLike | Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    threshold: float = 0.5,
    unknown: float | None = None,
    missing: str = "raise",
    on_error: str = "raise",
) -> Dataset:
    """Load the images of label files, in the order of their ids.

    A label is present if its confidence, given by people (1: verified) or by a
    machine, is at least `threshold`. A label that people rejected (confidence
    0) is absent and, with a hierarchy, so are all labels below it, whatever a
    machine says. Such known negatives have no key in a batch, since loss and
    metrics take every label that is not listed as absent. If several rows are
    about one label of one image, those by people count before those by
    machines, then the one with the highest confidence. An image may end up
    without labels.

    Args:
        split: The text that replaces `{split}` in the other arguments.
        labels: CSV files `ImageID,Source,LabelName,Confidence`: a path, a
            pattern with `*`, or a list of these, such as
            `["{split}-annotations-human-imagelabels.csv",
            "{split}-annotations-machine-imagelabels.csv"]`.
        directory: Folder of the images, `{ImageID}.jpg`. Like all files here,
            it may be local or in a bucket (gs://, s3://).
        descriptions: CSV file `LabelName,DisplayName`. Label ids follow its
            lines; labels that only `hierarchy` has come last.
        hierarchy: As for `image_folder`, by LabelName, or the nested JSON of
            Open Images, whose parts are left out. Labels are closed upward. It
            may cover only some labels, like that of the boxable classes.
        classes: LabelNames whose rows count, or a file with one per line, such
            as that of the trainable classes; by default all.
        sources: Values of Source that count, such as "verification",
            "crowdsource-verification" or "machine"; by default all.
        threshold: Lowest confidence of a label that is present, above 0.
        unknown: Lowest confidence, below `threshold`, of a machine label that
            is unknown rather than absent; examples then have
            `unknown_labels`, also closed upward.
        missing: "raise", or "drop" images without a file, with a warning that
            counts them.
        on_error: "raise", or "drop" rows with a label that is not described
            or a confidence out of 0..1, with a warning that counts them.

    Returns:
        A `Dataset` with many labels per example. Ids are those of the images.

    Raises:
        ValueError: A file is missing or has another form (the error names the
            line); images are missing; or no row counts.
    """
    for name, value in (("missing", missing), ("on_error", on_error)):
        checks.one_of(name, value, ON_ERROR)
    _check_confidences(threshold, unknown)
    check_split(split, labels, "Write `{split}` into it, or pass split=None.")
    labels, directory, descriptions, hierarchy, classes = (
        of_split(source, split)
        for source in (labels, directory, descriptions, hierarchy, classes)
    )
    keys, names, tree = _labels(descriptions, hierarchy)
    sources = [sources] if isinstance(sources, str) else sources
    reader = _LabelReader(
        keys, _classes(classes, keys), sources, threshold, unknown, on_error
    )
    for path in files_of(labels):
        reader.add(path)
    reader.warn()
    ids, images, label_ids, states = reader.result()
    if not len(ids):
        raise ValueError(
            f"{labels!r} must have rows of the sources {sources or 'any'}. "
            f"Received rows of {sorted(reader.seen_sources)} only."
        )
    if tree is not None:
        counts = ~_rejected(tree, images, label_ids, states)
        images, label_ids, states = (
            column[counts] for column in (images, label_ids, states)
        )
    ids, images, rows = _with_files(ids, images, str(directory), missing)
    label_ids, states = label_ids[rows], states[rows]
    present = np.isin(states, (_BY_MACHINE, _BY_PEOPLE))
    tables = [
        LabelRows(images[chosen], label_ids[chosen], len(ids), len(keys), tree)
        for chosen in (present, states == _UNKNOWN)
    ]
    class_counts, longest = tables[0].count()
    info = Info(
        num_examples=len(ids),
        label_names=tuple(names),
        hierarchy=tree,
        max_labels=max(1, longest),
        class_counts=class_counts,
    )
    return OpenImages(
        directory,
        ids,
        ExampleLabels(tables[0], None if unknown is None else tables[1]),
        info,
    )


class OpenImages(Dataset):
    """Images named by their ids in one folder, and their labels.

    Args:
        directory: Folder of `{id}.jpg`.
        ids: `(N,)` ids as bytes, a quarter of the memory of str.
        labels: `ExampleLabels`.
        info: The data set's `Info`.
    """

    def __init__(self, directory, ids, labels, info):
        self.directory, self.info = str(directory), info
        self._ids, self._labels = ids, labels

    def ids(self, positions):
        """Return the ids of the images, str."""
        return np.char.decode(self._ids[np.asarray(positions)], "utf-8")

    def __getitem__(self, position):
        position = self._position(position)
        (known,) = self.annotations([position])
        path = self._path(position)
        pixels = decode_image(files_lib.image_source(path), path)
        return {"images": pixels, **known}

    def image_bytes(self, position):
        """Return the image file."""
        with files_lib.opened(self._path(position)) as file:
            return file.read()

    def annotations(self, positions):
        """Return labels and ids without opening a file."""
        return [
            {**self._labels[position], "ids": self._ids[position].decode()}
            for position in positions
        ]

    def _path(self, position):
        return f"{self.directory}/{self._ids[position].decode()}.jpg"


# === Arguments ===


def _check_confidences(threshold, unknown):
    if not 0 < threshold <= 1:
        raise ValueError(
            "`threshold` must be above 0, the confidence of a rejected label, "
            f"and at most 1. Received: threshold={threshold}."
        )
    if unknown is not None and not 0 <= unknown < threshold:
        raise ValueError(
            "`unknown` must be 0 or more and below `threshold`. Received: "
            f"unknown={unknown}, threshold={threshold}."
        )


def _labels(descriptions, hierarchy):
    """Return keys, names and, if given, the hierarchy of all labels."""
    if descriptions is None and hierarchy is None:
        raise ValueError(
            "Labels must be described. Received neither `descriptions` nor "
            "`hierarchy`. Pass the CSV file of LabelName and DisplayName."
        )
    described = {}
    if descriptions is not None:
        described = _read_descriptions(descriptions)
    if hierarchy is None:
        return [*described], [*described.values()], None
    if not isinstance(hierarchy, LabelHierarchy):
        hierarchy = _read_hierarchy(hierarchy, described)
    old = dict(zip(hierarchy.keys, hierarchy.names, strict=True))
    described |= {k: name for k, name in old.items() if k not in described}
    edges = [
        (hierarchy.keys[parent], key)
        for label, key in enumerate(hierarchy.keys)
        for parent in hierarchy.parents(label)
    ]
    keys, names = [*described], [*described.values()]
    return keys, names, LabelHierarchy(names, edges, keys)


def _read_hierarchy(source, described):
    """Read a hierarchy of either form, a dict or the path of a JSON file."""
    if not isinstance(source, dict):
        what = repr(str(source))
        with files_lib.opened(source) as file:
            source = parse_json(file.read(), what)
    if isinstance(source, dict) and "LabelName" in source:
        return LabelHierarchy.from_open_images(source, described or None)
    return LabelHierarchy.from_json(source)


def _classes(classes, keys):
    """Return the LabelNames that count; None for all."""
    if isinstance(classes, str):
        (path,) = files_of(classes)
        with files_lib.opened(path) as file:
            classes = decode(file.read(), repr(path)).split()
    elif classes is not None:
        classes = checked_names(classes, "classes")
    unknown = sorted(set(classes or ()) - set(keys))
    if unknown:
        raise ValueError(
            "`classes` must be LabelNames that are described. Received "
            f"{len(unknown)} that are not: {unknown[:5]}."
        )
    return classes


# === Images and labels ===


def _rejected(hierarchy, images, labels, states):
    """Return `(R,)` bool: machine labels that a person's "no" rules out."""
    # One integer per (image, label), sorted like the rows: a machine label is
    # out if that of any label above it, or its own, is among the rejected.
    rejected, size = np.zeros(len(labels), bool), np.int64(len(hierarchy))
    by_people = np.flatnonzero(states == _NEGATIVE)
    no = images[by_people] * size + labels[by_people]
    by_machine = np.flatnonzero((states == _UNKNOWN) | (states == _BY_MACHINE))
    for first in range(0, len(by_machine) if len(no) else 0, _CHUNK):
        rows = by_machine[first : first + _CHUNK]
        above = hierarchy.close_batch(labels[rows, None])
        found = (images[rows] * size)[:, None] + above
        places = np.minimum(np.searchsorted(no, found), len(no) - 1)
        rejected[rows] = ((no[places] == found) & (above >= 0)).any(axis=1)
    return rejected


def _with_files(ids, images, directory, missing):
    """Return ids with a file, the images of their rows, and which rows."""
    there = _are_there(ids, directory)
    absent = ids[~there]
    if len(absent):
        names = [name.decode("utf-8") for name in absent[:5]]
        text = (
            f"Missing in {str(directory)!r} are {len(absent)} of {len(ids)} "
            f"images: {names}"
        )
        if missing == "raise" or len(absent) == len(ids):
            raise ValueError(
                f"Every image must have a file {{ImageID}}.jpg. {text}. Set "
                "`directory`, fetch them, or set `missing='drop'`."
            )
        warnings.warn(f"{text}. They are left out.", stacklevel=3)
    rows = there[images]
    places = np.cumsum(there) - 1
    return ids[there], places[images[rows]], rows


def _are_there(ids, directory):
    """Return `(N,)` bool; list the folder once, in bounded memory."""
    there = np.zeros(len(ids), bool)
    files = files_lib.names_in(directory)
    names = (name[:-4] for name in files if name[-4:] == ".jpg")
    while chunk := list(itertools.islice(names, _CHUNK)):
        found = np.array([os.fsencode(name) for name in chunk], "S")
        places = np.minimum(np.searchsorted(ids, found), len(ids) - 1)
        there[places[ids[places] == found]] = True
    return there


def _read_descriptions(path):
    """Read `{LabelName: DisplayName}` from a CSV, with or without header.

    Names shared by several labels are followed by the LabelName in brackets.

    Raises:
        ValueError: A line has another form, or a LabelName is repeated.
    """
    (path,) = files_of(path)
    names = hierarchy_lib.read_descriptions(path, files_lib.opened(path))
    seen, repeated = set(), set()
    for name in names.values():
        (repeated if name in seen else seen).add(name)
    return {
        key: f"{name} ({key})" if name in repeated else name
        for key, name in names.items()
    }


class _LabelReader:
    """Reads files of labels and keeps the rows that count.

    Args:
        keys: LabelName of each label id.
        kept: LabelNames whose rows count; None: all.
        sources: Values of Source that count; None: all.
        threshold: Lowest confidence of a label that is present.
        unknown: Lowest confidence, below `threshold`, of a machine label that
            is unknown; None: such labels are absent.
        on_error: "raise", or "drop": faulty rows are left out.
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
        """Read one file.

        Raises:
            ValueError: It is not CSV, lacks a column, or has a row with an
                unknown label or a confidence out of 0..1. The error names the
                line.
        """
        line = 2
        for batch in _blocks(path):
            self._add(path, line, batch)
            line += len(batch)

    def result(self):
        """Return `(N,)` ids, ascending bytes, and `(R,)` image, label, state.

        Rows are sorted by image and label, each pair once.
        """
        if not self._images:
            return np.zeros(0, "S1"), *np.zeros((3, 0), "int32")
        ids = np.unique(np.concatenate(self._images))
        # Pack each row into one integer: image, label, state, from the highest
        # bits to the lowest.
        rows = []
        while self._images:
            places = np.searchsorted(ids, self._images.pop())
            image, cell = self._rows.pop()
            cell |= places[image] << (_LABEL_BITS + 2)
            rows.append(cell)
        rows = np.concatenate(rows)
        # The last row of an (image, label) then has the state that counts.
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
        """Warn of the rows that were left out, if any were."""
        if self.num_errors:
            warnings.warn(
                f"Left out {number_of(self.num_errors, 'row')} of labels, the "
                f"first because: {self.errors[0]}",
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
        by_machine = pc.equal(source, _MACHINE).to_numpy(zero_copy_only=False)
        present = confidence >= self.threshold
        state = np.where(
            by_machine,
            np.where(present, _BY_MACHINE, _UNKNOWN),
            np.where(present, _BY_PEOPLE, _NEGATIVE),
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
        """Return which rows are right, `(n,)`; raise if some may not be."""
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
                f"{error} Correct it, or set `on_error='drop'` to leave such "
                "rows out."
            )
        self.errors.append(error)


def _blocks(path):
    """Yield the record batches of a CSV file."""
    text = dict.fromkeys(_COLUMNS[:3], pa.string())
    try:
        # With one thread, errors name their row.
        with files_lib.opened(path) as file:
            yield from arrow_csv.open_csv(
                file,
                read_options=arrow_csv.ReadOptions(
                    use_threads=False, block_size=_BLOCK
                ),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=_COLUMNS,
                    column_types={**text, "Confidence": pa.float64()},
                ),
            )
    except (pa.ArrowException, KeyError) as error:
        raise ValueError(
            f"{str(path)!r} must be a CSV file with the columns "
            f"{', '.join(_COLUMNS)}. {str(error).strip()}."
        ) from error
