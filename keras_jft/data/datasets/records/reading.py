"""Sharded TFRecord and ArrayRecord files, on disks and in object stores.

`jft.data.write_records` writes them. `schema.py` defines the contents of a
record, `shards.py` the names of files and their indices. Beside the shards of
`DIR/train` is the note `DIR/train.json`, written last, which describes the set:

    {"format": "keras_jft.records", "version": 1, "kind": "tfrecord",
     "shards": [{"file": "train.tfrecord-00000-of-00002",
                 "num_examples": 500, "first_id": 0}, ...],
     "one_label": false, "id_type": "int", "image_id_type": "int",
     "label_names": [...], "class_counts": [...],
     "hierarchy": {"names": {key: name}, "edges": [[parent, child], ...]}, ...}

`first_id` is null if the ids of a shard are not consecutive; its index then has
them. The other keys are fields of `Info`.
"""

import numpy as np

from keras_jft import files
from keras_jft.data.dataset import Dataset, Info, warn_of_absent_classes
from keras_jft.data.datasets.json_records import Record, is_finite, records_of
from keras_jft.data.datasets.records import schema
from keras_jft.data.datasets.records.shards import SHARDS
from keras_jft.data.hierarchy import LabelHierarchy
from keras_jft.data.label_names import is_text
from keras_jft.text_files import parse_json, short
from keras_jft.typing import PathLike

FORMAT, VERSION = "keras_jft.records", 1
# Fields of `Info` that are written as they are; `people` is not written.
PLAIN = (
    "label_names",
    "max_labels",
    "max_boxes",
    "category_ids",
    "keypoint_names",
    "skeleton",
    "sigmas",
    "mask_names",
    "flip_pairs",  # Sets of earlier releases lack it.
)


def load(directory: PathLike, split: str | None = "train") -> Dataset:
    """Load the examples of `DIRECTORY/SPLIT.json`, in their order.

    Any number of threads can read at any position. A TFRecord file is read at
    the places in its index, which takes 16 bytes of memory per example; a lost
    index is rebuilt in one pass. Ids that are not consecutive take memory too.

    Args:
        directory: Folder of the shards, local or a bucket (gs://, s3://).
            ArrayRecord files must be local or on gs://.
        split: Name of the set in that folder.

    Returns:
        A `Dataset` of the examples that were written.

    Raises:
        ImportError: TensorFlow is not installed.
        ValueError: There is no such set, or a shard is missing. While reading:
            a record is damaged, or a shard is cut short or of another set.
    """
    directory = str(directory).rstrip("/") or "/"
    names = files.list_folder(directory)
    path = f"{directory}/{split}.json"
    if f"{split}.json" not in names:
        known = [name[:-5] for name in names if name.endswith(".json")]
        raise ValueError(
            f"`split` must be the name of a set of records in {directory!r}, "
            f"one of {known}. Received: {split!r}. A set without its .json "
            "file is not complete: write it again."
        )
    note = _read_note(path)
    missing = {shard["file"] for shard in note["shards"]} - set(names)
    if missing:
        raise ValueError(
            f"Every shard of {path!r} must be beside it. Missing are "
            f"{len(missing)} of {len(note['shards'])}: {sorted(missing)[:5]}. "
            "Fetch them, or write the set again."
        )
    data = Records(directory, note)
    counts = data.info.class_counts
    # No count at all: no labels at all.
    if data.info.hierarchy is None and counts is not None and counts.any():
        warn_of_absent_classes(
            data.info.label_names,
            counts,
            f"example of {path!r}",
            "Check `label_names` of what was written.",
        )
    return data


