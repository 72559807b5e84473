"""The search is exact: a brute-force float64 product is the oracle."""

import sys
import types

import numpy as np
import pytest
from keras import ops

from keras_jft.evaluation.duplicates import find, merge, search

METHODS = ("float32", "bfloat16")


def _rows(rng, count, width=24):
    rows = rng.normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("f4")


def _brute_force(queries, references):
    scores = queries.astype("f8") @ references.astype("f8").T
    return scores.argmax(1), scores.max(1)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(search, "_BLOCK", 7)
    monkeypatch.setattr(search, "_TILE", 5)
    monkeypatch.setattr(search, "_PAIRS", 3)


@pytest.mark.ops
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("chunk", [1, 6, 7, 40, 101])
def test_search_finds_what_brute_force_finds(rng, small_blocks, method, chunk):
    queries, references = _rows(rng, 13), _rows(rng, 101)
    chunks = (references[i : i + chunk] for i in range(0, 101, chunk))
    found = find(queries, chunks, 0.5, method=method)
    best, similarity = _brute_force(queries, references)
    np.testing.assert_array_equal(found.best, best)
    np.testing.assert_allclose(found.similarity, similarity, atol=1e-12)
    np.testing.assert_array_equal(found.is_duplicate, similarity >= 0.5)


@pytest.mark.ops
@pytest.mark.parametrize("method", METHODS)
def test_of_equal_references_the_first_is_found(rng, small_blocks, method):
    queries = _rows(rng, 6)
    # Each query stands there four times, in other chunks and in one block.
    references = np.concatenate([_rows(rng, 3), *[queries] * 4, _rows(rng, 9)])
    for size in (4, 11, 36):
        chunks = [references[i : i + size] for i in range(0, 36, size)]
        found = find(queries, chunks, method=method)
        assert found.best.tolist() == [3, 4, 5, 6, 7, 8]
        assert found.is_duplicate.all()


@pytest.mark.ops
@pytest.mark.parametrize("method", METHODS)
def test_references_closer_than_the_product_resolves_are_told_apart(
    rng, method
):
    """They differ by less than bfloat16 and float32 sums resolve."""
    query = _rows(rng, 1, width=512)
    step = 1e-5 * _rows(rng, 200, width=512)
    references = query + step
    references /= np.linalg.norm(references, axis=1, keepdims=True)
    found = find(query, references, method=method)
    best, similarity = _brute_force(query, references)
    assert found.best == best
    assert found.similarity == pytest.approx(similarity, abs=1e-12)


@pytest.mark.ops
@pytest.mark.parametrize("method", METHODS)
def test_no_product_is_off_by_more_than_its_bound(rng, method):
    for queries in (_rows(rng, 20, 300), np.eye(20, 300, dtype="f4")):
        # Also the worst: all entries round the same way.
        near = np.full((1, 300), 300**-0.5 * (1 + 2**-9), "f4")
        references = np.concatenate([_rows(rng, 50, 300), near, queries])
        tile = search.products.PRODUCTS[method](queries, 32)
        scores = tile.scores(tile.prepared(references), 0)
        scores = tile.columns(scores, range(20))
        exact = references.astype("f8") @ queries.astype("f8").T
        assert abs(scores - exact).max() <= tile.error


def test_ids_come_with_chunks(rng, small_blocks):
    references = _rows(rng, 20)
    ids = np.array([f"image{i}" for i in range(20)])
    chunks = [(ids[:9], references[:9]), (ids[9:], references[9:])]
    found = find(references[[17, 3]], chunks, query_ids=["a", "b"])
    assert found.best_ids.tolist() == ["image17", "image3"]
    assert found.duplicate_ids.tolist() == ["a", "b"]
    assert found.at(1.1).duplicate_ids.tolist() == []


