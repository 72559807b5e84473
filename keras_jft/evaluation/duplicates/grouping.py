"""Group the near-duplicates among the images of one data set."""

import numpy as np

_BLOCK = 1024  # Rows multiplied at once.


def groups(embeddings: np.ndarray, threshold: float = 0.95) -> np.ndarray:
    """Return the group of each image: those joined by near-duplicates.

    Every image is compared with every other, so time grows with the square of
    their number.

    Args:
        embeddings: `(n, D)` rows of unit length.
        threshold: Similarity from which two images are in one group.

    Returns:
        `(n,)` int64, the number of the first image of each group.

    Example:

    >>> groups(np.array([[1, 0], [0, 1], [1, 0]])).tolist()
    [0, 1, 0]
    """
    embeddings = np.asarray(embeddings, "float32")
    first = np.arange(len(embeddings))

    def root(i):
        while first[i] != i:
            first[i] = first[first[i]]
            i = first[i]
        return i

    for start in range(0, len(embeddings), _BLOCK):
        block = embeddings[start : start + _BLOCK]
        similar = block @ embeddings[: start + len(block)].T >= threshold
        for row, other in zip(*np.nonzero(similar), strict=True):
            one, two = sorted((root(start + row), root(other)))
            first[two] = one
    return np.array([root(i) for i in range(len(embeddings))], "int64")
