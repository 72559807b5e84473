"""Polygons and boxes in a JSON file per image, as labelme writes them.

References:
    https://github.com/wkentaro/labelme: `shapes` of a `label`, a `shape_type`
    and `points` in pixels; `imagePath`, relative to the file.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_jft.data.dataset import Dataset
from keras_jft.data.datasets import drawn_objects
from keras_jft.data.datasets.boxed_images import Faults
from keras_jft.data.datasets.image_files import files_below
from keras_jft.data.datasets.image_paths import ImageFinder
from keras_jft.text import number_of
from keras_jft.text_files import read_json, short
from keras_jft.typing import PathLike

_CIRCLE = 32  # Corners of the polygon that stands for a circle.


def load(
    directory: PathLike,
    split: str | None = None,
    *,
    target: str = "boxes",
    label_names: Sequence[str] | None = None,
    on_error: str = "raise",
    allow_outside: bool = False,
    orientation: str = "apply",
) -> Dataset:
    """Load the images that have a JSON file, ordered by its path.

    Args:
        directory: Folder of JSON files and images; sub-folders are searched.
        split: The sub-folder to load; None: all.
        target: "boxes", around every object, or "masks", of which
            "background" is class 0; of overlapping objects, the last one in
            the file is in front.
        label_names: All classes, in the order of their ids; by default those
            in all files below `directory`, sorted.
        on_error: "raise" for a faulty object, or "drop" it with a warning.
        allow_outside: Whether files may name images outside of `directory`.
        orientation: As for `coco`; labelme draws on the image as it is shown.

    Returns:
        A `Dataset` with `bounding_boxes` or `segmentation_masks`; ids are the
        paths of the JSON files without suffix. Points and lines, which have no
        area, are left out with a warning.

    Raises:
        ValueError: There are no such files, one is not labelme's, an image is
            missing, or an object is faulty. The error names the file.
    """
    root = Path(directory)
    folder = root if split is None else root / split
    if not folder.is_dir():
        raise ValueError(
            f"There must be a folder {str(folder)!r}. Received none. Check "
            "`directory` and `split`."
        )
    faults = Faults(on_error)
    finder = ImageFinder(root, allow_outside=allow_outside)
    names: set[str] = set()
    images, left_out = [], 0
    for path in files_below(root, (".json",)):
        document = _document(path)
        shapes = document["shapes"]
        names.update(s.get("label") for s in shapes if _has_area(s))
        if not path.is_relative_to(folder):
            continue
        size = _size(path, document)
        objects = []
        left_out += sum(not _has_area(shape) for shape in shapes)
        for number, shape in enumerate(shapes):
            if _has_area(shape):
                where = f"{str(path)!r}: shape number {number}"
                with faults:
                    objects.append(_object(shape, size, where))
        images.append(
            drawn_objects.drawn(
                path.relative_to(root).with_suffix("").as_posix(),
                _image(path, document, root, finder),
                size,
                objects,
            )
        )
    faults.warn(folder)
    if left_out:
        warnings.warn(
            f"Left out {number_of(left_out, 'shape')} in {str(folder)!r} "
            "without an area: points and lines.",
            stacklevel=2,
        )
    return drawn_objects.data_set(
        images,
        label_names,
        target,
        repr(str(folder)),
        all_names=names,
        orientation=orientation,
    )


def is_labelme(document):
    """Return whether the value of a JSON file is labelme's."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("shapes"), list)
        and all(isinstance(shape, dict) for shape in document["shapes"])
        and isinstance(document.get("imagePath"), str)
    )


def _document(path):
    document = read_json(path)
    if not is_labelme(document):
        raise ValueError(
            f"{str(path)!r} must be a file of labelme: an object with "
            "`imagePath` and a list of `shapes`. Move other JSON files away."
        )
    return document


def _size(path, document):
    size = document.get("imageHeight"), document.get("imageWidth")
    if not all(type(side) is int and side > 0 for side in size):
        raise ValueError(
            f"{str(path)!r}: `imageHeight` and `imageWidth` must be whole "
            f"numbers above 0. Received: {short(size)}."
        )
    return size


def _image(path, document, root, finder):
    """Return the path of the image of a JSON file."""
    name = document["imagePath"].replace("\\", "/")
    beside = path.parent.relative_to(root).as_posix()
    try:
        return root / finder.find(f"{beside}/{name}")
    except ValueError as error:
        raise ValueError(
            f"{str(path)!r}: `imagePath` must name an image, relative to the "
            f"file. Received: {error}."
        ) from None


def _has_area(shape):
    return shape.get("shape_type", "polygon") not in (
        "point",
        "points",
        "line",
        "linestrip",
    )


def _object(shape, image_size, where):
    kind, corners = shape.get("shape_type", "polygon"), shape.get("points")
    try:
        corners = np.asarray(corners, "float64").reshape(-1, 2)
    except (TypeError, ValueError):
        corners = np.zeros((0, 2))  # Refused below.
    if kind == "circle" and len(corners) == 2:
        center, edge = corners
        turns = np.linspace(0, 2 * np.pi, _CIRCLE, endpoint=False)
        round_ = np.stack([np.cos(turns), np.sin(turns)], axis=1)
        corners = center + np.linalg.norm(edge - center) * round_
    elif kind not in ("polygon", "rectangle"):
        raise ValueError(
            f"{where}: `shape_type` must be polygon, rectangle or circle. "
            f"Received: {short(kind)}."
        )
    return drawn_objects.checked(
        shape.get("label"),
        corners,
        image_size,
        where,
        is_box=kind == "rectangle",
    )
