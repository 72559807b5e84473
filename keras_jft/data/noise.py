"""Wrong and missing labels at known rates, to measure what noise costs."""

import dataclasses

import numpy as np

from keras_jft.data import order
from keras_jft.data.datasets.dataset import Dataset

# Independent draws for one label of one example.
_MISSING, _WRONG, _KIND, _CHOICE = range(4)


class NoisyLabels(Dataset):
    """The examples of a data set with some of their labels spoiled.

    The most specific labels of an example are spoiled, each on its own, and
    the rest is closed upward again. A label that replaces another is always a
    leaf. What happens to a label is a function of seed, id and label: it is
    the same in every epoch, subset and batch.

    Args:
        data: A `Dataset` with `labels`: one, or many, an example.
        wrong: Rate of labels that are replaced by another.
        missing: Rate of labels that are dropped before; for many labels only.
        confusable: Rate, among wrong labels, of those replaced by a sibling (a
            leaf with a common parent), if there is one. The others are
            replaced uniformly.
        seed: Integer.

    Raises:
        ValueError: A rate is not in 0..1; or the data set has less than two
            labels, or no hierarchy for confusable ones.
    """

    def __init__(self, data, *, wrong=0.0, missing=0.0, confusable=0.0, seed=0):
        rates = {"wrong": wrong, "missing": missing, "confusable": confusable}
        for name, rate in rates.items():
            if not 0 <= rate <= 1:
                raise ValueError(
                    f"`{name}` must be a rate in 0..1. Received: {rate}."
                )
        if confusable and data.info.hierarchy is None:
            raise ValueError(
                "`confusable` needs a hierarchy to find siblings in. Received "
                f"confusable={confusable} and data without one."
            )
        self.source, self.seed = data, seed
        self.wrong, self.missing, self.confusable = wrong, missing, confusable
        # A label is replaced by one that may have more labels above it.
        self.info = dataclasses.replace(
            data.info, class_counts=None, max_labels=None
        )
        self._leaves, self._above = _leaves_and_ancestors(data.info)
        if len(self._leaves) < 2:
            raise ValueError(
                "Noise needs at least two labels to choose from. Received "
                f"label_names={data.info.label_names}."
            )

    def ids(self, positions):
        """Ids of the source's examples."""
        return self.source.ids(positions)

    def image_bytes(self, position):
        """The image file in the source."""
        return self.source.image_bytes(position)

    def take(self, positions):
        """The source's examples, labels spoiled."""
        examples = self.source.take(positions)
        keys = order.hash64(self.seed, self.ids(positions))
        rows = [self._most_specific(example["labels"]) for example in examples]
        sizes = [len(row) for row in rows]
        labels, keys = np.concatenate(rows), np.repeat(keys, sizes)
        kept = order.uniform(keys, labels, _MISSING) >= self.missing
        labels = self._replace(labels, keys)
        ends = np.cumsum(sizes)[:-1]
        return [
            {**example, "labels": self._as_given(new[stay], example["labels"])}
            for example, new, stay in zip(
                examples,
                np.split(labels, ends),
                np.split(kept, ends),
                strict=True,
            )
        ]

    def _most_specific(self, labels):
        """The labels that no other label of the example lies below."""
        if self.missing and np.ndim(labels) == 0:
            raise ValueError(
                "A single label cannot be missing. Received "
                f"missing={self.missing} and data with one label an example. "
                "Set `missing=0`."
            )
        labels = np.atleast_1d(labels)
        labels = set(labels[labels >= 0].tolist())
        above = set().union(*(self._above[label] for label in labels))
        return np.array(sorted(labels - above), "int32")

    def _replace(self, labels, keys):
        """`labels` with the wrong ones replaced."""
        wrong = order.uniform(keys, labels, _WRONG) < self.wrong
        alike = order.uniform(keys, labels, _KIND) < self.confusable
        draws = order.uniform(keys, labels, _CHOICE)
        replaced = labels.copy()
        for i in np.flatnonzero(wrong):
            choices = self._siblings(labels[i]) if alike[i] else ()
            if not len(choices):
                choices = self._leaves[self._leaves != labels[i]]
            replaced[i] = choices[int(draws[i] * len(choices))]
        return replaced

    def _as_given(self, labels, clean):
        """`labels` in the form of the clean ones: one, or many and closed."""
        if np.ndim(clean) == 0:
            return labels[0]
        if self.info.hierarchy is None:
            return np.unique(labels)
        return self.info.hierarchy.close(labels)

    def _siblings(self, label):
        hierarchy = self.info.hierarchy
        families = map(hierarchy.children, hierarchy.parents(label))
        siblings = np.unique(np.concatenate([[label], *families]))
        siblings = siblings[siblings != label]
        return siblings[np.isin(siblings, self._leaves)]


def _leaves_and_ancestors(info):
    """`(n,)` int32 labels without a child, and a list of ids a label."""
    if info.hierarchy is None:
        num_labels = len(info.label_names)
        return np.arange(num_labels, dtype="int32"), [[]] * num_labels
    labels = range(len(info.hierarchy))
    above = [info.hierarchy.ancestors(label).tolist() for label in labels]
    return info.hierarchy.leaves, above
