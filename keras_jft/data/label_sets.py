"""The labels of a chunk of images, cleaned and end to end.

Shapes: n images, M labels of all of them, C classes.
"""

from typing import NamedTuple

import numpy as np

from keras_jft.data.batch import PADDING

# Where a data set has no label names, ids from here on are out of range: they
# are hashes or mistakes, and would take memory by the gigabyte.
MOST_CLASSES = 10_000_000


class LabelSets(NamedTuple):
    """The distinct labels of each image, in order of image and label.

    Attributes:
        num_images: n.
        owners: `(M,)` int64, the image that each label is of, 0..n - 1.
        labels: `(M,)` int64.
        is_specific: `(M,)` bool, no other label of its image lies below it.
        num_closed: How many labels there would be, were all sets closed
            upward.
        repeated: How many labels were given again.
        strays: `(k, 2)` int64, image and label of those out of range, which
            are left out.
    """

    num_images: int
    owners: np.ndarray
    labels: np.ndarray
    is_specific: np.ndarray
    num_closed: int
    repeated: int
    strays: np.ndarray

    def per_image(self, chosen=slice(None)):
        """`(n,)` labels of each image, or of those that are `chosen`."""
        return np.bincount(self.owners[chosen], minlength=self.num_images)


def label_sets(rows, num_classes=0, hierarchy=None):
    """The `LabelSets` of a chunk of images.

    Args:
        rows: n integers or integer arrays; -1 is padding and ignored, what is
            below it or not below C is out of range.
        num_classes: C; 0 where it is not known.
        hierarchy: The `LabelHierarchy` of the labels, or None: then all are
            specific.

    Raises:
        ValueError: Labels are no integers.
    """
    limit = num_classes or MOST_CLASSES
    labels, sizes = _end_to_end(rows)
    owners = np.repeat(np.arange(len(rows)), sizes)
    given = labels != PADDING
    inside = given & (labels >= 0) & (labels < limit)
    strays = np.stack([owners, labels], axis=1)[given & ~inside]
    # One integer a (image, label): sorting those sorts within images.
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
    """The cells of all labels above one of `cells`, sorted, unique."""
    owners, labels = np.divmod(cells, limit)
    closed, counts = hierarchy.closures(labels)
    above = closed != np.repeat(labels, counts)
    owners = np.repeat(owners, counts)
    return _distinct(owners[above] * limit + closed[above])


def _end_to_end(rows):
    """`(M,)` int64 labels of all rows, and how many each has."""
    if any(np.ndim(row) == 0 for row in rows[:1]):
        rows = list(map(np.ravel, rows))
    sizes = np.fromiter(map(len, rows), "int64", len(rows))
    # Not the empty ones, which are float where they are made of nothing.
    full = [row for row, size in zip(rows, sizes, strict=True) if size]
    labels = np.concatenate(full) if full else np.zeros(0, "int64")
    if labels.dtype.kind not in "iu":
        raise ValueError(
            "Label ids must be integers. Received an array of dtype "
            f"{labels.dtype}. Give ids, not names or dense targets."
        )
    return labels.astype("int64"), sizes


def _distinct(cells):
    """`cells` sorted, each once; faster than `numpy.unique`, which hashes."""
    cells = np.sort(cells)
    first = np.ones(len(cells), bool)
    first[1:] = cells[1:] != cells[:-1]
    return cells[first]
