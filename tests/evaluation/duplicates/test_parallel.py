"""One shard a task and a merge equal one search."""

import concurrent.futures
import multiprocessing
import sys

import numpy as np
import pytest

from keras_jft.evaluation import duplicates
from keras_jft.evaluation.duplicates import embedding, parallel
from keras_jft.training.checkpoints import archive


@pytest.fixture
def folders(tmp_path, rng):
    """Folders of 12 queries and of 50 references in shards of 9."""
    rows = rng.normal(size=(62, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("f4")
    rows[[20, 55]] = rows[3]  # Two references equal one query.
    names = np.array([f"image{i}" for i in range(62)])
    for name, part in (("q", slice(0, 12)), ("r", slice(12, 62))):
        _write(tmp_path / name, names[part], rows[part])
    return tmp_path / "q", tmp_path / "r"


def _write(folder, ids, rows, size=9):
    folder.mkdir()
    for number, start in enumerate(range(0, len(ids), size)):
        part = slice(start, start + size)
        archive.write(
            folder / f"{number:06}-{len(ids[part]):06}.npz",
            {"ids": ids[part], "embeddings": rows[part]},
            {"kind": "embeddings"},
        )
    (folder / embedding._MANIFEST).write_text(
        f'{{"num_examples": {len(ids)}, "shard_size": {size}}}'
    )


def _check(total, folders):
    whole = duplicates.find(*map(duplicates.Embeddings, folders), 0.9)
    for name in ("ids", "best", "best_ids", "similarity"):
        np.testing.assert_array_equal(vars(total)[name], vars(whole)[name])
    assert total.best_ids[3] == "image20"
    assert total.duplicate_ids.tolist() == ["image3"]


def test_shards_in_turn_equal_one_search(folders):
    _check(duplicates.find_parallel(*folders, 0.9), folders)


def test_shards_in_two_processes_equal_one_search(folders, monkeypatch):
    # On the backend that is imported soonest; the results are those of any.
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
        total = duplicates.find_parallel(*folders, 0.9, map=pool.map)
    _check(total, folders)


def test_beam_may_combine_nothing_and_partial_results(folders):
    assert parallel._merge_some([]) is None
    parts = [
        duplicates.find_in_shard(
            number, queries=folders[0], references=folders[1], threshold=0.9
        )
        for number in (4, 0, 3, 1, 2, 5)
    ]
    half = parallel._merge_some([parts[0], None, parts[1]])
    _check(parallel._merge_some([half, *parts[2:]]), folders)


def test_without_beam_the_error_says_what_to_install(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ImportError, match=r"keras_jft\[beam\]"):
        duplicates.find_with_beam(None, *folders, 0.9)
