"""Images in one sub-folder per class: `directory/split/class/.../image.jpg`."""

import functools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_jft.data.dataset import Dataset, Info
from keras_jft.data.datasets.image_files import ImageFiles
from keras_jft.data.hierarchy import LabelHierarchy
from keras_jft.data.images import IMAGE_SUFFIXES
from keras_jft.data.label_names import almost, check_forms, checked_names
from keras_jft.files import folders_in, is_tool_name, walk
from keras_jft.text import number_of
from keras_jft.typing import PathLike

_SPLITS = {
    "train", "training", "trainval", "val", "valid", "validation", "dev",
    "test", "testing",
}  # fmt: skip
_NOT_A_CLASS = "images"
# Suffixes of notes, which nobody expects to be read as images.
_NOTES = (".csv", ".html", ".json", ".md", ".tsv", ".txt", ".xml", ".yaml")


def load(
    directory: PathLike,
    split: str | None = None,
    *,
    hierarchy: LabelHierarchy | Mapping[str, Any] | PathLike | None = None,
    classes: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
) -> Dataset:
    """Load the images of all class folders, in the order of their paths.

    Hidden files and folders, and those of tools (`keras_jft.files.TOOL_NAMES`),
    are left out. So are files without the suffix of an image, with a warning
    unless the suffix is that of notes (`.txt`, `.json`, ...).

    Without a hierarchy, an image has one label, the position of its class
    among the sorted classes of all splits: with folders of other splits beside
    that of `split`, such as `val` beside `train`, their classes count too, so
    that splits agree on ids. With a hierarchy, it has many: its class and every
    label above it. The id of an example is its path relative to the folder of
    class folders.

    Args:
        directory: Folder of class folders, or of splits.
        split: Folder of class folders inside `directory`, if there are splits.
        hierarchy: `{"names": {key: name}, "edges": [[parent, child]]}`, the
            path of a JSON file with it, or a `LabelHierarchy`. Class folders
            have the names of its keys or names. Labels that are neither a
            class nor above one are left out.
        classes: Names of the class folders to keep; by default all.
        exclude: Names of class folders to leave out.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: The folder does not exist, or has no class folders or one
            without images; the class folders are splits, and `split` and
            `classes` are None; or a class is not in the hierarchy.
    """
    root = Path(directory) if split is None else Path(directory, split)
    own = _class_folders(root)
    beside = () if split is None else _classes_beside(root)
    names = _class_names(root, own, beside, classes, exclude)
    if split is None and classes is None:
        _check_no_splits(root, names)
    absent = [name for name in names if name not in own]
    if absent and classes is None:
        warnings.warn(
            f"Classes of other splits without a folder in {str(root)!r}: "
            f"{len(absent)}, {absent[:5]}. They count among its {len(names)}, "
            "so that splits agree on ids. Leave out with `exclude` what is not "
            "a class.",
            stacklevel=2,
        )
    paths, class_ids, left_out = [], [], []
    for class_id, name in enumerate(names):
        if name in absent:
            continue
        found, others = _image_paths(root, name)
        left_out += others
        if not found:
            raise ValueError(
                f"Every class folder must hold images. Received {name!r} in "
                f"{str(root)!r} without {', '.join(IMAGE_SUFFIXES)} files. "
                "Add some, or leave it out with `exclude`."
            )
        paths += found
        class_ids += [class_id] * len(found)
    strays = _images_beside(root)
    if strays:
        warnings.warn(
            f"Left out {number_of(len(strays), 'image')} beside the class "
            f"folders in {str(root)!r}: {strays[:5]}. Put each into the folder "
            "of its class.",
            stacklevel=2,
        )
    if left_out:
        warnings.warn(
            f"Left out {number_of(len(left_out), 'file')} in {str(root)!r} "
            f"that do not end with {', '.join(IMAGE_SUFFIXES)}: "
            f"{left_out[:5]}. Convert or rename those that are images.",
            stacklevel=2,
        )
    ids = np.array(class_ids, "int32")
    tree = None if hierarchy is None else _above(names, hierarchy)
    labels = list(np.arange(len(names), dtype="int32"))
    label_names, max_labels = names, None
    if tree is not None:
        labels = [tree.close([tree.index(name)]) for name in names]
        label_names, max_labels = tree.names, max(map(len, labels))
    counts = np.zeros(len(label_names), "int64")
    for class_labels, n in zip(
        labels, np.bincount(ids, minlength=len(names)), strict=True
    ):
        counts[class_labels] += n
    return ImageFiles(
        root,
        paths,
        functools.partial(_labels_at, labels, ids),
        Info(
            num_examples=len(paths),
            label_names=tuple(label_names),
            class_counts=counts,
            hierarchy=tree,
            max_labels=max_labels,
        ),
    )


