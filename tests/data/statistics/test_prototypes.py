"""Images of a class by distance to centroids: planted clusters, odd ones."""

import numpy as np
import pytest

from keras_jft.data import keyed_random
from keras_jft.data.label_sets import label_sets
from keras_jft.data.statistics.prototypes import Members, bin_by_distance


def test_what_is_far_from_every_cluster_is_in_the_last_bin(rng):
    centers = np.array([[0, 0], [40, 0], [0, 40]])
    embeddings = centers[np.arange(300) % 3] + rng.normal(0, 1, (300, 2))
    odd = [7, 100, 211]
    embeddings[odd] += 15
    positions = rng.permutation(300)
    bins = bin_by_distance(embeddings, positions, num_bins=4, num_shown=300)
    assert sorted(bins[-1].positions.tolist()) == odd
    assert sum(found.num_images for found in bins) == 300
    together = np.concatenate([found.positions for found in bins])
    assert sorted(together) == list(range(300))
    # The oracle: the true centers are almost the centroids.
    gaps = np.linalg.norm(embeddings[:, None] - centers, axis=-1).min(axis=1)
    for found in bins:
        inside = gaps[found.positions]
        assert np.all(inside > found.low - 0.6)
        assert np.all(inside < found.high + 0.6)
    width = (bins[-1].high - bins[0].low) / 4
    assert [b.high - b.low for b in bins] == pytest.approx([width] * 4)


def test_an_odd_image_is_no_prototype(rng):
    embeddings = rng.normal(size=(40, 3))
    embeddings[11] += 1_000  # K-means makes it a centroid.
    bins = bin_by_distance(embeddings, np.arange(40))
    assert [b.num_images for b in bins] == [39, 0, 0, 0, 0, 1]
    assert bins[-1].positions.tolist() == [11]


def test_one_image_and_equal_images_are_one_bin():
    for m in (1, 5):
        bins = bin_by_distance(np.ones((9, 3)), np.arange(m), num_bins=3)
        assert [b.num_images for b in bins] == [0, 0, m]
    assert bin_by_distance(np.ones((9, 3)), np.arange(0)) == []


def test_an_embedding_that_is_not_finite_is_named():
    embeddings = np.ones((9, 3))
    embeddings[4, 1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity in row 4"):
        bin_by_distance(embeddings, np.array([2, 4, 6]))


def test_members_are_the_first_of_their_class_in_keyed_order(rng):
    labels = rng.integers(0, 3, 200)
    ids = np.array([f"{i}.jpg" for i in range(200)])
    members = Members([0, 2], 25, seed=5)
    for start in range(0, 200, 60):
        part = np.arange(start, min(200, start + 60))
        members.add(part, ids[part], label_sets(labels[part], 3))
    for label in (0, 2):
        every = np.flatnonzero(labels == label)
        keys = keyed_random.hash64(5, ids[every]).tolist()
        first = sorted(zip(keys, every.tolist(), strict=True))[:25]
        assert members.positions[label].tolist() == [p for _, p in first]
        assert members.totals[label] == len(every)
