"""Which labels stand together on an image, in bounded memory.

Shapes: K classes that are looked at, C classes of the data set.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse

FEWEST_SHARED = 20  # Images below which a high lift says little.


class Pair(NamedTuple):
    """Two labels of the same images.

    Attributes:
        first: Label id.
        second: Label id, larger.
        images: Images with both.
        lift: `images` over what it would be, were they independent.
    """

    first: int
    second: int
    images: int
    lift: float


class LabelPairs:
    """How many images each two of K classes share, a K x K table.

    Of each image the most specific labels are paired: that a corgi is also a
    dog is what the hierarchy says, not the data.

    Args:
        classes: `(K,)` sorted label ids; other labels are left out.
    """

    def __init__(self, classes):
        self.classes = np.asarray(classes, "int64")
        self.num_images = 0
        self._shared = np.zeros((len(self.classes),) * 2, "int64")

    def add(self, sets):
        """Counts a chunk of `LabelSets`."""
        self.num_images += sets.num_images
        labels = sets.labels[sets.is_specific]
        places = np.searchsorted(self.classes, labels)
        places[places == len(self.classes)] = 0
        chosen = np.isin(labels, self.classes)
        cells = (sets.owners[sets.is_specific][chosen], places[chosen])
        present = scipy.sparse.csr_array(
            (np.ones(len(cells[0]), "int32"), cells),
            shape=(sets.num_images, len(self.classes)),
        )
        together = (present.T @ present).tocoo()
        self._shared[together.coords] += together.data

    def top(self, num_pairs, by="images", fewest=1):
        """The pairs that stand out, most first.

        Args:
            num_pairs: How many.
            by: "images", or "lift".
            fewest: Images that a pair must share.

        Returns:
            A list of `Pair`.
        """
        first, second = np.nonzero(np.triu(self._shared >= max(1, fewest), 1))
        images = self._shared[first, second]
        alone = self._shared.diagonal()
        # Float64 before the product: counts of 300M squared overflow.
        expected = alone[first].astype("float64") * alone[second]
        lift = images * self.num_images / expected
        worth = {"images": images, "lift": lift}[by]
        order = np.lexsort((second, first, -worth))[:num_pairs]
        return [
            Pair(
                int(self.classes[first[i]]),
                int(self.classes[second[i]]),
                int(images[i]),
                float(lift[i]),
            )
            for i in order
        ]
