"""Find the most similar reference of every query, exactly, in constant memory.

Fast products in float32 or bfloat16 find candidates, and float64 decides among
them: the error of a fast product is at most `error`, so every reference that
could be the best is multiplied again. The result therefore does not depend on
the precision, the size of the blocks or where chunks end. Of equally similar
references, the first one counts.

Shapes: Q queries, R references in a block, D width of an embedding.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from keras_jft import checks
from keras_jft.evaluation.duplicates import faiss_index, products
from keras_jft.text import number_of
from keras_jft.typing import Arrays

_BLOCK = 4096  # References multiplied at once.
_TILE = 1024  # Queries multiplied at once.
_PAIRS = 4096  # Pairs multiplied again at once.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duplicates:
    """The best reference of every query.

    Attributes:
        ids: `(Q,)` ids of the queries.
        best: `(Q,)` int64, number of the best reference in the stream.
        best_ids: `(Q,)` its id; the same as `best` if references have no ids.
        similarity: `(Q,)` float64, cosine of the two.
        threshold: Similarity from which a query is a duplicate.
    """

    ids: np.ndarray
    best: np.ndarray
    best_ids: np.ndarray
    similarity: np.ndarray
    threshold: float

    @property
    def is_duplicate(self) -> np.ndarray:
        """`(Q,)` bool, whether each query is a duplicate."""
        return self.similarity >= self.threshold

    @property
    def duplicate_ids(self) -> np.ndarray:
        """Ids of the queries that are duplicates."""
        return self.ids[self.is_duplicate]

    def at(self, threshold: float) -> Self:
        """Return the same search results with another threshold."""
        return dataclasses.replace(self, threshold=threshold)


def find(
    queries: Arrays | Iterable[Any],
    references: Arrays | Iterable[Any],
    threshold: float = 0.95,
    *,
    query_ids: Sequence[int | str] | np.ndarray | None = None,
    method: str = "float32",
    first: int = 0,
) -> Duplicates:
    """Find the most similar reference of each query, by cosine similarity.

    The queries are held in memory; the references are read once and not held.

    Args:
        queries: `(Q, D)` rows of unit length, or `Embeddings`.
        references: `(R, D)` rows of unit length, `Embeddings`, or an iterable
            of chunks, each an array or a pair `(ids, array)`.
        threshold: Similarity from which a query is a duplicate. Calibrate it
            for your embeddings with `calibrate`.
        query_ids: Q different ids; None: those of `Embeddings`, or
            0..Q - 1.
        method: How candidates are found: `"float32"`, by BLAS; `"bfloat16"`,
            by the Keras backend, which is faster on hardware that supports it;
            `"faiss"`, with an index that holds all references in memory and is
            approximate from `FLAT_REFERENCES` references on.
        first: Number of the first reference, if these references are a part of
            a longer stream.

    Returns:
        A `Duplicates`.

    Raises:
        ValueError: If a side is empty, widths differ, a row does not have unit
            length (zero, NaN, not normalized), or an id appears twice.
        ImportError: If `method` is `"faiss"` and FAISS is not installed.

    Example:

    >>> found = find(np.eye(3), np.eye(3)[::-1], threshold=0.9)
    >>> found.best.tolist(), found.is_duplicate.tolist()
    ([2, 1, 0], [True, True, True])
    """
    checks.one_of("method", method, ("float32", "bfloat16", "faiss"))
    ids, vectors = _all(queries, query_ids)
    chunks = _chunks(references, vectors.shape[1])
    if method == "faiss":
        best = faiss_index.search(vectors, chunks, first)
    else:
        best = _Best(len(vectors), first)
        product = products.PRODUCTS[method](vectors, _TILE)
        for chunk_ids, chunk in chunks:
            for start in range(0, len(chunk), _BLOCK):
                block = chunk[start : start + _BLOCK]
                _update(best, product, vectors, block)
                best.advance(block, _part(chunk_ids, start))
    if not best.seen:
        raise ValueError(
            "`references` must hold embeddings. Received none. Check the "
            "folder, or the iterable: a generator can be read only once."
        )
    return Duplicates(
        ids=ids,
        best=best.number,
        best_ids=best.ids if best.has_ids else best.number,
        similarity=best.similarity,
        threshold=threshold,
    )


def merge(parts: Iterable[Duplicates]) -> Duplicates:
    """Merge searches over parts of the references into one.

    The order of the parts does not matter, if each search was given `first`.

    Args:
        parts: `Duplicates` of the same queries.

    Returns:
        A `Duplicates`.

    Raises:
        ValueError: If there are no parts, or their queries differ.
    """
    total = None
    for part in parts:
        if total is None:
            total = part
            continue
        if not np.array_equal(part.ids, total.ids):
            raise ValueError(
                "Parts must have the same queries in the same order. Received "
                f"{len(total.ids)} and "
                f"{number_of(len(part.ids), 'query', 'queries')}."
            )
        better = (part.similarity > total.similarity) | (
            (part.similarity == total.similarity) & (part.best < total.best)
        )
        total = dataclasses.replace(
            total,
            **{
                name: np.where(
                    better, getattr(part, name), getattr(total, name)
                )
                for name in ("best", "best_ids", "similarity")
            },
        )
    if total is None:
        raise ValueError("`parts` must hold searches. Received none.")
    return total


class _Best:
    """The best reference of each query so far."""

    def __init__(self, num_queries, first):
        self.similarity = np.full(num_queries, -np.inf)
        self.number = np.full(num_queries, -1, "int64")
        self.ids = np.full(num_queries, None, object)
        self.has_ids = False
        self.seen, self._first = 0, first

    @property
    def next(self):
        """Number of the first reference in the current block."""
        return self._first + self.seen

    def advance(self, block, ids):
        """Move on to the next block; record the ids of new best references."""
        if ids is not None:
            self.has_ids = True
            (new,) = np.nonzero(self.number >= self.next)
            self.ids[new] = np.asarray(ids, object)[
                self.number[new] - self.next
            ]
        self.seen += len(block)

    def offer(self, rows, numbers, similarities):
        """Keep the candidates that are better than the best so far."""
        # Sort by row, best first; of equal ones, the first reference.
        order = np.lexsort((numbers, -similarities, rows))
        rows, at = np.unique(rows[order], return_index=True)
        numbers, similarities = numbers[order][at], similarities[order][at]
        better = similarities > self.similarity[rows]
        self.similarity[rows[better]] = similarities[better]
        self.number[rows[better]] = numbers[better]


def _update(best, product, queries, block):
    """Compare all queries with one block of references."""
    prepared, error = product.prepared(block), product.error
    for tile, start in enumerate(range(0, len(queries), _TILE)):
        known = best.similarity[start : start + _TILE]
        scores = product.scores(prepared, tile)
        # A reference can only be the best if its true similarity, at most its
        # score plus `error`, reaches both the best so far and the lowest that
        # the highest score of the block may stand for (that minus `error`).
        highest = product.highest(scores)
        (places,) = np.nonzero(highest + error >= known)
        if not len(places):
            continue
        limit = np.maximum(known[places] - error, highest[places] - 2 * error)
        columns = product.columns(scores, places)
        numbers, at = np.nonzero(columns >= limit)
        rows = start + places[at]
        for i in range(0, len(rows), _PAIRS):
            row, number = rows[i : i + _PAIRS], numbers[i : i + _PAIRS]
            exact = products.exact(queries[row], block[number])
            best.offer(row, best.next + number, exact)


# === Checks of the arguments ===


def _all(queries, ids):
    """Return the ids and the `(Q, D)` float32 array of the queries."""
    if not isinstance(queries, np.ndarray):
        parts = [_pair(chunk) for chunk in queries]
        if parts and ids is None and parts[0][0] is not None:
            ids = np.concatenate([part for part, _ in parts])
        queries = np.concatenate([p for _, p in parts]) if parts else []
    queries = np.asarray(queries)
    if queries.ndim != 2 or not queries.size:
        raise ValueError(
            "`queries` must have shape (queries, width), with at least one "
            f"query. Received: {queries.shape}."
        )
    ids = np.arange(len(queries)) if ids is None else np.asarray(ids)
    if len(ids) != len(queries):
        raise ValueError(
            "`query_ids` must have one id per query. Received: "
            f"{number_of(len(ids), 'id')} "
            f"for {number_of(len(queries), 'query', 'queries')}."
        )
    check_different(ids, "query_ids")
    return ids, _checked(queries, "queries", queries.shape[1])


def _chunks(references, width):
    """Yield checked `(ids, (R, D) float32)` chunks of the references."""
    if isinstance(references, np.ndarray):
        references = [references]
    for chunk in references:
        ids, rows = _pair(chunk)
        if ids is not None:
            check_different(ids, "ids of references")
        if len(rows):
            yield ids, _checked(rows, "references", width)


def _pair(chunk):
    """Return `(ids or None, rows)` of a chunk."""
    if not isinstance(chunk, tuple):
        return None, np.asarray(chunk)
    ids, rows = np.asarray(chunk[0]), np.asarray(chunk[1])
    if len(ids) != len(rows):
        raise ValueError(
            "A chunk must have one id per row. Received: "
            f"{number_of(len(ids), 'id')} for {number_of(len(rows), 'row')}."
        )
    return ids, rows


def _part(ids, start):
    return None if ids is None else ids[start : start + _BLOCK]


def check_different(ids, name):
    """Raise a `ValueError` if an id appears twice."""
    values, counts = np.unique(ids, return_counts=True)
    if len(values) < len(ids):
        raise ValueError(
            f"`{name}` must differ. Received more than once: "
            f"{values[counts > 1][:5].tolist()}. Give each image its own id."
        )


def _checked(rows, name, width):
    """Return rows in float32; raise unless `(n, width)` of unit length."""
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ValueError(
            f"`{name}` must have the width of the queries, {width}. Received "
            f"shape {rows.shape}. Embed both sides with the same backbone."
        )
    rows = np.ascontiguousarray(rows, "float32")
    lengths = np.sqrt(np.vecdot(rows, rows))
    wrong = ~(abs(lengths - 1) < 1e-2)  # Also where it is NaN.
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"Every row of `{name}` must have length 1. Received length "
            f"{lengths[at]:g} in row {at}. Divide rows by their lengths; leave "
            "out, or repair, images whose embedding is zero or NaN."
        )
    return rows
