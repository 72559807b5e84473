"""A data set in memory, for tests of what is done with data sets."""

import numpy as np
import pytest

from keras_jft.data.dataset import Dataset, Info


class Listed(Dataset):
    """Examples in a list; those whose id is in `unreadable` raise."""

    def __init__(self, examples, unreadable=(), **info):
        self.examples, self.unreadable = examples, set(unreadable)
        self.info = Info(num_examples=len(examples), **info)
        self.reads = []

    def ids(self, positions):
        return np.array([self.examples[p]["ids"] for p in positions])

    def __getitem__(self, position):
        example = self.examples[position]
        self.reads.append(example["ids"])
        if example["ids"] in self.unreadable:
            raise ValueError(f"{example['ids']!r} is damaged.")
        return dict(example)


@pytest.fixture
def listed():
    """The class `Listed`."""
    return Listed


@pytest.fixture
def make_data():
    """`make_data(num)`: examples of noise with 0 to 3 labels and ids 0..num."""

    def make(num, size=(6, 8), ids=None, **kwargs):
        rng = np.random.default_rng(0)
        examples = [
            {
                "images": rng.integers(0, 256, (*size, 3), "uint8"),
                "labels": rng.permutation(9)[: i % 4].astype("int32"),
                "ids": i if ids is None else ids[i],
            }
            for i in range(num)
        ]
        names = tuple("abcdefghi")
        return Listed(
            examples, label_names=names, **{"max_labels": 3, **kwargs}
        )

    return make
