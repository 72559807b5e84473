"""COCO: images with boxes from an instances file, on disk or through TFDS.

On disk, `directory` has COCO's layout: `annotations/instances_train2017.json`
and the folder of images `train2017`. Or `annotations` is any file of that
format, and `directory` the folder of its images.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_jft import checks, text_files
from keras_jft.data.dataset import Dataset, warn_of_absent_classes
from keras_jft.data.datasets import tfds
from keras_jft.data.datasets.boxed_images import BoxedImages
from keras_jft.data.datasets.coco import files as files_lib
from keras_jft.data.datasets.image_paths import find_images
from keras_jft.data.subsets import find_ids, read_ids
from keras_jft.files import check_split
from keras_jft.typing import PathLike

_SOURCES = ("files", "tfds")


def load(
    split: str | None = "train",
    *,
    directory: PathLike | None = None,
    annotations: PathLike | None = None,
    ids: PathLike | Sequence[int | str] | None = None,
    exclude: PathLike | Sequence[int | str] | None = None,
    annotated: bool = True,
    on_error: str = "raise",
    allow_outside: bool = False,
    orientation: str | None = None,
    source: str = "files",
    config: str = "coco/2017",
) -> Dataset:
    """Load the images and boxes of a split, in the order of the file.

    Args:
        split: "train", "train2017" or, for the union of two,
            "train2014+val2014".
        directory: Folder in COCO's layout. With `annotations`: the folder of
            images, that of the file if left out. With `source="tfds"`: TFDS's
            data directory.
        annotations: An annotation file. `{split}` in it, and in `directory`,
            stands for the split. Without `{split}`, the name of the file or of
            its folder must contain the split, unless it is "train" or None.
        ids: Ids of the images to keep, such as those of minival*: a list, or a
            file that `jft.data.read_ids` reads. An unknown id is an error.
        exclude: Ids of the images to leave out, in the same form.
        annotated: Whether the files have annotations; those of test sets, such
            as `image_info_test-dev2017.json`, have none.
        on_error: "raise" for a faulty annotation, or "drop" it with a warning.
        allow_outside: Whether files may name images outside of the folder.
        orientation: What boxes refer to when EXIF rotates an image: "apply",
            the image as it is shown; "ignore", the pixels as they are stored,
            which is the default, with a warning at the first such image.
        source: "files", or "tfds".
        config: Name of the TFDS data set.

    Returns:
        A `Dataset` with `bounding_boxes`; `ignored` are crowds, `areas` those
        of the segments. Ids are those of the images, and `info.category_ids`
        those of the categories. Through TFDS, ids are positions.

    Raises:
        ValueError: As `coco.files.read` does, or images are missing, or two
            records are of the same file.
    """
    checks.one_of("source", source, _SOURCES)
    if source == "tfds":
        return tfds.load_boxes(
            config, split, directory, on_error, orientation=orientation
        )
    check_chosen(split, annotations, ids, exclude)
    names = [None] if split is None else split.split("+")
    parts = [find(directory, name, annotations) for name in names]
    files = [
        files_lib.read(path, on_error=on_error, annotated=annotated)
        for path, _ in parts
    ]
    _check_same_categories(files)
    image_ids = np.concatenate([file.image_ids for file in files])
    _check_different(image_ids, files)
    entries = [
        file.bounding_boxes(image)
        for file in files
        for image in range(len(file.image_ids))
    ]
    paths = [
        path
        for file, (_, folder) in zip(files, parts, strict=True)
        for path in image_paths(file, folder, allow_outside=allow_outside)
    ]
    _check_different_files(paths, image_ids)
    sizes = np.concatenate([file.image_sizes for file in files])
    kept = selected(image_ids, ids, exclude)
    data = BoxedImages(
        image_ids[kept],
        [paths[i] for i in kept],
        sizes[kept],
        [entries[i] for i in kept] if annotated else None,
        files[0].label_names,
        files[0].category_ids,
        orientation=orientation,
    )
    if annotated and ids is None and exclude is None:
        warn_of_absent_classes(
            data.info.label_names,
            data.info.class_counts,
            f"image of {', '.join(repr(file.path) for file in files)}",
            "Check `categories` of the file, and that its annotations are "
            "whole.",
        )
    return data


def check_chosen(split, annotations, ids=None, exclude=None):
    """Raise `ValueError` unless a file or a list of ids selects the split.

    Args:
        split: As for `load`.
        annotations: As for `load`.
        ids: As for `load`.
        exclude: As for `load`.
    """
    if annotations is not None and ids is None and exclude is None:
        check_split(
            split, annotations, "Write `{split}` into it, or pass split=None."
        )


def find(directory, split, annotations=None, kind="instances"):
    """Return the annotation file of a split and the folder of its images.

    Args:
        directory: As for `load`.
        split: Name of one split.
        annotations: As for `load`.
        kind: The prefix of the file's name in COCO's layout.

    Raises:
        ValueError: There is no such file, or more than one.
    """
    if annotations is not None:
        path = Path(str(annotations).format(split=split))
        folder = path.parent if directory is None else directory
        return path, Path(str(folder).format(split=split))
    if directory is None:
        raise ValueError(
            "Pass `directory`, a folder in COCO's layout, or `annotations`, a "
            "file. Received neither."
        )
    folder = Path(directory, "annotations")
    found = sorted(folder.glob(f"{kind}_{split}.json"))
    found = found or sorted(folder.glob(f"{kind}_{split}[0-9]*.json"))
    if len(found) != 1:
        there = sorted(path.name for path in folder.glob("*.json"))
        raise ValueError(
            f"{str(folder)!r} must have one file {kind}_{split}.json, with or "
            f"without a year. Received {len(found)} among {there}. Pass "
            "`split` with its year, or `annotations`."
        )
    return found[0], Path(directory, found[0].stem.removeprefix(f"{kind}_"))


def image_paths(file, folder, images=None, *, allow_outside=False):
    """Return the paths of the images of a `CocoFile`, all of which exist.

    Args:
        file: The `CocoFile`.
        folder: Folder that its names are relative to.
        images: Numbers of the images; by default all.
        allow_outside: As for `load`.

    Raises:
        ValueError: As `find_images` does.
    """
    images = range(len(file.file_names)) if images is None else images
    names = [file.file_names[image] for image in images]
    found = find_images(
        folder, names, repr(file.path), allow_outside=allow_outside
    )
    return [Path(folder, name) for name in found]


def _check_same_categories(files):
    for file in files[1:]:
        if (file.category_ids, file.label_names) != (
            files[0].category_ids,
            files[0].label_names,
        ):
            raise ValueError(
                f"{file.path!r} must have the categories of "
                f"{files[0].path!r}. Received: {file.label_names} of ids "
                f"{file.category_ids}."
            )


def _check_different(image_ids, files):
    names, counts = np.unique(image_ids, return_counts=True)
    if not len(names) or counts.max() > 1:
        raise ValueError(
            "Files must have images, of different ids. Received: "
            f"{names[counts > 1][:5].tolist()} more than once in "
            f"{[file.path for file in files]}."
        )


def _check_different_files(paths, image_ids):
    """Check that no file has two records, as "a.jpg" and "./a.jpg"."""
    first = {}
    for path, name in zip(paths, image_ids.tolist(), strict=True):
        if path in first:
            raise ValueError(
                "Image records must be of different files. Received: ids "
                f"{first[path]!r} and {name!r}, both of {str(path)!r}. An "
                "object labeled in one would be background in the other: "
                "merge them."
            )
        first[path] = name


# === Lists of ids ===


def selected(image_ids, ids, exclude):
    """Return positions of the images that are kept, ascending."""
    kept = np.full(len(image_ids), ids is None)
    if ids is not None:
        kept[_listed(image_ids, ids, "ids")] = True
    if exclude is not None:
        kept[_listed(image_ids, exclude, "exclude")] = False
    if not kept.any():
        raise ValueError(
            "`ids` and `exclude` must leave images. Received: none of "
            f"{len(image_ids)}."
        )
    return np.flatnonzero(kept)


def _listed(image_ids, source, argument):
    """Return positions of the images that a list of ids, or its file, names."""
    ids = read_ids(source) if isinstance(source, (str, Path)) else source
    if not isinstance(ids, Iterable) or isinstance(ids, Mapping):
        raise ValueError(
            f"`{argument}` must be a list of ids of images, or a file of one. "
            f"Received: {text_files.short(ids)}."
        )
    # As strings: in a text file all ids are.
    return find_ids([*map(str, ids)], image_ids.astype(str), argument)
