"""Small pictures of examples, for galleries."""

import io

import numpy as np
from PIL import Image

from keras_jft.data.statistics.failures import UNREADABLE
from keras_jft.data.statistics.label_sets import label_sets
from keras_jft.pages import Thumbnail

SIDE = 96  # Pixels; smaller images stay as they are.
_QUALITY = 85
_MOST_NAMES = 3


def thumbnails(data, positions, caption):
    """Pictures of those examples that can be read.

    Args:
        data: A `Dataset`.
        positions: Positions in it.
        caption: A function from an example to what is written below it.

    Returns:
        A tuple of `Thumbnail`.
    """
    found = (_read(data, int(position)) for position in positions)
    return tuple(
        Thumbnail(jpeg(example["images"]), caption(example))
        for example in found
        if example is not None
    )


def jpeg(image):
    """The bytes of a small JPEG.

    Args:
        image: `(H, W, 3)`, 0..255.
    """
    picture = Image.fromarray(np.asarray(image).clip(0, 255).astype("uint8"))
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _read(data, position):
    try:
        return data.take([position])[0]
    except UNREADABLE:
        return None


def file_name(example):
    """The id of an example, without the folders that it may begin with."""
    return str(example["ids"]).rsplit("/", maxsplit=1)[-1]


def captions(label_names, hierarchy=None):
    """A function from an example to the names of its most specific labels.

    Args:
        label_names: One name a class.
        hierarchy: The `LabelHierarchy` of the labels, or None.
    """

    def caption(example):
        if "labels" not in example:
            return file_name(example)
        sets = label_sets([example["labels"]], len(label_names), hierarchy)
        labels = sets.labels[sets.is_specific]
        names = [str(label_names[label]) for label in labels[:_MOST_NAMES]]
        more = f" and {len(labels) - _MOST_NAMES} more"
        names = ", ".join(names) + more * (len(labels) > _MOST_NAMES)
        return names or "no label"

    return caption
