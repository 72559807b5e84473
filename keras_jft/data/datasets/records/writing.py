"""Writes a data set as sharded records: whole shards, then a note."""

import concurrent.futures
import dataclasses
import os
import threading
import warnings

import numpy as np
from rich import console, progress

from keras_jft import checks, files
from keras_jft.data.batch import check_batch, collate
from keras_jft.data.dataset import Dataset
from keras_jft.data.datasets.records import schema
from keras_jft.data.datasets.records import shards as shards_lib
from keras_jft.data.datasets.records.reading import note_of
from keras_jft.data.images import decode_image, exif_orientation
from keras_jft.data.pipeline import Examples
from keras_jft.text import number_of
from keras_jft.typing import PathLike

_ENCODINGS = ("png", "jpeg")


def write_records(
    data: Dataset,
    path: PathLike,
    *,
    encoding: str = "png",
    tolerate: float = 0,
    workers: int | None = None,
    verbose: bool = True,
) -> int:
    """Write a data set as sharded records, for `load("records", ...)`.

    Every example is read, checked against the contract and written in the
    order of `data`. An image that came from a file is written as that file,
    bit for bit, unless EXIF rotated it: readers of records ignore EXIF, so the
    rotated pixels are written instead. A shard gets its name only once it is
    complete, and the note of the set, `DIR/NAME.json`, is written last. So the
    leftovers of a run that was killed, or whose disk was full, cannot be
    loaded, and the same call starts again.

    Args:
        data: A `Dataset`. `info.people` is not written.
        path: `DIR/NAME@SHARDS`, such as "gs://bucket/jft/train@128", for
            TFRecord files; `DIR/NAME.array_record@SHARDS` for ArrayRecord.
        encoding: Format of images that are not from a file: "png" is lossless,
            "jpeg" (quality 95) is smaller. Masks are always PNG.
        tolerate: How many examples may be left out because they cannot be
            read or break the contract: a count, or a fraction of `data` (a
            float). Each gives a warning.
        workers: Threads that each write a shard; by default one per core, at
            most 8.
        verbose: Whether to show progress.

    Returns:
        Number of examples written.

    Raises:
        ImportError: TensorFlow is not installed.
        OSError: A file cannot be written.
        ValueError: `path` has another form or names an existing set; or an
            example cannot be read or breaks the contract: for example, a label
            is not a class, or a box is outside of its image.

    Example:

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> data = keras_jft.data.load("synthetic", num_examples=100)
    >>> write_records(data, f"{folder}/train@4", verbose=False)
    100
    >>> again = keras_jft.data.load("records", "train", directory=folder)
    >>> bool((again[7]["images"] == data[7]["images"]).all())
    True
    """
    checks.one_of("encoding", encoding, _ENCODINGS)
    folder, name, kind, count = shards_lib.parse(path)
    if count > len(data):
        raise ValueError(
            "Every shard must have an example. Received: "
            f"{number_of(count, 'shard')}, num_examples={len(data)}. Ask for "
            "fewer shards."
        )
    note = f"{folder}/{name}.json"
    if files.is_file(note):
        raise ValueError(
            f"`path` must name a new set. Received: {str(path)!r}, but "
            f"{note!r} exists. Remove it and its shards, or use another name."
        )
    with _bar(verbose) as bar:
        task = bar.add_task(name, total=len(data))
        writer = _Writer(
            data=data,
            folder=folder,
            kind=kind,
            encoding=encoding,
            seen=_Seen(data, tolerate),
            advance=lambda: bar.advance(task),
        )
        shards = writer.write(
            name, count, workers or min(8, os.cpu_count() or 1)
        )
    found = writer.seen.note(kind, shards)
    files.write_json(note, found)
    return sum(shard["num_examples"] for shard in shards)


