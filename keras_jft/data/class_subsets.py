"""Examples of some classes, beside as many of all: what do classes bring?

Shapes: N examples, C classes.

References:
    Sun et al. 2017, section 5.2, "Impact of Classes": the 30M images with at
    least one of 941 labels.
"""

import dataclasses

import numpy as np

from keras_jft.data.datasets.dataset import Dataset
from keras_jft.data.label_names import checked_list
from keras_jft.data.subsets import Subset, subset

_CHUNK = 10_000


def class_subset(data, labels, num_examples=None, *, seed=0, only=False):
    """Examples with at least one of some labels, and as many of any.

    Both are nested and depend on ids and seed alone, as `subset` says. The
    control is drawn from all examples, those of the labels included.

    Args:
        data: A `Dataset` with `labels`.
        labels: Ids, names or keys of labels.
        num_examples: Size of both; that of all examples with such a label, if
            left out.
        seed: Integer.
        only: Whether examples of the first keep `labels` alone, renumbered in
            their order, without a hierarchy. By default they keep all.

    Returns:
        Two `Dataset`s of one size.

    Raises:
        ValueError: A label is unknown, or there are not enough examples.

    Example:

    >>> data = keras_jft.data.load("synthetic", num_examples=200)
    >>> chosen, control = class_subset(data, [0, 1])
    >>> len(chosen) == len(control) < 200
    True
    >>> all(np.isin(example["labels"], [0, 1]).any() for example in
    ...     chosen.annotations(np.arange(len(chosen))))
    True
    """
    chosen = with_labels(data, labels)
    if num_examples is None:
        num_examples = len(chosen)
    chosen = subset(chosen, num_examples, seed)
    if only:
        chosen = OnlyLabels(chosen, labels)
    return chosen, subset(data, num_examples, seed)


def with_labels(data, labels):
    """The examples with at least one of some labels, in their order.

    Looks once through the annotations; a position an example is kept.

    Args:
        data: A `Dataset` with `labels`.
        labels: Ids, names or keys of labels.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: A label is unknown, or no example has one.
    """
    is_wanted = np.zeros(len(data.info.label_names) + 1, bool)
    is_wanted[label_ids(data.info, labels)] = True  # -1, padding, stays False.
    found = []
    for start in range(0, len(data), _CHUNK):
        positions = np.arange(start, min(start + _CHUNK, len(data)))
        rows = [_labels_of(row) for row in data.annotations(positions)]
        owners = np.repeat(positions, [*map(len, rows)])
        found.append(np.unique(owners[is_wanted[np.concatenate(rows)]]))
    positions = np.concatenate(found)
    if not len(positions):
        raise ValueError(
            "There must be an example with one of `labels`. Received: "
            f"{len(data)} examples, none with any of {list(labels)[:5]}."
        )
    return Subset(data, positions.__getitem__, len(positions), seed=None)


class OnlyLabels(Dataset):
    """The examples of a data set with some labels alone, renumbered.

    Label i is the i-th of `labels`; there is no hierarchy.

    Args:
        data: A `Dataset` with many `labels` an example.
        labels: Ids, names or keys of labels.
    """

    def __init__(self, data, labels):
        ids = label_ids(data.info, labels)
        self.source = data
        self._new = np.full(len(data.info.label_names) + 1, -1, "int32")
        self._new[ids] = np.arange(len(ids))
        counts, most = data.info.class_counts, data.info.max_labels
        self.info = dataclasses.replace(
            data.info,
            label_names=tuple(data.info.label_names[i] for i in ids),
            hierarchy=None,
            class_counts=None if counts is None else counts[ids],
            max_labels=None if most is None else min(most, len(ids)),
        )

    def ids(self, positions):
        """Ids of the source's examples."""
        return self.source.ids(positions)

    def image_bytes(self, position):
        """The image file in the source."""
        return self.source.image_bytes(position)

    def take(self, positions):
        """The source's examples, other labels left out."""
        return [*map(self._renumbered, self.source.take(positions))]

    def annotations(self, positions):
        """The source's annotations, other labels left out."""
        return [*map(self._renumbered, self.source.annotations(positions))]

    def _renumbered(self, example):
        renumbered = dict(example)
        for key in example.keys() & {"labels", "unknown_labels"}:
            new = self._new[np.atleast_1d(example[key])]
            kept = np.sort(new[new >= 0])
            if key == "labels" and np.ndim(example[key]) == 0:
                kept = kept[0]
            elif key == "unknown_labels":
                kept = np.append(kept, np.full(len(new) - len(kept), -1))
            renumbered[key] = kept.astype("int32")
        return renumbered


def label_ids(info, labels):
    """Ids of labels, `(n,)` int64.

    Args:
        info: The `Info` of a data set.
        labels: Ids, names or, with a hierarchy, keys; each label once.

    Raises:
        ValueError: One is unknown, or there twice, or there is none.
    """
    by_name = {name: label for label, name in enumerate(info.label_names)}
    ids = []
    for label in checked_list(labels, "labels"):
        if isinstance(label, str) and info.hierarchy is not None:
            ids.append(info.hierarchy.index(label))
        elif isinstance(label, str):
            ids.append(by_name.get(label, -1))
        else:
            ids.append(int(label))
        if not 0 <= ids[-1] < len(info.label_names):
            raise ValueError(
                "`labels` must be names or ids of the "
                f"{len(info.label_names)} labels. Received: {label!r}."
            )
    if not ids or len(set(ids)) < len(ids):
        raise ValueError(
            "`labels` must name at least one label, each once. Received: "
            f"{len(ids)} of which {len(set(ids))} differ."
        )
    return np.array(ids)


def _labels_of(example):
    if "labels" not in example:
        raise ValueError(
            f"Examples must have `labels`. Received the keys {sorted(example)}."
        )
    return np.atleast_1d(example["labels"])