def _labels_at(labels, class_ids, position):
    return labels[class_ids[position]]


def _class_folders(root):
    """Return the names of the folders in the folder of class folders."""
    if not root.is_dir():
        raise ValueError(
            f"The folder of class folders must exist. Received: {str(root)!r}. "
            "Check `directory` and `split`; pass `split=None` if `directory` "
            "itself holds the class folders."
        )
    return [folder.name for folder in folders_in(root)]


def _classes_beside(root):
    """Return the names of the class folders of the splits beside one.

    The only folder of a split may be `images`: Tiny ImageNet keeps its images
    for validation there, and a table names their classes.
    """
    found = [
        [folder.name for folder in folders_in(other)]
        for other in folders_in(root.parent)
        if other.name.lower() in _SPLITS
    ]
    return {
        name for names in found if names != [_NOT_A_CLASS] for name in names
    }


def _class_names(root, own, beside, classes, exclude):
    """Return the sorted names of the wanted class folders of all splits."""
    found = sorted({*own, *beside})
    check_forms(found, repr(str(root)))
    classes = found if classes is None else checked_names(classes, "classes")
    exclude = checked_names(exclude, "exclude")
    unknown = sorted({*classes, *exclude} - set(found))
    if unknown:
        raise ValueError(
            f"`classes` and `exclude` must name folders in {str(root)!r}. "
            f"Received without a folder: {unknown}{almost(unknown[0], found)}."
        )
    wanted = set(classes) - set(exclude)
    names = [name for name in found if name in wanted]
    if wanted.isdisjoint(own):
        raise ValueError(
            f"{str(root)!r} must hold one folder per class. Found "
            f"{number_of(len(own), 'folder')}, 0 of them wanted. "
            "Give `directory` with one folder of images for each class."
        )
    return names


def _images_beside(root):
    """Return the sorted names of the images that are in no class folder."""
    return sorted(
        path.name
        for path in root.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not is_tool_name(path.name)
        and path.is_file()
    )


def _image_paths(root, name):
    """Return the sorted paths of images, and of other files, of a class.

    Paths are relative to `root`; notes are in neither list.
    """
    images, others = [], []
    for path in walk(root / name):
        suffix = path.suffix.lower()
        if suffix not in _NOTES:
            kind = images if suffix in IMAGE_SUFFIXES else others
            kind.append(path.relative_to(root).as_posix())
    return sorted(images), sorted(others)


def _check_no_splits(root, names):
    """Raise `ValueError` if the class folders are in fact splits."""
    splits = [
        name
        for name in names
        if name.lower() in _SPLITS and folders_in(root / name)
    ]
    if len(splits) > 1 or (
        splits and all(name.lower() in _SPLITS for name in names)
    ):
        raise ValueError(
            f"{str(root)!r} must hold one folder per class. Received "
            f"{number_of(len(splits), 'split')}, {splits}, with folders in "
            f"them. Pass `split=`, such as split={splits[0]!r}; or `classes=` "
            "if they are classes."
        )


def _above(names, hierarchy):
    """Return the hierarchy of the classes and of all labels above them."""
    if not isinstance(hierarchy, LabelHierarchy):
        hierarchy = LabelHierarchy.from_json(hierarchy)
    return hierarchy.subset([hierarchy.index(name) for name in names])