class Records(Dataset):
    """The examples of sharded records.

    Args:
        directory: The folder of the shards.
        note: The contents of the `.json` file.
    """

    def __init__(self, directory, note):
        self._id_type = _TYPES[note["id_type"]]
        self._image_id_type = _TYPES[note["image_id_type"]]
        self._one_label = note["one_label"]
        self._shards = [
            SHARDS[note["kind"]](
                directory,
                shard["file"],
                shard["num_examples"],
                shard["first_id"],
                self._id_type,
            )
            for shard in note["shards"]
        ]
        sizes = [shard.num_records for shard in self._shards]
        self._starts = np.cumsum([0, *sizes])
        self.info = _info(directory, note, int(self._starts[-1]))

    def ids(self, positions):
        """Return the ids that were written, int64 or str."""
        positions = np.asarray(positions, "int64")
        numbers, places = self._find(positions)
        parts = {
            number: self._shards[number].ids_at(places[numbers == number])
            for number in np.unique(numbers).tolist()
        }
        if not parts:
            return np.zeros(0, "int64")
        ids = np.empty(len(positions), np.result_type(*parts.values()))
        for number, part in parts.items():
            ids[numbers == number] = part
        return ids

    def annotations(self, positions):
        """Return examples without pixels; no image is decoded."""
        return [self._example(position, pixels=False) for position in positions]

    def __getitem__(self, position):
        return self._example(self._position(position))

    def _example(self, position, pixels=True):
        shard, place = self._shard_at(position)
        where = shard.where(place)
        example = schema.from_record(
            shard.read(place),
            where,
            one_label=self._one_label,
            num_keypoints=len(self.info.keypoint_names),
            pixels=pixels,
        )
        self._check_labels(example.get("labels"), where)
        # Padded with -1 by their contract.
        self._check_labels(example.get("unknown_labels"), where, lowest=-1)
        if "bounding_boxes" in example:
            self._check_labels(example["bounding_boxes"]["labels"], where)
        expected = shard.ids_at(np.array([place])).tolist()[0]
        if example["ids"] != str(expected):
            raise ValueError(
                f"{where} must have the id {expected!r}. Received: "
                f"{example['ids']!r}. The shard belongs to another set: write "
                "or fetch it again."
            )
        example["ids"] = expected
        if "image_ids" in example:
            example["image_ids"] = schema.id_of(
                example["image_ids"], self._image_id_type, where
            )
        return example

    def image_bytes(self, position):
        """Return the image file in the record."""
        shard, place = self._shard_at(position)
        return schema.stored_image(shard.read(place), shard.where(place))

    def _shard_at(self, position):
        number, place = self._find(np.asarray(position, "int64"))
        return self._shards[int(number)], int(place)

    def _find(self, positions):
        """Return the numbers of the shards and the places in them."""
        numbers = np.searchsorted(self._starts, positions, side="right") - 1
        return numbers, positions - self._starts[numbers]

    def _check_labels(self, labels, where, lowest=0):
        count = len(self.info.label_names)
        if not count or not np.size(labels) or labels is None:
            return
        if np.min(labels) < lowest or np.max(labels) >= count:
            raise ValueError(
                f"Labels of {where} must be in 0..{count - 1}. Received: "
                f"{np.min(labels)}..{np.max(labels)}. Write the set again "
                "with all label names."
            )


_FIELDS = {
    *PLAIN[:-1], "kind", "shards", "one_label", "id_type", "image_id_type",
    "class_counts", "hierarchy",
}  # fmt: skip
_TYPES = {"int": int, "str": str}


def _read_note(path):
    """Read and check the `.json` file of a set of records."""
    note = parse_json(files.read_bytes(path), repr(path))
    if not isinstance(note, dict) or note.get("format") != FORMAT:
        raise ValueError(
            f"{path!r} must describe records (`jft.data.write_records`). "
            f"Received: {short(note)}."
        )
    if note.get("version") != VERSION:
        raise ValueError(
            f"{path!r} must be of version {VERSION}. Received: "
            f"{note.get('version')}. Read it with the release that wrote it."
        )
    missing = _FIELDS - note.keys()
    if missing:
        raise ValueError(
            f"{path!r} lacks {sorted(missing)}. Write the set again."
        )
    _check_note(Record(path, "set", 0, note))
    for shard in records_of(path, note, "shards", "shard"):
        shard.text("file")
        if shard.integer("num_examples") >= 2**48:
            shard.fail("num_examples", "fewer than 2^48 examples")
        if shard.fields.get("first_id", "nothing") is not None:
            shard.integer("first_id", lowest=-(2**63))
    return note


