"""Wrong and missing labels at known rates, to measure what noise costs."""

import numbers

import numpy as np

from keras_jft.data import keyed_random
from keras_jft.data.batch import PADDING
from keras_jft.data.dataset import Dataset, Wrapped
from keras_jft.data.label_sets import label_sets
from keras_jft.typing import Example

# Streams of independent draws for one label of one example.
_MISSING, _WRONG, _KIND, _CHOICE = range(4)


class NoisyLabels(Wrapped):
    """The examples of a data set with some of their labels spoiled.

    The most specific labels of an example are spoiled independently, and the
    result is closed upward again. A replacement is always a leaf. What happens
    to a label is a function of seed, id and label, so it is the same in every
    epoch, subset and batch.

    Args:
        data: A `Dataset` with `labels`, one or many per example.
        wrong: Rate of labels that are replaced by another.
        missing: Rate of labels that are dropped first; requires many labels
            per example.
        confusable: Rate, among wrong labels, of those replaced by a sibling (a
            leaf with a common parent), if there is one. The others are
            replaced uniformly.
        seed: Integer.

    Raises:
        ValueError: A rate is not in 0..1; or the data set has fewer than two
            labels, or no hierarchy for confusable ones.
    """

    def __init__(
        self,
        data: Dataset,
        *,
        wrong: float = 0.0,
        missing: float = 0.0,
        confusable: float = 0.0,
        seed: int = 0,
    ):
        rates = {"wrong": wrong, "missing": missing, "confusable": confusable}
        for name, rate in rates.items():
            if not isinstance(rate, numbers.Real) or not 0 <= rate <= 1:
                raise ValueError(
                    f"`{name}` must be a rate in 0..1. Received: {rate!r}."
                )
        if confusable and data.info.hierarchy is None:
            raise ValueError(
                "`confusable` needs a hierarchy to find siblings in. Received "
                f"confusable={confusable} and data without one."
            )
        # Unknown now: a replacement may have more labels above it.
        super().__init__(data, class_counts=None, max_labels=None)
        self.seed = seed
        self.wrong, self.missing, self.confusable = wrong, missing, confusable
        self._leaves = np.arange(len(data.info.label_names), dtype="int32")
        if data.info.hierarchy is not None:
            self._leaves = data.info.hierarchy.leaves
        self._families: dict = {}
        if len(self._leaves) < 2:
            raise ValueError(
                "Noise needs at least two labels to choose from. Received "
                f"label_names={data.info.label_names}."
            )

    def change(self, examples: list[Example]) -> list[Example]:
        """Return the examples with spoiled labels."""
        sets = self._sets(examples)
        owners = sets.owners[sets.is_specific]
        labels = sets.labels[sets.is_specific]
        ids = [example["ids"] for example in examples]
        keys = keyed_random.hash64(self.seed, ids)[owners]
        kept = keyed_random.uniform(keys, labels, _MISSING) >= self.missing
        labels = self._replace(labels, keys)
        rows = self._closed(owners[kept], labels[kept], len(examples))
        single = np.full(len(examples), PADDING, "int32")
        single[owners] = labels
        return [
            {**example, "labels": row if np.ndim(example["labels"]) else one}
            for example, row, one in zip(examples, rows, single, strict=True)
        ]

    def _sets(self, examples):
        """Return the `LabelSets` of clean examples."""
        if any("labels" not in example for example in examples):
            raise ValueError(
                "Label noise needs examples with `labels`. Received the keys "
                f"{sorted(examples[0])}. Boxes and masks are not spoiled."
            )
        rows = [example["labels"] for example in examples]
        if self.missing and any(np.ndim(row) == 0 for row in rows):
            raise ValueError(
                "A single label cannot be missing. Received "
                f"missing={self.missing} and data with one label per example. "
                "Set `missing=0`."
            )
        num_labels = len(self.info.label_names)
        sets = label_sets(rows, num_labels, self.info.hierarchy)
        if len(sets.strays):
            owner, label = sets.strays[0]
            raise ValueError(
                f"Labels must be in 0..{num_labels - 1}. Received {label} in "
                f"example {examples[owner]['ids']!r}."
            )
        return sets

    def _replace(self, labels, keys):
        """Return `labels` with the wrong ones replaced."""
        wrong = keyed_random.uniform(keys, labels, _WRONG) < self.wrong
        alike = keyed_random.uniform(keys, labels, _KIND) < self.confusable
        draws = keyed_random.uniform(keys, labels, _CHOICE)
        replaced = labels.copy()
        for i in np.flatnonzero(wrong):
            label, chosen = labels[i], None
            if alike[i]:
                chosen = _other(self._family(label), label, draws[i])
            if chosen is None:
                chosen = _other(self._leaves, label, draws[i])
            replaced[i] = chosen
        return replaced

    def _closed(self, owners, labels, num_examples):
        """Return closed, sorted labels of each example; `owners` ascend."""
        sizes = np.bincount(owners, minlength=num_examples)
        starts = np.cumsum(sizes) - sizes
        shape = (num_examples, sizes.max(initial=0))
        padded = np.full(shape, PADDING, "int32")
        padded[owners, np.arange(len(owners)) - starts[owners]] = labels
        if self.info.hierarchy is not None:
            padded = self.info.hierarchy.close_batch(padded)
            return [row[row != PADDING] for row in padded]
        return [np.unique(row[row != PADDING]) for row in padded]

    def _family(self, label):
        """Return the sorted leaves that share a parent with `label`."""
        parents = tuple(self.info.hierarchy.parents(label).tolist())
        if parents not in self._families:
            children = map(self.info.hierarchy.children, parents)
            family = np.unique(np.concatenate([[], *children])).astype("int32")
            is_leaf = np.isin(family, self._leaves)
            self._families[parents] = family[is_leaf]
        return self._families[parents]


def _other(choices, label, draw):
    """Pick one of sorted `choices` that is not `label`; None if none is."""
    place = np.searchsorted(choices, label)
    among = place < len(choices) and choices[place] == label
    number = int(draw * (len(choices) - among))
    if number >= len(choices) - among:
        return None
    return choices[number + (among and number >= place)]
