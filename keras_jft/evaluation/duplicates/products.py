"""Products of queries and references, and how far off they may be.

Shapes: Q queries, R references, D width.

References:
    Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1:
    a sum of D products, added in any order, is off by at most gamma_D |q| |r|.
"""

import numpy as np
from keras import ops

_FLOAT32 = 2.0**-24  # Unit roundoff.
_BFLOAT16 = 2.0**-8
_LENGTH = 1.02  # Most that |q| |r| may be, see `search`.


class Float32:
    """Products by BLAS.

    Args:
        queries: `(Q, D)` float32.
        tile: Queries that are multiplied at once.

    Attributes:
        error: Most that a score differs from the exact product.
    """

    def __init__(self, queries, tile):
        self.error = _LENGTH * accumulation(queries.shape[1])
        self._tiles = _tiles(queries, tile)
        self._buffer = np.empty(0, "float32")  # One for all, written again.

    def prepared(self, block):
        """What `scores` takes, of a block `(R, D)` float32."""
        return block

    def scores(self, block, tile):
        """`(R, n)` of tile number `tile`; valid until the next call."""
        queries = self._tiles[tile]
        size = len(block) * len(queries)
        if self._buffer.size < size:
            self._buffer = np.empty(size, "float32")
        out = self._buffer[:size].reshape(len(block), len(queries))
        return np.matmul(block, queries.T, out=out)

    def highest(self, scores):
        """`(n,)`: the highest score of each query."""
        return scores.max(axis=0).astype("float64")

    def columns(self, scores, places):
        """`(R, m)`: the scores of m queries of the tile."""
        return scores if len(places) == scores.shape[1] else scores[:, places]


class BFloat16:
    """Products of bfloat16 by the Keras backend, summed in float32.

    Args:
        queries: `(Q, D)` float32.
        tile: Queries that are multiplied at once.

    Attributes:
        error: Most that a score differs from the exact product.
    """

    def __init__(self, queries, tile):
        # Both factors are rounded, their products summed, the sum rounded.
        rounded = 2 * _BFLOAT16 + _BFLOAT16**2
        added = (1 + _BFLOAT16) ** 2 * accumulation(queries.shape[1])
        largest = 1 + rounded + added
        self.error = _LENGTH * (rounded + added + largest * _BFLOAT16)
        self._tiles = [self.prepared(t.T) for t in _tiles(queries, tile)]

    def prepared(self, block):
        """What `scores` takes, of a block `(R, D)` float32."""
        return ops.cast(ops.convert_to_tensor(block), "bfloat16")

    def scores(self, block, tile):
        """`(R, n)` of tile number `tile`, a tensor."""
        return ops.matmul(block, self._tiles[tile])

    def highest(self, scores):
        """`(n,)`: the highest score of each query."""
        return _to_numpy(ops.max(scores, axis=0)).astype("float64")

    def columns(self, scores, places):
        """`(R, m)`: the scores of m queries of the tile."""
        return _to_numpy(ops.take(scores, np.asarray(places), axis=1))


def exact(queries, references):
    """`(n,)` float64 products of n pairs of rows."""
    return np.vecdot(queries.astype("float64"), references.astype("float64"))


def accumulation(width):
    """gamma_D: what a float32 sum of `width` products may lose, relatively."""
    return width * _FLOAT32 / (1 - width * _FLOAT32)


def _tiles(queries, size):
    return [queries[i : i + size] for i in range(0, len(queries), size)]


def _to_numpy(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


PRODUCTS = {"float32": Float32, "bfloat16": BFloat16}
