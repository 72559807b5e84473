"""Search with a FAISS index of all references, chosen by their number.

It is worthwhile if the same references are searched repeatedly: for a few
thousand queries, `find` is done before an index is built.

References:
    FAISS wiki, "Guidelines to choose an index" (2023).
"""

import types

import numpy as np

from keras_jft.evaluation.duplicates import products

FLAT_REFERENCES = 100_000
_CANDIDATES = 8  # From the index per query; float64 decides among them.


def index_name(num_references: int) -> str:
    """Return the name of the index that FAISS's guidelines recommend.

    Args:
        num_references: Number of references.

    Returns:
        A string for `faiss.index_factory`; `"Flat"` is exact.

    Example:

    >>> [index_name(n) for n in (10_000, 500_000, 300_000_000)]
    ['Flat', 'IVF5656,Flat', 'IVF1048576_HNSW32,SQ8']
    """
    if num_references < FLAT_REFERENCES:
        return "Flat"
    if num_references < 1_000_000:
        return f"IVF{int(8 * num_references**0.5)},Flat"
    for limit, lists in ((10e6, 65_536), (100e6, 262_144)):
        if num_references < limit:
            return f"IVF{lists}_HNSW32,Flat"
    return "IVF1048576_HNSW32,SQ8"


def search(queries, chunks, first):
    """Return the best reference of each query, as `find` collects them.

    Args:
        queries: `(Q, D)` float32.
        chunks: An iterable of `(ids or None, (R, D) float32)`.
        first: Number of the first reference.

    Raises:
        ImportError: If FAISS is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            'method="faiss" needs FAISS: `pip install keras_jft[faiss]`. '
            'method="float32" needs nothing and is exact.'
        ) from error
    parts = list(chunks)
    count = sum(len(rows) for _, rows in parts)
    best = types.SimpleNamespace(seen=count, has_ids=False)
    if not count:
        return best
    references = np.concatenate([rows for _, rows in parts])
    index = faiss.index_factory(
        references.shape[1], index_name(count), faiss.METRIC_INNER_PRODUCT
    )
    if not index.is_trained:
        index.train(references)
        faiss.ParameterSpace().set_index_parameter(index, "nprobe", 32)
    index.add(references)
    _, found = index.search(queries, min(_CANDIDATES, count))
    rows, places = np.nonzero(found >= 0)
    numbers = found[rows, places]
    exact = np.full(found.shape, -np.inf)
    exact[rows, places] = products.exact(queries[rows], references[numbers])
    best.similarity = exact.max(axis=1)
    # Of equally similar references the first, as in a search without FAISS.
    ties = np.where(exact == best.similarity[:, None], found, count)
    at = ties.min(axis=1)
    best.number = first + at
    best.has_ids = all(ids is not None for ids, _ in parts)
    if best.has_ids:
        best.ids = np.concatenate([ids for ids, _ in parts])[at]
    return best