def _check_note(note):
    """Raise unless every field has its type; `note` is a `Record`."""
    for field, allowed in (
        ("kind", SHARDS), ("one_label", (True, False)), ("id_type", _TYPES),
        ("image_id_type", _TYPES),
    ):  # fmt: skip
        value = note.fields[field]
        if not isinstance(value, (str, bool)) or value not in allowed:
            note.fail(field, f"one of {list(allowed)}")
    for field in ("max_labels", "max_boxes"):
        if field in note:
            note.integer(field)
    for fields, is_right, expected in (
        (("label_names", "keypoint_names", "mask_names"), is_text, "strings"),
        (("class_counts",), _is_count, "whole numbers of 0 or more"),
        (("category_ids",), _is_whole, "whole numbers"),
        (("sigmas",), is_finite, "finite numbers"),
        (("skeleton",), _is_pair_of(_is_count), "pairs of whole numbers"),
        (("flip_pairs",), _is_pair_of(_is_keypoint), "pairs of keypoints"),
    ):
        for field in fields:
            values = note.fields.get(field)
            if values is None and field in _MAY_BE_NULL:
                continue
            if not isinstance(values, list) or not all(map(is_right, values)):
                note.fail(field, f"a list of {expected}")
    if len(note.fields["class_counts"]) != len(note.fields["label_names"]):
        note.fail("class_counts", "a count for each of `label_names`")


_MAY_BE_NULL = ("category_ids", "flip_pairs")


def _is_whole(value):
    return type(value) is int and abs(value) < 2**63


def _is_count(value):
    return _is_whole(value) and value >= 0


def _is_keypoint(value):
    return _is_count(value) or is_text(value)


def _is_pair_of(is_right):
    return lambda pair: (
        isinstance(pair, list) and len(pair) == 2 and all(map(is_right, pair))
    )


def _info(directory, note, num_examples):
    plain = {
        key: tuple(note[key]) if isinstance(note[key], list) else note[key]
        for key in PLAIN
        if key in note
    }
    plain["skeleton"] = tuple(map(tuple, plain["skeleton"]))
    if plain.get("flip_pairs") is not None:
        plain["flip_pairs"] = tuple(map(tuple, plain["flip_pairs"]))
    hierarchy = note["hierarchy"]
    if hierarchy is not None:
        try:
            hierarchy = LabelHierarchy.from_json(hierarchy)
        except ValueError as error:
            raise ValueError(
                f"The hierarchy of the records in {directory!r} is damaged: "
                f"{error} Write the set again."
            ) from error
    return Info(
        num_examples=num_examples,
        hierarchy=hierarchy,
        class_counts=np.array(note["class_counts"], "int64"),
        **plain,
    )


def note_of(kind, shards, info, *, id_type, image_id_type, one_label):
    """Return the contents of the `.json` file of a set, as a dict.

    Args:
        kind: One of `shards.KINDS`.
        shards: One dict per shard: `file`, `num_examples`, `first_id`.
        info: The `Info` of the examples that were written.
        id_type: `"int"` or `"str"`.
        image_id_type: The same for `image_ids`.
        one_label: Whether `labels` is a scalar.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "kind": kind,
        "shards": shards,
        "one_label": one_label,
        "id_type": id_type,
        "image_id_type": image_id_type,
        "class_counts": np.asarray(info.class_counts).tolist(),
        "hierarchy": info.hierarchy and info.hierarchy.to_json(),
        **{key: getattr(info, key) for key in PLAIN},
    }
