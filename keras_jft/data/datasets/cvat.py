"""Boxes and polygons in one XML file, "CVAT for images 1.1".

References:
    https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_jft.data.dataset import Dataset
from keras_jft.data.datasets import drawn_objects, voc
from keras_jft.data.datasets.boxed_images import Faults
from keras_jft.data.datasets.image_paths import ImageFinder
from keras_jft.text_files import short
from keras_jft.typing import PathLike


def load(
    directory: PathLike,
    split: str | None = None,
    *,
    annotations: str = "annotations.xml",
    images: str | None = None,
    target: str = "boxes",
    label_names: Sequence[str] | None = None,
    on_error: str = "raise",
    orientation: str | None = None,
) -> Dataset:
    """Load the images of an export of CVAT, in the order of its file.

    Args:
        directory: Folder of the export.
        split: The `subset` of the images to load; None: all.
        annotations: The XML file in it.
        images: The folder of images in it; by default "images" if that exists,
            else `directory` itself.
        target: "boxes", around every object, or "masks", of which
            "background" is class 0; of overlapping objects, the one with the
            highest `z_order`, then the last, is in front.
        label_names: All classes, in the order of their ids; by default those
            of the file, whatever the split, sorted.
        on_error: "raise" for a faulty object, or "drop" it with a warning.
        orientation: As for `coco`.

    Returns:
        A `Dataset` with `bounding_boxes` or `segmentation_masks`; ids are the
        names of the images in the file.

    Raises:
        ValueError: The file is not CVAT's, an image is missing, or an object
            is faulty.
    """
    root = Path(directory)
    path = root / annotations
    if images is None:
        images = "images" if (root / "images").is_dir() else ""
    finder, faults = ImageFinder(root / images), Faults(on_error)
    found: list = []
    names: set = set()
    for element in voc.parse(path, "annotations").iter("image"):
        shapes = [s for s in element if s.tag in ("box", "polygon")]
        names.update(shape.get("label") for shape in shapes)
        if split is not None and element.get("subset") != split:
            continue
        name = element.get("name") or ""
        where = f"{str(path)!r}, image {name!r}"
        size = _size(element, where)
        objects = []
        for number, shape in enumerate(sorted(shapes, key=_depth)):
            with faults:
                objects.append(_object(shape, size, where, number))
        try:
            file = root / images / finder.find(name)
        except ValueError as error:
            raise ValueError(
                f"Every image of {str(path)!r} must be a file in "
                f"{str(root / images)!r}. Received: {error}."
            ) from None
        found.append(drawn_objects.drawn(name, file, size, objects))
    faults.warn(path)
    return drawn_objects.data_set(
        found,
        label_names,
        target,
        repr(str(path)),
        all_names=names,
        orientation=orientation,
    )


def subsets(path):
    """Return the names of the subsets of an export, sorted; none is ()."""
    images = voc.parse(path, "annotations").iter("image")
    return tuple(sorted({i.get("subset") for i in images} - {None}))


def _depth(shape):
    order = shape.get("z_order") or "0"
    return int(order) if order.lstrip("-").isdecimal() else 0


def _size(element, where):
    size = element.get("height") or "", element.get("width") or ""
    if not all(side.isdecimal() and int(side[:10]) > 0 for side in size):
        raise ValueError(
            f"{where}: `height` and `width` must be whole numbers above 0. "
            f"Received: {short(size)}."
        )
    return tuple(map(int, size))


def _object(shape, size, where, number):
    where = f"{where}, {shape.tag} number {number}"
    try:
        if shape.tag == "box":
            sides = [shape.get(s) for s in ("xtl", "ytl", "xbr", "ybr")]
            corners = np.array([float(side) for side in sides]).reshape(2, 2)
        else:
            pairs = (shape.get("points") or "").split(";")
            corners = np.array([[*map(float, p.split(","))] for p in pairs])
    except (TypeError, ValueError):
        raise ValueError(
            f"{where}: coordinates must be numbers. Received: "
            f"{short(dict(shape.attrib))}."
        ) from None
    if shape.tag == "box" and (corners[1] <= corners[0]).any():
        corners = corners[:1].repeat(2, axis=0)  # Inverted: no area.
    return drawn_objects.checked(
        shape.get("label"), corners, size, where, is_box=shape.tag == "box"
    )