@dataclasses.dataclass(kw_only=True)
class _Writer:
    """Writes shards, each in a thread of its own."""

    data: object
    folder: str
    kind: str
    encoding: str
    seen: "_Seen"
    advance: object

    def __post_init__(self):
        self._stop = threading.Event()

    def write(self, name, count, workers):
        """Write all shards; return the note's entry of each."""
        jobs = [
            (shards_lib.shard_name(name, self.kind, number, count), range(
                len(self.data) * number // count,
                len(self.data) * (number + 1) // count,
            ))
            for number in range(count)
        ]  # fmt: skip
        executor = concurrent.futures.ThreadPoolExecutor(workers)
        try:
            return list(executor.map(self._shard, *zip(*jobs, strict=True)))
        finally:  # If one failed or the user interrupts, stop all others.
            self._stop.set()
            executor.shutdown(cancel_futures=True)

    def _shard(self, file, positions):
        index = shards_lib.Index(self.kind == "tfrecord")
        path = f"{self.folder}/{file}"
        with shards_lib.writer(path, self.kind) as write:
            for position in positions:
                if self._stop.is_set():
                    raise InterruptedError(f"{path!r} was not completed.")
                found = self._record(position)
                if found is not None:
                    write(found[0])
                    index.add(*found)
                self.advance()
        index.write(shards_lib.index_path(path))
        return {
            "file": file,
            "num_examples": index.num_records,
            "first_id": index.first_id,
        }

    def _record(self, position):
        """Return `(bytes, id)` of an example; None if it is left out."""
        try:
            example = self.data[position]
            self.seen.check(example)
            encoded = self._file(position, example["images"])
        except (ValueError, OSError) as error:
            self.seen.skip(position, error)
            return None
        self.seen.add(example)
        return schema.to_record(example, encoded), example["ids"]

    def _file(self, position, pixels):
        """Return an image file whose stored pixels are these."""
        file = self.data.image_bytes(position)
        # Readers of records ignore EXIF, so an image that it rotated is written
        # with rotated pixels.
        if file is not None and (
            exif_orientation(file) == 1
            or np.array_equal(decode_image(file, orientation="ignore"), pixels)
        ):
            return file
        return schema.encode_image(pixels, self.encoding)


class _Seen:
    """Checks examples and collects what the note says about them."""

    def __init__(self, data, tolerate):
        self._data, self._lock = data, threading.Lock()
        self._tolerate = Examples(data, False, 0, tolerate).tolerate
        self._skipped, self._keys = 0, None
        self._most = {"labels": 1, "boxes": 1}
        self._types = {"ids": "int", "image_ids": "int"}
        self._one_label = False
        self._counts = np.zeros(len(data.info.label_names), "int64")

    def check(self, example):
        """Raise unless an example keeps the contract."""
        info = self._data.info
        if example["images"].dtype != np.uint8:
            raise ValueError(
                "Images of records must be uint8. Received: "
                f"{example['images'].dtype}."
            )
        check_batch(
            collate([example]),
            num_classes=len(info.label_names) or None,
            num_mask_classes=len(info.mask_names) or None,
            num_keypoints=len(info.keypoint_names) or None,
        )
        for labels in _labels(example):
            if labels.size and labels.min() < 0:
                raise ValueError(
                    "Examples must not be padded. Received the labels "
                    f"{labels.tolist()}."
                )

    def add(self, example):
        """Count an example that is written."""
        with self._lock:
            self._keys = self._keys or set(example)
            if set(example) != self._keys:
                raise ValueError(
                    "Examples must have the same keys. Received: "
                    f"{sorted(self._keys)} and, for example "
                    f"{example['ids']!r}, {sorted(example)}."
                )
            labels = _labels(example)
            if labels and len(self._counts):
                self._counts[np.unique(np.concatenate(labels))] += 1
            boxes = example.get("bounding_boxes", {"labels": ()})["labels"]
            for key, rows in (
                ("labels", np.atleast_1d(example.get("labels", ()))),
                ("boxes", boxes),
            ):
                self._most[key] = max(self._most[key], len(rows))
            for key in self._types:
                if isinstance(example.get(key, 0), str):
                    self._types[key] = "str"
            if "labels" in example:
                self._one_label = np.ndim(example["labels"]) == 0

    def skip(self, position, error):
        """Leave an example out, or raise if too many are."""
        (name,) = np.asarray(self._data.ids([position])).tolist()
        with self._lock:
            self._skipped += 1
            count = self._skipped
        if count > self._tolerate:
            raise ValueError(
                f"Example {name!r} cannot be written: {error} Left out so "
                f"far: {count}, allowed: tolerate={self._tolerate}."
            ) from error
        warnings.warn(
            f"Left example {name!r} out, {count} of at most "
            f"{self._tolerate}: {error}",
            stacklevel=2,
        )

    def note(self, kind, shards):
        """Return the contents of the `.json` file."""
        info = self._data.info
        has_labels = "labels" in self._keys and not self._one_label
        most_labels = info.max_labels or self._most["labels"]
        most_boxes = info.max_boxes or self._most["boxes"]
        return note_of(
            kind,
            shards,
            dataclasses.replace(
                info,
                class_counts=self._counts,
                max_labels=most_labels if has_labels else None,
                max_boxes=(
                    most_boxes if "bounding_boxes" in self._keys else None
                ),
            ),
            id_type=self._types["ids"],
            image_id_type=self._types["image_ids"],
            one_label=self._one_label,
        )


def _labels(example):
    """Return the arrays of labels of an example: its own, and its boxes'."""
    entry = example.get("bounding_boxes", {})
    found = (example.get("labels"), entry.get("labels"))
    return [np.atleast_1d(labels) for labels in found if labels is not None]


def _bar(verbose):
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=console.Console(stderr=True),
        disable=not verbose,
    )
