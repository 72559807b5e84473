"""Pascal VOC: images with boxes from XML files, on disk or through TFDS.

A folder of a year, such as `VOCdevkit/VOC2007`, holds `Annotations/*.xml`,
`JPEGImages` and lists of names, `ImageSets/Main/trainval.txt`. Any folder of
that layout can be read.
"""

from pathlib import Path

import numpy as np

from keras_jft import checks
from keras_jft.data.datasets import tfds_boxes, voc_files
from keras_jft.data.datasets.boxed_images import BoxedImages, Faults
from keras_jft.data.datasets.decoding import IMAGE_SUFFIXES

SOURCES = ("files", "tfds")


def load(
    split="train",
    *,
    directory=None,
    years=None,
    label_names=None,
    annotated=True,
    one_based=True,
    on_error="raise",
    orientation=None,
    source="files",
    config="voc/2007",
):
    """Images and boxes of a split, in the order of its list.

    Args:
        split: Name of a list in `ImageSets/Main`: "train", "val", "trainval"
            or "test". Through TFDS also a union, "train+validation".
        directory: A folder with `Annotations`, `ImageSets` and `JPEGImages`,
            or with one such folder `VOC<year>` a year. With `source="tfds"`:
            TFDS's data directory.
        years: Which of those folders: `(2007, 2012)` for the union 07+12.
            All that have the list, if left out.
        label_names: All classes, in the order of their ids; those of all
            annotation files, sorted, if left out, which is VOC's own order.
        annotated: Whether images have annotation files; VOC2012's test has
            none, and then images may have any size.
        one_based: Whether coordinates count pixels from 1, as VOC's do.
        on_error: "raise" for a faulty object, or "drop" it with a warning.
        orientation: What the boxes count in where EXIF turns an image: "apply",
            the image as it is shown; "ignore", the pixels as they are stored,
            which is the default, with a warning at the first such image.
        source: "files", or "tfds".
        config: Name of the TFDS data set.

    Returns:
        A `Dataset` with `bounding_boxes`, of which `ignored` are difficult.
        Ids are the names in the list; through TFDS they are positions.

    Raises:
        ValueError: As `voc_files.read` does, or a folder, a list or an image
            is missing, or a class is not in `label_names`.
    """
    checks.one_of("source", source, SOURCES)
    if source == "tfds":
        shift = -1.0 if one_based else 0.0
        return tfds_boxes.load(
            config, split, directory, on_error, shift, orientation=orientation
        )
    folders = _folders(directory, split, years)
    names = {folder: read_list(_list(folder, split)) for folder in folders}
    ids = [name for listed in names.values() for name in listed]
    if len(set(ids)) < len(ids):
        raise ValueError(
            "Folders must hold different images. Received "
            f"{len(ids) - len(set(ids))} names again in "
            f"{[str(folder) for folder in folders]}. Give `years`."
        )
    images = [path for f in folders for path in image_paths(f, names[f])]
    if label_names is None:
        label_names = _all_names(folders)
    if not annotated:
        return BoxedImages(
            ids,
            images,
            [None] * len(ids),
            None,
            label_names,
            orientation=orientation,
        )
    faults = Faults(on_error)
    files = [
        voc_files.read(
            folder / "Annotations" / f"{name}.xml", faults, one_based=one_based
        )
        for folder in folders
        for name in names[folder]
    ]
    faults.warn(directory)
    labels = {name: label for label, name in enumerate(label_names)}
    return BoxedImages(
        ids,
        images,
        [file.image_size for file in files],
        [
            _entry(file, labels, name)
            for file, name in zip(files, ids, strict=True)
        ],
        label_names,
        orientation=orientation,
    )


def _entry(file, labels, name):
    unknown = sorted(set(file.names) - labels.keys())
    if unknown:
        raise ValueError(
            f"The objects of {name!r} must be of the classes {list(labels)}. "
            f"Received: {unknown}. Add them to `label_names`."
        )
    return {
        "boxes": file.boxes,
        "labels": np.array([labels[name] for name in file.names], "int32"),
        "ignored": file.difficult,
    }


# === Folders ===


def _folders(directory, split, years):
    """Folders in VOC's layout that have the list of a split."""
    if directory is None:
        raise ValueError(
            "Give `directory`, a folder in VOC's layout. Received: None."
        )
    directory = Path(directory)
    if years is not None:
        return [directory / f"VOC{year}" for year in years]
    folders = [directory, *sorted(directory.glob("VOC[0-9]*"))]
    found = [folder for folder in folders if _list(folder, split).is_file()]
    if not found:
        lists = sorted(
            path.stem
            for folder in folders
            for path in _list(folder, split).parent.glob("*.txt")
        )
        raise ValueError(
            f"{str(directory)!r}, or a folder VOC<year> in it, must have the "
            f"list ImageSets/Main/{split}.txt. Received the lists {lists[:9]}. "
            "Check `directory` and `split`."
        )
    return found


def _list(folder, split):
    return folder / "ImageSets" / "Main" / f"{split}.txt"


def read_list(path):
    """The names in the list of a split.

    Args:
        path: A text file with one name a line.

    Raises:
        ValueError: There is no such file, or names are missing or repeated.
    """
    if not path.is_file():
        raise ValueError(
            f"{str(path)!r} is missing. Check `directory`, `years` and `split`."
        )
    lines = [
        line.split() for line in path.read_text(encoding="utf-8").splitlines()
    ]
    names = [words[0] for words in lines if words]
    wrong = [words for words in lines if len(words) > 1]
    if wrong or not names or len(set(names)) < len(names):
        reason = f"the line {' '.join(wrong[0])!r}" if wrong else "other lines"
        raise ValueError(
            f"{str(path)!r} must hold one name a line, each once. Received: "
            f"{reason}. Lists of one class are no splits."
        )
    return names


def image_paths(folder, names):
    """The paths of images by name, whatever their suffix.

    Args:
        folder: A folder of VOC's layout.
        names: The names in a list.

    Raises:
        ValueError: An image is missing.
    """
    folder = folder / "JPEGImages"
    paths = folder.iterdir() if folder.is_dir() else ()
    there = {
        path.stem: path
        for path in paths
        if path.suffix.lower() in IMAGE_SUFFIXES
    }
    missing = [name for name in names if name not in there]
    if missing:
        raise ValueError(
            f"Every image of the list must be in {str(folder)!r}. Missing are "
            f"{len(missing)} of {len(names)}: {missing[:5]}."
        )
    return [there[name] for name in names]


def _all_names(folders):
    """Names of classes in all annotation files, so that splits agree."""
    names = set()
    for folder in folders:
        for path in sorted((folder / "Annotations").glob("*.xml")):
            names |= voc_files.names_in(path)
    return tuple(sorted(name.strip() for name in names if name))
