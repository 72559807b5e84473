"""A class by distance to its prototypes: the typical first, the odd last.

Shapes: m images of a class, D embedding, K centroids.
"""

import dataclasses
import warnings

import numpy as np
import scipy.cluster.vq

from keras_jft.data import keyed_random

_TYPICAL = 0.05  # Share of a class that makes a centroid a prototype.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bin:
    """Images at about the same distance to the nearest centroid.

    Attributes:
        low: Smallest distance.
        high: Largest distance.
        num_images: How many images lie there.
        positions: `(n,)` int64, some of them.
    """

    low: float
    high: float
    num_images: int
    positions: np.ndarray


class Members:
    """Positions of the images of some classes, a bounded number of each.

    They are the first of a class in the keyed order of ids.

    Args:
        classes: Label ids.
        most: How many images of a class are kept.
        seed: Of the order.
    """

    def __init__(self, classes, most, seed):
        self.positions = {label: np.zeros(0, "int64") for label in classes}
        self.totals = dict.fromkeys(classes, 0)
        self._keys = {label: np.zeros(0, "uint64") for label in classes}
        self._most, self._seed = most, seed

    def add(self, positions, ids, sets):
        """Notes the images of a chunk; `ids` is an array."""
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
    """The images of a class in bins of distance to K-means centroids.

    Bins are equally wide from the smallest to the largest distance, so that
    what is far from everything else stands alone in the last ones. A centroid
    with one image, or less than a twentieth of them, is no prototype and is
    left out: it may be an odd image itself.

    Args:
        embeddings: `(N, D)`, one row an image of the whole data set; a
            memory-mapped array will do.
        positions: `(m,)` rows of the class, in a random order.
        num_centroids: K, at most; no more than images that differ.
        num_bins: How many bins.
        num_shown: Positions that each bin keeps, the first of `positions`.
        seed: Of K-means.

    Returns:
        A list of `Bin`, the nearest first. Empty ones are there too.

    Raises:
        ValueError: An embedding is not finite.

    References:
        Sun et al. 2017, https://arxiv.org/abs/1707.02968, Figure 2: "x-axis
        corresponds to the quantized distances to K-Means centroids". Neither K
        nor the bins are given.
    """
    if not len(positions):
        return []
    rows = np.argsort(positions)  # Reading in order suits a file.
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
    """`(m,)` distances to the nearest of the centroids."""
    num_centroids = min(num_centroids, len(np.unique(vectors, axis=0)))
    with warnings.catch_warnings():
        # A centroid that nothing is nearest to does no harm here.
        warnings.filterwarnings("ignore", "One of the clusters is empty")
        centroids, nearest = scipy.cluster.vq.kmeans2(
            vectors, num_centroids, minit="++", seed=np.random.default_rng(seed)
        )
    counts = np.bincount(nearest, minlength=num_centroids)
    fewest = max(2, _TYPICAL * len(vectors))
    typical = counts >= min(counts.max(), fewest)
    return scipy.cluster.vq.vq(vectors, centroids[typical])[1]
