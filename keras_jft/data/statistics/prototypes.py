"""The images of a class by distance to its prototypes, the odd ones last.

Shapes: N images of a data set, m images of a class, D embedding size,
K centroids, n positions that are kept.
"""

import dataclasses
import warnings

import numpy as np
import scipy.cluster.vq

from keras_jft.data import keyed_random

_TYPICAL = 0.05  # Share of a class that a centroid needs to be a prototype.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bin:
    """Images at about the same distance to the nearest centroid.

    Attributes:
        low: Smallest distance.
        high: Largest distance.
        num_images: How many images lie there.
        positions: `(n,)` int64, positions of some of them.
    """

    low: float
    high: float
    num_images: int
    positions: np.ndarray


class Members:
    """Positions of the images of some classes, at most a given number of each.

    Those kept are the first of a class in a keyed random order of ids.

    Args:
        classes: Label ids.
        most: How many images are kept per class.
        seed: Seed of the order.
    """

    def __init__(self, classes, most, seed):
        self.positions = {label: np.zeros(0, "int64") for label in classes}
        self.totals = dict.fromkeys(classes, 0)
        self._keys = {label: np.zeros(0, "uint64") for label in classes}
        self._most, self._seed = most, seed

    def add(self, positions, ids, sets):
        """Note the images of a chunk; `ids` is an array."""
        for label in self.positions:
            owners = sets.owners[sets.labels == label]
            self.totals[label] += len(owners)
            keys = keyed_random.hash64(self._seed, ids[owners])
            keys = np.concatenate([self._keys[label], keys])
            found = np.concatenate([self.positions[label], positions[owners]])
            first = np.argsort(keys, kind="stable")[: self._most]
            self._keys[label], self.positions[label] = keys[first], found[first]


def bin_by_distance(
    embeddings, positions, *, num_centroids=3, num_bins=6, num_shown=8, seed=0
):
    """Bin the images of a class by distance to K-means centroids.

    Bins are equally wide from the smallest to the largest distance, so that an
    image far from all others is alone in one of the last bins. A centroid with
    a single image, or with less than a twentieth of them, may be an odd image
    itself; it is not a prototype and is left out.

    Args:
        embeddings: `(N, D)`, one row per image of the whole data set; may be a
            memory map.
        positions: `(m,)` rows of the class, in a random order.
        num_centroids: Largest K; never more than the number of distinct images.
        num_bins: Number of bins.
        num_shown: Number of positions that each bin keeps, the first of
            `positions`.
        seed: Seed of K-means.

    Returns:
        A list of `Bin`, the nearest first; some may be empty.

    Raises:
        ValueError: An embedding is not finite.

    References:
        Sun et al. 2017, https://arxiv.org/abs/1707.02968, Figure 2: "x-axis
        corresponds to the quantized distances to K-Means centroids". Neither K
        nor the bins are given.
    """
    if not len(positions):
        return []
    rows = np.argsort(positions)  # A file is read faster in order.
    vectors = np.empty((len(rows), embeddings.shape[1]))
    vectors[rows] = embeddings[positions[rows]]
    if not np.isfinite(vectors).all():
        row = int(positions[~np.isfinite(vectors).all(axis=1)][0])
        raise ValueError(
            f"`embeddings` must be finite. Received NaN or infinity in row "
            f"{row}. Embed that image again."
        )
    distances = _distances(vectors, num_centroids, seed)
    edges = np.linspace(distances.min(), distances.max(), num_bins + 1)
    places = np.searchsorted(edges[1:-1], distances, side="right")
    return [
        Bin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            num_images=int((places == i).sum()),
            positions=positions[places == i][:num_shown],
        )
        for i in range(num_bins)
    ]


def _distances(vectors, num_centroids, seed):
    """Return `(m,)` distances to the nearest of the centroids."""
    num_centroids = min(num_centroids, len(np.unique(vectors, axis=0)))
    with warnings.catch_warnings():
        # A centroid without images is harmless here.
        warnings.filterwarnings("ignore", "One of the clusters is empty")
        centroids, nearest = scipy.cluster.vq.kmeans2(
            vectors, num_centroids, minit="++", seed=np.random.default_rng(seed)
        )
    counts = np.bincount(nearest, minlength=num_centroids)
    fewest = max(2, _TYPICAL * len(vectors))
    typical = counts >= min(counts.max(), fewest)
    return scipy.cluster.vq.vq(vectors, centroids[typical])[1]
