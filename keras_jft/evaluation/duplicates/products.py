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

    Attributes:
        error: Most that a score differs from the exact product.
    """

    def __init__(self, queries):
        self.queries = queries
        self.error = _LENGTH * accumulation(queries.shape[1])
        self._scores = np.empty((0, len(queries)), "float32")

    def scores(self, block):
        """`(R, Q)` of `(R, D)`; valid until the next call."""
        if len(self._scores) < len(block):
            self._scores = np.empty((len(block), len(self.queries)), "float32")
        out = self._scores[: len(block)]
        return np.matmul(block, self.queries.T, out=out)

    def highest(self, scores):
        """`(Q,)`: the highest of each query."""
        return scores.max(axis=0).astype("float64")

    def columns(self, scores, rows):
        """`(R, n)`: the scores of n queries."""
        return scores if len(rows) == scores.shape[1] else scores[:, rows]


class BFloat16:
    """Products of bfloat16 by the Keras backend.

    Args:
        queries: `(Q, D)` float32.

    Attributes:
        error: Most that a score differs from the exact product.
    """

    def __init__(self, queries):
        self.queries = queries
        # Both factors are rounded, their sum is added up, and rounded again.
        rounded = 2 * _BFLOAT16 + _BFLOAT16**2
        added = (1 + _BFLOAT16) ** 2 * accumulation(queries.shape[1])
        largest = 1 + rounded + added
        self.error = _LENGTH * (rounded + added + largest * _BFLOAT16)
        self._queries = ops.cast(ops.convert_to_tensor(queries.T), "bfloat16")

    def scores(self, block):
        """`(R, Q)` of `(R, D)`, a tensor."""
        block = ops.cast(ops.convert_to_tensor(block), "bfloat16")
        return ops.matmul(block, self._queries)

    def highest(self, scores):
        """`(Q,)`: the highest of each query."""
        return _to_numpy(ops.max(scores, axis=0)).astype("float64")

    def columns(self, scores, rows):
        """`(R, n)`: the scores of n queries."""
        return _to_numpy(ops.take(scores, rows, axis=1))


def exact(queries, references):
    """`(n,)` float64 products of n pairs of rows."""
    return np.einsum(
        "nd,nd->n", queries.astype("float64"), references.astype("float64")
    )


def accumulation(width):
    """gamma_D: what a float32 sum of `width` products may lose, relatively."""
    return width * _FLOAT32 / (1 - width * _FLOAT32)


def _to_numpy(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


PRODUCTS = {"float32": Float32, "bfloat16": BFloat16}
