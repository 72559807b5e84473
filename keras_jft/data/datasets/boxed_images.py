"""Images with boxes, the basis of `coco` and `voc`.

Boxes are x1, y1, x2, y2 in pixels.
"""

import warnings

import numpy as np

from keras_jft import checks
from keras_jft.data.dataset import Dataset, Info
from keras_jft.data.images import AnnotatedImages, read_file
from keras_jft.text import number_of

# Boxes that reach at most this many pixels out of the image are clipped, since
# annotation tools round. A box further out may belong to another image.
_TOLERANCE = 1.0
# Smallest side of a box in pixels: float32 may not resolve thinner boxes.
_THINNEST = 1e-3
ON_ERROR = ("raise", "drop")


class BoxedImages(Dataset):
    """Image files and the boxes in each.

    Args:
        ids: One id per image.
        paths: One path per image.
        image_sizes: One `(height, width)` per image, which the file must have,
            or None.
        entries: `bounding_boxes` of each image; None if they are not known,
            as in a test set.
        label_names: One name per class.
        category_ids: Original id of each class, or None.
        orientation: As for `AnnotatedImages`.
    """

    def __init__(
        self,
        ids,
        paths,
        image_sizes,
        entries,
        label_names,
        category_ids=None,
        *,
        orientation=None,
    ):
        self._images = AnnotatedImages(orientation)
        self._ids, self._paths = np.asarray(ids), [*map(str, paths)]
        self._sizes, self._entries = image_sizes, entries
        if entries is not None:
            _check_pixels(entries)
        boxes = {} if entries is None else _counts(entries, len(label_names))
        self.info = Info(
            num_examples=len(self._paths),
            label_names=tuple(label_names),
            category_ids=category_ids,
            **boxes,
        )

    def ids(self, positions):
        """Return the ids of the annotations."""
        return self._ids[np.asarray(positions)]

    def image_bytes(self, position):
        """Return the image file."""
        return read_file(self._paths[position])

    def __getitem__(self, position):
        position = self._position(position)
        size = self._sizes[position]
        size = None if size is None else tuple(map(int, size))
        image = self._images.decode(self._paths[position], image_size=size)
        return {"images": image, **self._annotations(position)}

    def annotations(self, positions):
        """Return boxes and ids without opening an image."""
        return [self._annotations(position) for position in positions]

    def _annotations(self, position):
        example = {"ids": self._ids[position].item()}
        if self._entries is not None:
            example["bounding_boxes"] = dict(self._entries[position])
        return example


def _check_pixels(entries):
    """Raise `ValueError` if all boxes are fractions of their images."""
    boxes = [entry["boxes"] for entry in entries if len(entry["boxes"])]
    if boxes and all(b.max() <= 1 for b in boxes):
        boxes = np.concatenate(boxes)
        if (boxes % 1).any():
            raise ValueError(
                "Boxes must be in pixels, not in 0..1. Received: "
                f"{boxes[0].tolist()}, and no number above 1 in "
                f"{number_of(len(boxes), 'box', 'boxes')}. Multiply by the "
                "width and height of each image."
            )


def _counts(entries, num_classes):
    """Return the most boxes per image, and the images of each class."""
    seen = [np.unique(entry["labels"]) for entry in entries]
    return {
        "max_boxes": max([1, *(len(entry["labels"]) for entry in entries)]),
        "class_counts": np.bincount(
            np.concatenate(seen), minlength=num_classes
        ),
    }


# === Faulty boxes ===


def fault_of(box, image_size):
    """Return what a box should be and is not, as text; None if it is fine.

    Args:
        box: Finite x1, y1, x2, y2 in pixels.
        image_size: `(height, width)`.

    Example:

    >>> fault_of([2, 3, 4.5, 9], image_size=(8, 10))
    >>> fault_of([2, 3, 2, 5], image_size=(8, 10))
    'a width and a height above 0'
    >>> fault_of([2, 3, 5, 9.5], image_size=(8, 10))
    'a box inside the image, which is 10 wide and 8 high'
    """
    x1, y1, x2, y2 = box
    height, width = image_size
    if x2 - x1 < _THINNEST or y2 - y1 < _THINNEST:
        return "a width and a height above 0"
    outside = max(-x1, -y1, x2 - width, y2 - height) > _TOLERANCE
    x1, y1, x2, y2 = clipped(box, image_size)
    if outside or x2 - x1 < _THINNEST or y2 - y1 < _THINNEST:
        return (
            f"a box inside the image, which is {width} wide and {height} high"
        )
    return None


def clipped(box, image_size):
    """Return the part of a box that lies in the image."""
    x1, y1, x2, y2 = box
    height, width = image_size
    return max(x1, 0.0), max(y1, 0.0), min(x2, width), min(y2, height)


class Faults:
    """A policy for faulty annotations: raise the error, or drop and count.

    Use it as a context around the reading of each annotation, then call `warn`.

    Args:
        on_error: "raise", or "drop": the annotation is left out.
    """

    def __init__(self, on_error):
        checks.one_of("on_error", on_error, ON_ERROR)
        self.drops, self.errors = on_error == "drop", []

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None or not issubclass(kind, ValueError):
            return False
        if not self.drops:
            raise ValueError(
                f"{error} Correct it, or set `on_error='drop'` to leave such "
                "annotations out."
            ) from None
        self.errors.append(str(error))
        return True

    def warn(self, path):
        """Warn of annotations of a file that were left out, if any were."""
        if self.errors:
            warnings.warn(
                f"Left out {number_of(len(self.errors), 'annotation')} of "
                f"{str(path)!r}, the first because: {self.errors[0]}",
                stacklevel=3,
            )
