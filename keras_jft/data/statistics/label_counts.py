"""What is counted of labels, chunk by chunk. C classes."""

import numpy as np

from keras_jft.data.statistics.histogram import Histogram, added


class LabelCounts:
    """Images, labels an image and images a class.

    Args:
        num_classes: C; 0 where it is not known, and grows.
        most_named: How many labels out of range are named.

    Attributes:
        given: `Histogram` of distinct labels an image.
        specific: `Histogram` of those that no other of the image lies below.
        closed: How many labels there would be, were all sets closed upward.
        images: `(C,)` int64, images of each class.
        specific_images: `(C,)` int64, those without a more specific label.
        repeated: Labels that an image is given again; counted once.
        out_of_range: Labels that are no class; counted nowhere else.
        strays: Pairs of an id and a label out of range, the first ones.
    """

    def __init__(self, num_classes=0, most_named=20):
        self.given, self.specific = Histogram(), Histogram()
        self.closed = self.repeated = self.out_of_range = 0
        self.images = np.zeros(num_classes, "int64")
        self.specific_images = self.images
        self.strays, self._most_named = [], most_named

    def add(self, ids, sets):
        """Counts a chunk.

        Args:
            ids: Its n ids.
            sets: Its `LabelSets`.
        """
        self.given.add(sets.per_image())
        self.specific.add(sets.per_image(sets.is_specific))
        self.closed += sets.num_closed
        self.repeated += sets.repeated
        self.out_of_range += len(sets.strays)
        room = self._most_named - len(self.strays)
        for owner, label in sets.strays[:room].tolist():
            self.strays.append((ids[owner], label))
        size = len(self.images)
        specific = sets.labels[sets.is_specific]
        self.images = added(
            self.images, np.bincount(sets.labels, minlength=size)
        )
        size = len(self.images)
        self.specific_images = added(
            self.specific_images, np.bincount(specific, minlength=size)
        )

    @property
    def without_labels(self):
        """How many images have no label."""
        return int(self.given.counts[:1].sum())

    def below(self, num_images):
        """How many classes have fewer than `num_images` images; None: any."""
        if num_images is None:
            return len(self.images)
        return int((self.images < num_images).sum())
