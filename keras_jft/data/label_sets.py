"""The labels of a chunk of images, cleaned and concatenated.

Shapes: n images, M labels of all n images together, C classes.
"""

from typing import NamedTuple

import numpy as np

from keras_jft.data.batch import PADDING

# Without label names, ids from here on are out of range: they are hashes or
# mistakes, and counting them would take gigabytes.
MOST_CLASSES = 10_000_000


class LabelSets(NamedTuple):
    """The distinct labels of each image, in order of image and label.

    Attributes:
        num_images: n.
        owners: `(M,)` int64, the image of each label, 0..n - 1.
        labels: `(M,)` int64.
        is_specific: `(M,)` bool, whether no other label of the same image lies
            below it in the hierarchy.
        num_closed: How many labels there would be if all sets were closed
            upward.
        repeated: How many repeats of labels were dropped.
        strays: `(k, 2)` int64, image and label of the k labels out of range,
            which are left out.
    """

    num_images: int
    owners: np.ndarray
    labels: np.ndarray
    is_specific: np.ndarray
    num_closed: int
    repeated: int
    strays: np.ndarray

    def per_image(self, chosen=slice(None)):
        """Return the `(n,)` labels per image, of all or of the `chosen`."""
        return np.bincount(self.owners[chosen], minlength=self.num_images)


def label_sets(rows, num_classes=0, hierarchy=None):
    """Return the `LabelSets` of a chunk of images.

    Args:
        rows: n integers or integer arrays. -1 is padding and ignored; lower
            values, and C or more, are out of range.
        num_classes: C; 0 if it is not known.
        hierarchy: The `LabelHierarchy` of the labels; None: all labels count
            as specific.

    Raises:
        ValueError: Labels are not integers.
    """
    limit = num_classes or MOST_CLASSES
    labels, sizes = _end_to_end(rows)
    owners = np.repeat(np.arange(len(rows)), sizes)
    given = labels != PADDING
    inside = given & (labels >= 0) & (labels < limit)
    strays = np.stack([owners, labels], axis=1)[given & ~inside]
    # One integer per (image, label): sorting them sorts within images.
    cells = _distinct(owners[inside] * limit + labels[inside])
    specific, num_closed = np.ones(len(cells), bool), len(cells)
    if hierarchy is not None:
        above = _cells_above(cells, limit, hierarchy)
        specific = ~np.isin(cells, above, assume_unique=True)
        num_closed = int(specific.sum()) + len(above)
    owners, labels = np.divmod(cells, limit)
    return LabelSets(
        num_images=len(rows),
        owners=owners,
        labels=labels,
        is_specific=specific,
        num_closed=num_closed,
        repeated=int(inside.sum()) - len(cells),
        strays=strays,
    )


def _cells_above(cells, limit, hierarchy):
    """Return the cells of all labels above one of `cells`, sorted, unique."""
    owners, labels = np.divmod(cells, limit)
    closed, counts = hierarchy.closures(labels)
    above = closed != np.repeat(labels, counts)
    owners = np.repeat(owners, counts)
    return _distinct(owners[above] * limit + closed[above])


def _end_to_end(rows):
    """Return the `(M,)` int64 labels of all rows, and how many each has."""
    if any(np.ndim(row) == 0 for row in rows[:1]):
        rows = list(map(np.ravel, rows))
    sizes = np.fromiter(map(len, rows), "int64", len(rows))
    # Leave empty rows out: `np.array([])` is float.
    full = [row for row, size in zip(rows, sizes, strict=True) if size]
    labels = np.concatenate(full) if full else np.zeros(0, "int64")
    if labels.dtype.kind not in "iu":
        raise ValueError(
            "Label ids must be integers. Received an array of dtype "
            f"{labels.dtype}. Give ids, not names or dense targets."
        )
    return labels.astype("int64"), sizes


def _distinct(cells):
    """Sort `cells` and drop repeats, faster than `numpy.unique`."""
    cells = np.sort(cells)
    first = np.ones(len(cells), bool)
    first[1:] = cells[1:] != cells[:-1]
    return cells[first]
