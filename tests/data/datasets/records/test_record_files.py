"""Names of shards, their index, and how they are written."""

import io
import resource

import numpy as np
import pytest

from keras_jft import files
from keras_jft.data.datasets.records import shards

tf = pytest.importorskip("tensorflow")


def test_paths_of_other_forms_are_refused():
    for path in ("train", "train@", "train@0", "a/@3", "a@3/b", "a@b@3"):
        with pytest.raises(ValueError, match="DIR/NAME@SHARDS"):
            shards.parse(path)
    with pytest.raises(ValueError, match=r"\['tfrecord', 'array_record'\]"):
        shards.parse("a/train.csv@3")
    # A kind that is nearly one.
    with pytest.raises(ValueError, match=r"of \['tfrecord', 'array_record'\]"):
        shards.parse("a/train.tfrecords@3")
    assert shards.parse("/train@3")[0] == "/"


def test_the_name_of_a_version_has_dots():
    for name in ("train-v1.0", "train.2", "v1.0.3", "a.b.v2"):
        parsed = ("r", name, "tfrecord", 1)
        assert shards.parse(f"r/{name}@1") == parsed
        parsed = ("r", name, "array_record", 2)
        assert shards.parse(f"r/{name}.array_record@2") == parsed
        shard = shards.shard_name(name, "tfrecord", 0, 1)
        index = shards.index_path(shard)
        assert index == f"{name}.index-00000-of-00001"


def test_an_index_says_where_records_lie(tmp_path, rng):
    records = [rng.bytes(size) for size in (5, 0, 1000)]
    index = shards.Index(True)
    path = str(tmp_path / "a.tfrecord-00000-of-00001")
    with shards.writer(path, "tfrecord") as write:
        for record, name in zip(records, "cab", strict=True):
            write(record)
            index.add(record, name)
    content = (tmp_path / "a.tfrecord-00000-of-00001").read_bytes()
    for record, place in zip(records, index.arrays()["places"], strict=True):
        start, size, _ = place
        assert content[start : start + size] == record
    assert index.arrays()["places"].nbytes == 16 * 3
    assert index.arrays()["ids"].tolist() == list("cab")
    index.write(shards.index_path(path))
    saved = np.load(io.BytesIO((tmp_path / "a.index-00000-of-00001")
                               .read_bytes()))  # fmt: skip
    assert saved["ids"].tolist() == list("cab")


@pytest.mark.parametrize(
    ("ids", "first"),
    [([3, 4, 5], 3), ([], 0), ([0, 2], None), (["0", "1"], None), ([7], 7)],
)
def test_ids_in_a_row_are_not_stored(ids, first):
    index = shards.Index(False)
    for name in ids:
        index.add(b"", name)
    assert index.first_id == first
    assert ("ids" in index.arrays()) == (first is None)


@pytest.fixture
def small_disk():
    """Files of at most 100 kB, as if the disk were full behind them."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@pytest.mark.parametrize("kind", shards.KINDS)
def test_a_full_disk_leaves_no_shard(kind, tmp_path, rng, small_disk):
    path = str(tmp_path / "a")
    with (
        pytest.raises(OSError, match="/a.* could not be written: .*File too"),
        shards.writer(path, kind) as write,
    ):
        for _ in range(50):
            write(rng.bytes(10_000))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", shards.KINDS)
def test_a_shard_reaches_a_bucket(kind, tmp_path):
    pytest.importorskip("fsspec")
    path = f"memory:/{tmp_path}/a"
    with shards.writer(path, kind) as write:
        write(b"one")
        assert not files.is_file(path)
    assert files.list_folder(f"memory:/{tmp_path}") == ["a"]
    assert len(files.read_bytes(path)) >= 3
