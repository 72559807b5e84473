"""Objects that a tool has drawn on images: as boxes, or as masks.

The readers of labelImg, YOLO, labelme and CVAT find the same in their files: an
image, and boxes or polygons with the name of a class. `data_set` makes of it
what was asked for.

Shapes: N objects of an image, P corners of a polygon.
"""

import dataclasses
from pathlib import Path

import numpy as np
from pycocotools import mask

from keras_jft import checks
from keras_jft.data.dataset import Dataset, Info, warn_of_absent_classes
from keras_jft.data.datasets.boxed_images import BoxedImages, clipped, fault_of
from keras_jft.data.images import AnnotatedImages, read_file
from keras_jft.data.label_names import check_forms, checked_names
from keras_jft.text_files import short

TARGETS = ("boxes", "masks")
BACKGROUND = "background"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """The objects of one image.

    Attributes:
        name: Id of the image.
        path: Its file.
        image_size: `(height, width)`.
        names: N names of classes.
        boxes: `(N, 4)` float32 x1, y1, x2, y2 in pixels.
        outlines: N polygons, `(P, 2)` x, y in pixels; None for a box.
        ignored: `(N,)` bool.
    """

    name: str
    path: Path
    image_size: tuple[int, int]
    names: tuple[str, ...]
    boxes: np.ndarray
    outlines: tuple
    ignored: np.ndarray


def drawn(name, path, image_size, objects):
    """Return a `Drawn` of a list of objects.

    Args:
        name: Id of the image.
        path: Its file.
        image_size: `(height, width)`.
        objects: Triples of a class, a box or None, and a polygon or None, as
            `checked` returns them.
    """
    names, boxes, outlines = zip(*objects, strict=True) if objects else [()] * 3
    return Drawn(
        name=name,
        path=Path(path),
        image_size=tuple(image_size),
        names=tuple(names),
        boxes=np.array(boxes, "float32").reshape(-1, 4),
        outlines=tuple(outlines),
        ignored=np.zeros(len(names), bool),
    )


def checked(name, corners, image_size, where, *, is_box):
    """Return class, box and polygon of an object.

    Args:
        name: The class.
        corners: `(P, 2)` x, y in pixels: two opposite corners of a box, or the
            corners of a polygon.
        image_size: `(height, width)`.
        where: What errors call the object.
        is_box: Whether it is a box.

    Raises:
        ValueError: It has no class, too few corners, or no area in the image.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(
            f"{where}: expected the name of a class. Received: {short(name)}."
        )
    corners = np.asarray(corners, "float64")
    least = 2 if is_box else 3
    if (
        corners.ndim != 2
        or corners.shape[1:] != (2,)
        or len(corners) < least
        or not np.isfinite(corners).all()
    ):
        raise ValueError(
            f"{where}: expected {least} or more corners, x and y, finite. "
            f"Received: {short(corners.tolist())}."
        )
    box = (*corners.min(axis=0), *corners.max(axis=0))
    if not is_box:  # The hand that draws a polygon may leave the image.
        height, width = image_size
        corners = np.clip(corners, 0, (width, height))
        box = (*corners.min(axis=0), *corners.max(axis=0))
    fault = fault_of(box, image_size)
    if fault:
        raise ValueError(
            f"{where}: expected {fault}. Received x1, y1, x2, y2: "
            f"{short([round(float(side), 2) for side in box])}."
        )
    return name.strip(), clipped(box, image_size), None if is_box else corners


def data_set(images, label_names, target, where, *, all_names, orientation):
    """Return a data set of boxes or of masks.

    Args:
        images: A list of `Drawn`.
        label_names: All classes in the order of their ids, or None.
        target: "boxes" or "masks"; masks have "background" as class 0, and of
            overlapping objects the last one is in front.
        where: What errors call the annotations.
        all_names: The classes that occur, in all splits.
        orientation: As for `AnnotatedImages`.

    Raises:
        ValueError: There are no images, an id is repeated, or a class is not
            in `label_names`.
    """
    checks.one_of("target", target, TARGETS)
    if not images:
        raise ValueError(
            f"{where} must have annotated images. Received none. Check "
            "`directory` and `split`."
        )
    ids = [image.name for image in images]
    if len(set(ids)) < len(ids):
        again = sorted(name for name in set(ids) if ids.count(name) > 1)
        raise ValueError(
            f"{where} must name each image once. Received again: "
            f"{short(again[:5])}."
        )
    is_declared = label_names is not None
    if is_declared:
        label_names = checked_names(label_names)
    else:
        texts = (name for name in all_names if isinstance(name, str))
        label_names = tuple(sorted({name.strip() for name in texts} - {""}))
        check_forms(label_names, where)
    ids_of = {name: label for label, name in enumerate(label_names)}
    for image in images:
        unknown = sorted(set(image.names) - ids_of.keys())
        if unknown:
            raise ValueError(
                f"The objects of {str(image.path)!r} must be of the classes "
                f"{short(list(label_names))}. Received: {short(unknown)}. Add "
                "them to `label_names`."
            )
    if target == "masks":
        data = DrawnMasks(images, label_names, orientation=orientation)
    else:
        entries = [
            {
                "boxes": image.boxes,
                "labels": np.array([ids_of[n] for n in image.names], "int32"),
                "ignored": image.ignored,
            }
            for image in images
        ]
        data = BoxedImages(
            ids,
            [image.path for image in images],
            [image.image_size for image in images],
            entries,
            label_names,
            orientation=orientation,
        )
    if is_declared or not label_names:
        found = {name for image in images for name in image.names}
        warn_of_absent_classes(
            label_names,
            [name in found for name in label_names],
            f"image of {where}",
        )
    return data


class DrawnMasks(Dataset):
    """Masks of the objects of images, drawn when they are read.

    Args:
        images: A list of `Drawn`. A box counts as a polygon of four corners.
        label_names: One name per class of objects; in masks, 1 is the first.
        orientation: As for `AnnotatedImages`.
    """

    def __init__(self, images, label_names, *, orientation=None):
        self._images, self._drawn = AnnotatedImages(orientation), list(images)
        self._values = {name: i for i, name in enumerate(label_names, 1)}
        self.info = Info(
            num_examples=len(self._drawn),
            mask_names=(BACKGROUND, *label_names),
        )

    def ids(self, positions):
        """Return the ids of the images."""
        names = np.array([image.name for image in self._drawn])
        return names[np.asarray(positions)]

    def image_bytes(self, position):
        """Return the image file."""
        return read_file(self._drawn[position].path)

    def __getitem__(self, position):
        image = self._drawn[self._position(position)]
        pixels = self._images.decode(str(image.path), None, image.image_size)
        return {
            "images": pixels,
            "segmentation_masks": self._mask(image),
            "ids": image.name,
        }

    def annotations(self, positions):
        """Return ids without opening a file."""
        return [{"ids": self._drawn[position].name} for position in positions]

    def _mask(self, image):
        height, width = image.image_size
        found = np.zeros((height, width), "uint8")
        for name, box, outline in zip(
            image.names, image.boxes, image.outlines, strict=True
        ):
            if outline is None:
                x1, y1, x2, y2 = box
                outline = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
            polygon = np.asarray(outline, "float64").ravel().tolist()
            (encoded,) = mask.frPyObjects([polygon], height, width)
            found[mask.decode(encoded) > 0] = self._values[name]
        return found[..., None]
