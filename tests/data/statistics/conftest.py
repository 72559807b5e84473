"""A hierarchy drawn by hand, and rows of its labels."""

import pytest

from keras_jft.data import LabelHierarchy


@pytest.fixture
def tree():
    """animal > dog > corgi, animal > cat, and pet > corgi; car alone."""
    return LabelHierarchy(
        ["animal", "dog", "cat", "pet", "corgi", "car"],
        [
            ("animal", "dog"),
            ("animal", "cat"),
            ("dog", "corgi"),
            ("pet", "corgi"),
        ],
    )


@pytest.fixture
def rows(rng):
    """500 rows of 0 to 5 labels of `tree`, some of them twice."""
    return [
        rng.integers(0, 6, rng.integers(0, 6)).astype("int32")
        for _ in range(500)
    ]
