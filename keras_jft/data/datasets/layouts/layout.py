"""The contract of a layout, and how folders are looked at."""

import dataclasses
import itertools
import re
from collections.abc import Mapping
from typing import Any

from keras_jft import checks
from keras_jft.data import datasets
from keras_jft.data.dataset import Dataset
from keras_jft.data.images import IMAGE_SUFFIXES
from keras_jft.files import folders_in, is_tool_name, walk
from keras_jft.text_files import read_lines

TASKS = ("classification", "multi_label", "detection", "segmentation", "pose")
# What a split is for, and what people call it.
ROLES = {
    "train": ("train", "training", "trainval"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
IMAGES = ("images", "image", "imgs", "img", "JPEGImages")
MASKS = ("masks", "mask", "labels", "annotations", "SegmentationClass")
XML = ("annotations", "Annotations", "labels", "xml")
# Folders of these names are parts of a layout, and no classes.
PARTS = {name.lower() for name in (*IMAGES, *MASKS, *XML, "imagesets")}
_CLASS_LISTS = ("classes.txt", "class_names.txt", "labels.txt", "_classes.txt")
LOOKS = 50  # Files that are looked at.
_WALKED = 5_000  # Files whose names are looked at.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """How to load a data set, as found by looking at its files.

    Attributes:
        dataset: A name in `jft.data.DATASETS`.
        options: Arguments of its `load`.
        task: What the images are annotated for, in `jft.metrics.METRICS`.
        splits: The name of each split, by what it is for: "train", "val" and
            "test". Empty if there are no splits.
        text: A line that says what was found.
    """

    dataset: str
    options: Mapping[str, Any]
    task: str
    splits: Mapping[str, str] = dataclasses.field(default_factory=dict)
    text: str = ""

    def load(self, split: str | None = None) -> Dataset:
        """Return the data set of a split, "train", "val" or "test".

        Args:
            split: None where there are no splits.

        Raises:
            ValueError: There is no such split, or as the data set's `load`.
        """
        if split is not None or self.splits:
            checks.one_of("split", split, self.splits or (None,))
        name = None if split is None else self.splits[split]
        return datasets.load(self.dataset, name, **self.options)

    def __str__(self):
        splits = f"; splits: {', '.join(self.splits.values())}"
        return f"{self.text}{splits if self.splits else ''} ({self.task})"


# === Looking ===


def files_in(path, *suffixes):
    """Return the files in a folder with a suffix, sorted."""
    if not path.is_dir():
        return []
    return sorted(
        entry
        for entry in path.iterdir()
        if entry.suffix.lower() in suffixes
        and entry.is_file()
        and not is_tool_name(entry.name)
    )


def below(path):
    """Return an iterator over files below a folder: all, or the first ones.

    There may be millions; files of a kind lie among the first of them.
    """
    found = walk(path) if path.is_dir() else ()
    return itertools.islice(found, _WALKED)


def any_below(path, *suffixes):
    """Return one of the files `below` a folder with some suffixes, or None."""
    return next((p for p in below(path) if p.suffix.lower() in suffixes), None)


def image_below(path):
    """Return an image below a folder, or None."""
    return any_below(path, *IMAGE_SUFFIXES)


def role_of(name):
    """Return what a split is for: `train2017` is for "train"; or None."""
    word = re.sub(r"[\d_-]+$", "", name.lower())
    return next((role for role, names in ROLES.items() if word in names), None)


def splits_of(names):
    """Return `{role: name}`; None unless names are splits, one per role."""
    roles = [role_of(name) for name in names]
    if None in roles or "train" not in roles or len(set(roles)) < len(roles):
        return None
    return dict(zip(roles, names, strict=True))


def split_folders(path):
    """Return `{role: name}` of the folders that are splits; {} if not all."""
    names = [folder.name for folder in folders_in(path)]
    return splits_of(names) or {}


def class_list(path):
    """Return the names in a file of classes, or None."""
    for name in _CLASS_LISTS:
        if (path / name).is_file():
            return [line.strip() for _, line in read_lines(path / name)]
    return None
