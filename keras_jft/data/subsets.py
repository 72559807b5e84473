"""Nested subsets: 10,000 examples are inside the 30,000 of the same seed."""

import dataclasses

import numpy as np

from keras_jft import checks
from keras_jft.data import order
from keras_jft.data.datasets.dataset import Dataset

_CHUNK = 1_000_000


def subset(data, num_examples, seed=0):
    """The first `num_examples` of `data` in a random order of its ids.

    The order depends on ids and seed alone, so subsets of one seed nest and
    hold the same examples in whatever order the source lists them. Where ids
    are 0..N - 1 the order is a keyed permutation, which needs no memory;
    otherwise it is that of `hash64(seed, id)`.

    Args:
        data: A `Dataset`.
        num_examples: Size of the subset.
        seed: Integer. Another seed is another subset.

    Returns:
        A `Dataset` in that order.

    Raises:
        ValueError: `data` has fewer examples, or `num_examples` is not
            positive.
    """
    num_examples = checks.whole("num_examples", num_examples)
    if not 0 < num_examples <= len(data):
        raise ValueError(
            f"`num_examples` must be in 1..{len(data)}, the size of the data "
            f"set. Received: num_examples={num_examples}."
        )
    # A subset of a subset is then the same as the subset of the whole.
    if isinstance(data, Subset) and data.seed == seed:
        data, positions = data.source, data.positions
    elif _ids_are_positions(data):
        positions = order.permutation(len(data), seed)
    else:
        ids = np.asarray(data.ids(np.arange(len(data))))
        positions = _in_order_of_ids(ids, seed).__getitem__
    return Subset(data, positions, num_examples, seed)


class Subset(Dataset):
    """The first `num_examples` of `source` in an order.

    Args:
        source: A `Dataset`.
        positions: A function from an array of places in the order to an array
            of positions in `source`.
        num_examples: Size of the subset.
        seed: That of the order.
    """

    def __init__(self, source, positions, num_examples, seed):
        self.source = source
        self.positions = positions
        self.seed = seed
        self.info = dataclasses.replace(
            source.info,
            num_examples=num_examples,
            class_counts=None,
            people=None,
        )

    def ids(self, positions):
        """Ids of the source's examples."""
        return self.source.ids(self._places(positions))

    def image_bytes(self, position):
        """The image file in the source."""
        (position,) = self._places([position])
        return self.source.image_bytes(position)

    def take(self, positions):
        """Examples of the source."""
        return self.source.take(self._places(positions))

    def annotations(self, positions):
        """Annotations of the source."""
        return self.source.annotations(self._places(positions))

    def _places(self, positions):
        """Positions in the source; the order goes on beyond the subset."""
        positions = np.asarray(positions, "int64")
        if positions.size and not (
            positions.min() >= 0 and positions.max() < len(self)
        ):
            raise IndexError(
                f"Positions must be in 0..{len(self) - 1}. Received: "
                f"{positions.min()}..{positions.max()}."
            )
        return self.positions(positions)


def _in_order_of_ids(ids, seed):
    """Positions in the order that these ids, and no other source, have."""
    if ids.dtype.kind in "ui" and ids.max() == len(ids) - 1:
        by_id = np.argsort(ids)
        if np.array_equal(ids[by_id], np.arange(len(ids))):
            # 0..N - 1 listed otherwise: as where they are positions.
            shuffle = order.permutation(len(ids), seed)
            return by_id[shuffle(np.arange(len(ids)))]
    return np.argsort(order.hash64(seed, ids), kind="stable")


def _ids_are_positions(data):
    """Whether the ids are 0..N - 1, looked through in constant memory."""
    for start in range(0, len(data), _CHUNK):
        positions = np.arange(start, min(start + _CHUNK, len(data)))
        ids = np.asarray(data.ids(positions))
        if ids.dtype.kind not in "ui" or not np.array_equal(ids, positions):
            return False
    return True
