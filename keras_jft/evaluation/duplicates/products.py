"""Inner products of queries and references, with bounds on their errors.

Shapes: Q queries, R references, D width of an embedding.

References:
    Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1:
    the error of a sum of D products, added in any order, is at most
    gamma_D |q| |r|.
"""

import numpy as np
from keras import ops

_FLOAT32 = 2.0**-24  # Unit roundoff.
_BFLOAT16 = 2.0**-8
_LENGTH = 1.02  # Upper bound of |q| |r|: `search` checks the lengths.


class Float32:
    """Inner products in float32, by BLAS.

    Args:
        queries: `(Q, D)` float32.
        tile: Number of queries multiplied at once.

    Attributes:
        error: Largest possible difference from the exact product.
    """

    def __init__(self, queries, tile):
        self.error = _LENGTH * _accumulation(queries.shape[1])
        self._tiles = _tiles(queries, tile)
        self._buffer = np.empty(0, "float32")  # Reused by all calls.

    def prepared(self, block):
        """Convert a block `(R, D)` float32 to what `scores` takes."""
        return block

    def scores(self, block, tile):
        """Return `(R, n)` products of a tile; valid until the next call."""
        queries = self._tiles[tile]
        size = len(block) * len(queries)
        if self._buffer.size < size:
            self._buffer = np.empty(size, "float32")
        out = self._buffer[:size].reshape(len(block), len(queries))
        return np.matmul(block, queries.T, out=out)

    def highest(self, scores):
        """Return `(n,)`, the highest score of each query."""
        return scores.max(axis=0).astype("float64")

    def columns(self, scores, places):
        """Return `(R, m)`, the scores of m queries of the tile."""
        return scores if len(places) == scores.shape[1] else scores[:, places]


class BFloat16:
    """Inner products in bfloat16, summed in float32, by the Keras backend.

    Args:
        queries: `(Q, D)` float32.
        tile: Number of queries multiplied at once.

    Attributes:
        error: Largest possible difference from the exact product.
    """

    def __init__(self, queries, tile):
        # Errors: both factors are rounded, then the sum, then the result.
        rounded = 2 * _BFLOAT16 + _BFLOAT16**2
        added = (1 + _BFLOAT16) ** 2 * _accumulation(queries.shape[1])
        largest = 1 + rounded + added
        self.error = _LENGTH * (rounded + added + largest * _BFLOAT16)
        self._tiles = [self.prepared(t.T) for t in _tiles(queries, tile)]

    def prepared(self, block):
        """Convert a block `(R, D)` float32 to what `scores` takes."""
        return ops.cast(ops.convert_to_tensor(block), "bfloat16")

    def scores(self, block, tile):
        """Return a tensor `(R, n)` of the products of a tile."""
        return ops.matmul(block, self._tiles[tile])

    def highest(self, scores):
        """Return `(n,)`, the highest score of each query."""
        return _to_numpy(ops.max(scores, axis=0)).astype("float64")

    def columns(self, scores, places):
        """Return `(R, m)`, the scores of m queries of the tile."""
        return _to_numpy(ops.take(scores, np.asarray(places), axis=1))


def exact(queries, references):
    """Return `(n,)` float64 products of n pairs of rows."""
    return np.vecdot(queries.astype("float64"), references.astype("float64"))


def _accumulation(width):
    """Return gamma_D, the largest relative error of a sum in float32."""
    return width * _FLOAT32 / (1 - width * _FLOAT32)


def _tiles(queries, size):
    return [queries[i : i + size] for i in range(0, len(queries), size)]


def _to_numpy(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


PRODUCTS = {"float32": Float32, "bfloat16": BFloat16}
