"""What is counted of boxes, chunk by chunk. C classes."""

import numpy as np

from keras_jft.data.batch import PADDING
from keras_jft.data.statistics.histogram import Histogram, added


class BoxCounts:
    """Boxes an image and boxes a class.

    Boxes to be ignored (crowd, difficult) are counted on their own.

    Args:
        num_classes: C; 0 where it is not known, and grows.

    Attributes:
        per_image: `Histogram` of boxes an image.
        boxes: `(C,)` int64, boxes of each class.
        ignored: Boxes to be ignored.
    """

    def __init__(self, num_classes=0):
        self.per_image = Histogram()
        self.boxes = np.zeros(num_classes, "int64")
        self.ignored = 0

    def add(self, entries):
        """Counts the `bounding_boxes` of some images."""
        rows = [counted_labels(entry) for entry in entries]
        labels = np.concatenate([np.zeros(0, "int64"), *rows])
        self.per_image.add([len(row) for row in rows])
        size = len(self.boxes)
        inside = labels[(labels >= 0) & (labels < (size or np.inf))]
        self.boxes = added(self.boxes, np.bincount(inside, minlength=size))
        self.ignored += sum(
            int(np.sum(entry["ignored"][entry["labels"] != PADDING]))
            for entry in entries
            if "ignored" in entry
        )


def counted_labels(entry):
    """The labels of the boxes that are neither padding nor ignored.

    Args:
        entry: `bounding_boxes` of one image.
    """
    labels = np.asarray(entry["labels"])
    counted = labels != PADDING
    if "ignored" in entry:
        counted &= ~np.asarray(entry["ignored"], bool)
    return labels[counted]
