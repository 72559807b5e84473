"""The annotations of a data set, chunk by chunk."""

from typing import NamedTuple

import numpy as np

from keras_jft.data.statistics.box_counts import counted_labels
from keras_jft.data.statistics.failures import UNREADABLE

CHUNK = 8_192
_NONE = np.zeros(0, "int32")


class Chunk(NamedTuple):
    """Some examples in a row.

    Attributes:
        positions: `(n,)` int64.
        ids: List of n.
        examples: List of n annotations.
    """

    positions: np.ndarray
    ids: list
    examples: list

    @property
    def has_labels(self):
        """Whether any example has `labels`."""
        return any("labels" in example for example in self.examples)

    @property
    def entries(self):
        """`bounding_boxes` of those that have them."""
        return [
            example["bounding_boxes"]
            for example in self.examples
            if "bounding_boxes" in example
        ]

    @property
    def rows(self):
        """The labels of each example, or the classes of its boxes."""
        return list(map(_labels, self.examples))


def _labels(example):
    if "labels" in example:
        return example["labels"]
    if "bounding_boxes" in example:
        return np.unique(counted_labels(example["bounding_boxes"]))
    return _NONE


def scan(data, failures=None):
    """Yields a `Chunk` after the other; unreadable examples are left out.

    A data set of one example a person is read image by image, as its boxes
    are those of the images.

    Args:
        data: A `Dataset`.
        failures: `Failures` to count unreadable examples in, if wanted.
    """
    if data.info.people is not None:
        people = list(data.info.people.items())
        for start in range(0, len(people), CHUNK):
            ids, entries = zip(*people[start : start + CHUNK], strict=True)
            examples = [{"bounding_boxes": entry} for entry in entries]
            yield Chunk(start + np.arange(len(ids)), list(ids), examples)
        return
    for start in range(0, len(data), CHUNK):
        positions = np.arange(start, min(start + CHUNK, len(data)))
        try:
            examples = data.annotations(positions)
        except UNREADABLE:
            # Again one by one, to know which it is.
            found = [_one(data, p, failures) for p in positions]
            kept = [example is not None for example in found]
            positions = positions[kept]
            examples = [example for example in found if example is not None]
        if examples:
            ids = [example["ids"] for example in examples]
            yield Chunk(positions, ids, examples)


def _one(data, position, failures):
    try:
        return data.annotations([position])[0]
    except UNREADABLE as error:
        if failures is not None:
            failures.add(np.asarray(data.ids([position])).tolist()[0], error)
        return None