def test_parts_in_any_order_merge_to_the_whole(rng):
    queries, references = _rows(rng, 9), _rows(rng, 40)
    references[33] = references[5] = queries[0]
    whole = find(queries, references)
    parts = [
        find(queries, references[i : i + 10], first=i) for i in (30, 0, 20, 10)
    ]
    total = merge([merge(parts[:2]), merge(parts[2:])])
    np.testing.assert_array_equal(total.best, whole.best)
    np.testing.assert_array_equal(total.similarity, whole.similarity)
    assert total.best[0] == 5


def test_references_are_not_held(rng):
    """Each chunk is gone before the next but one is made."""
    import weakref

    alive, most = [], 0

    def chunks():
        nonlocal most
        for _ in range(8):
            chunk = _rows(rng, 50)
            alive.append(weakref.ref(chunk))
            yield chunk
            del chunk
            most = max(most, sum(ref() is not None for ref in alive))

    find(_rows(rng, 3), chunks())
    assert len(alive) == 8
    assert most <= 2


class _Index:
    """As a flat index of FAISS."""

    is_trained = True

    def __init__(self, width, name, metric):
        assert name == "Flat"

    def add(self, references):
        self.references = references

    def search(self, queries, k):
        scores = queries @ self.references.T
        found = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, found, 1), found


def test_faiss_finds_the_same(rng, monkeypatch):
    faiss = types.SimpleNamespace(index_factory=_Index, METRIC_INNER_PRODUCT=0)
    monkeypatch.setitem(sys.modules, "faiss", faiss)
    queries, references = _rows(rng, 9), _rows(rng, 40)
    ids = np.arange(40) + 100
    ours = find(queries, [(ids, references)], first=7)
    theirs = find(queries, [(ids, references)], first=7, method="faiss")
    for name in ("best", "best_ids", "similarity"):
        np.testing.assert_array_equal(vars(ours)[name], vars(theirs)[name])


def test_without_faiss_the_error_says_what_to_install(rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"keras_jft\[faiss\]"):
        find(_rows(rng, 1), _rows(rng, 1), method="faiss")


def _with(row, value):
    rows = np.eye(4, dtype="f4")
    rows[row] = value
    return rows


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.eye(4), np.eye(5)), {}, "same backbone"),
        ((np.eye(4), _with(2, 0.0)), {}, "length 0 in row 2"),
        ((_with(1, np.nan), np.eye(4)), {}, "length nan in row 1"),
        ((np.eye(4), 3 * np.eye(4)), {}, "Divide rows"),
        ((np.empty((0, 4)), np.eye(4)), {}, "at least one query"),
        ((np.eye(4), np.empty((0, 4))), {}, "Received none"),
        ((np.eye(4), iter(())), {}, "only once"),
        ((np.eye(2), np.eye(2)), {"query_ids": [7, 7]}, "more than once: .7."),
        ((np.eye(2), np.eye(2)), {"query_ids": [7]}, "one id per query"),
        ((np.eye(2), [(["a", "a"], np.eye(2))]), {}, "more than once"),
        ((np.eye(2), [(["a"], np.eye(2))]), {}, "one id per row"),
        ((np.eye(2), np.eye(2)), {"method": "float16"}, "`method`"),
    ],
)
def test_bad_input_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        find(*arguments, **options)


def test_parts_of_other_queries_are_refused():
    one, other = find(np.eye(3), np.eye(3)), find(np.eye(3)[:2], np.eye(3))
    with pytest.raises(ValueError, match="same queries"):
        merge([one, other])
    with pytest.raises(ValueError, match="Received none"):
        merge([])


def test_a_tensor_backend_s_bfloat16_rounds_as_the_bound_takes_it():
    """Half a unit of the last of 8 bits, at most 2 ** -8 relatively."""
    x = np.linspace(1, 2, 1000, dtype="f4")
    y = ops.convert_to_numpy(ops.cast(ops.cast(x, "bfloat16"), "float32"))
    assert abs(y / x - 1).max() <= 2**-8
