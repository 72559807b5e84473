"""Layouts of labels of whole images: folders, tables, other libraries."""

import itertools
import re
import tarfile
from pathlib import Path

from keras_jft.data.datasets import hugging_face, manifest
from keras_jft.data.datasets.layouts.layout import (
    IMAGES,
    LOOKS,
    PARTS,
    Layout,
    any_below,
    files_in,
    image_below,
    split_folders,
    splits_of,
)
from keras_jft.data.datasets.layouts.objects import is_voc, is_yolo, kind_of
from keras_jft.data.images import IMAGE_SUFFIXES
from keras_jft.files import folders_in
from keras_jft.text import number_of
from keras_jft.text_files import read_json, short

_IMAGE_COLUMNS = (
    "image",
    "file_name",
    "filename",
    "file",
    "path",
    "image_path",
)
_LABEL_COLUMNS = ("labels", "label", "class", "category", "tags")
_TABLES = (".csv", ".jsonl", ".parquet")


# === One folder per class, and tables ===


def _class_folders(path):
    """Return the class folders in a folder; [] unless they are just that."""
    folders = folders_in(path)
    if files_in(path, *IMAGE_SUFFIXES):
        return []
    if any(
        f.name.lower() in PARTS or f.name.lower().endswith("annot")
        for f in folders
    ):
        return []
    if any(map(_is_data_set, folders)):
        return []
    return [f.name for f in folders if image_below(f)]


def _is_data_set(folder):
    """Return whether a folder has several parts, such as images and masks."""
    parts = [f for f in folders_in(folder) if f.name.lower() in PARTS]
    return len(parts) > 1


def image_folder(path):
    """One folder per class, or that in a folder per split."""
    splits = split_folders(path)
    if not splits:
        names = _class_folders(path)
        if not names or _has_annotations(path):
            return []
        return [_classes(path, names, {})]
    of_split = {
        split: _class_folders(path / split) for split in splits.values()
    }
    if not all(of_split.values()) or _has_annotations(path):
        return []
    names = of_split[splits["train"]]
    for split, others in of_split.items():
        strange = sorted(set(others) - set(names))
        absent = sorted(set(names) - set(others))
        if strange or absent:
            raise ValueError(
                f"The splits in {str(path)!r} must have the same classes. "
                f"{split!r} has also {short(strange)}, and lacks "
                f"{short(absent)}."
            )
    return [_classes(path, names, splits)]


def _classes(path, names, splits):
    return Layout(
        dataset="image_folder",
        options={"directory": str(path)},
        task="classification",
        splits=splits,
        text="one folder per class: "
        f"{number_of(len(names), 'class', 'classes')}",
    )


def _has_annotations(path):
    """Return whether there are files of boxes, which are no notes."""
    for file in (any_below(path, ".xml"), any_below(path, ".json")):
        if file is not None and (
            is_voc(file) or file.suffix.lower() == ".json" and kind_of(file)
        ):
            return True
    file = any_below(path, ".yaml", ".yml")
    return file is not None and is_yolo(file)


def table(path):
    """A CSV, JSON Lines or Parquet file with columns of images and labels."""
    files = files_in(path, *_TABLES) if path.is_dir() else [path]
    found = []
    for file in files:
        columns = manifest.columns_of(file)
        image = [name for name in _IMAGE_COLUMNS if name in columns]
        label = [name for name in _LABEL_COLUMNS if name in columns]
        if image and label:
            found.append(_table(file, image[0], label[0], columns))
    return found


def _table(file, image, label, columns):
    options = {
        "path": str(file),
        "image_column": image,
        "label_column": label,
    }
    # Images lie beside the file, or in a folder beside it.
    folders = [file.parent / name for name in IMAGES]
    for folder in filter(Path.is_dir, folders):
        try:
            manifest.load(**options)
            break
        except ValueError:
            options["directory"] = str(folder)
    whole = manifest.load(**options)
    rows = whole.annotations(range(len(whole)))
    is_one = all(len(row["labels"]) == 1 for row in rows)
    splits = {}
    if "split" in columns:
        names = manifest.splits_of(file)
        splits = splits_of(names)
        if splits is None:
            raise ValueError(
                f"The column 'split' of {str(file)!r} must say what rows are "
                f"for: train, and val or test. Received: {short(names)}."
            )
    return Layout(
        dataset="manifest",
        options={**options, "many": not is_one},
        task="classification" if is_one else "multi_label",
        splits=splits,
        text=f"a table, {file.name}: {number_of(len(whole), 'image')}, "
        f"{number_of(len(whole.info.label_names), 'class', 'classes')}",
    )


# === Data sets of other libraries ===


def hugging_face_disk(path):
    """What `save_to_disk` of Hugging Face's `datasets` has written."""
    names = hugging_face.splits(path)
    if not names and not (path / "state.json").is_file():
        return []
    splits = splits_of(names) or {}
    loaded = hugging_face.load(path, splits.get("train"))
    is_one = loaded.info.max_labels is None
    return [
        Layout(
            dataset="hugging_face",
            options={"directory": str(path)},
            task="classification" if is_one else "multi_label",
            splits=splits,
            text="Hugging Face datasets on disk: "
            f"{number_of(len(loaded.info.label_names), 'class', 'classes')}",
        )
    ]


def tfds_folder(path):
    """The folder of one version of a data set that TFDS has prepared."""
    file = path / "dataset_info.json"
    if not file.is_file() or not (path / "features.json").is_file():
        return []
    about, text = (
        read_json(file),
        (path / "features.json").read_text(encoding="utf-8"),
    )
    config = [about.get("name"), about.get("configName"), about.get("version")]
    config = [str(part) for part in config if part]
    has_boxes = "BBoxFeature" in text
    names = [split["name"] for split in about.get("splits", [])]
    return [
        Layout(
            dataset="tfds",
            options={
                "config": ":".join(("/".join(config[:-1]), config[-1])),
                "directory": str(path.parents[len(config) - 1]),
            },
            task="detection" if has_boxes else "classification",
            splits=splits_of(names) or {},
            text=f"TensorFlow Datasets, {'/'.join(config)}",
        )
    ]


def tars(path):
    """Tar shards of WebDataset."""
    files = files_in(path, ".tar")
    if not files:
        return []
    try:
        with tarfile.open(files[0]) as opened:
            names = [m.name for m in itertools.islice(opened, LOOKS)]
    except tarfile.TarError as error:
        raise ValueError(
            f"{str(files[0])!r} cannot be read as a tar: {error}."
        ) from None
    suffixes = {Path(name).suffix.lower() for name in names}
    labels = [s for s in (".cls", ".json", ".txt") if s in suffixes]
    if not labels or not suffixes & set(IMAGE_SUFFIXES):
        return []
    parts = sorted({re.match(r"[a-zA-Z]*", file.name)[0] for file in files})
    splits = splits_of(parts) or {}
    is_one = labels[0] == ".cls"
    return [
        Layout(
            dataset="webdataset",
            options={
                "urls": str(path / ("{split}*.tar" if splits else "*.tar")),
                "label_suffix": labels[0],
                "many": not is_one,
            },
            task="classification" if is_one else "multi_label",
            splits=splits,
            text=f"WebDataset, {number_of(len(files), 'tar')}, labels in "
            f"{labels[0]}",
        )
    ]
