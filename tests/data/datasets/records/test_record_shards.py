"""Records at any place, in any thread; damage is named, never passed on."""

import concurrent.futures
import io
import pathlib
import pickle
import zipfile

import numpy as np
import pytest

from keras_jft.data.datasets.records import shards
from keras_jft.data.datasets.records.shards import SHARDS

tf = pytest.importorskip("tensorflow")
NUM = 9


@pytest.fixture(params=shards.KINDS)
def kind(request):
    return request.param


@pytest.fixture
def records(rng):
    """Serialized examples with the ids i0, i1, ..."""
    found = []
    for i in range(NUM):
        message = tf.train.Example()
        feature = message.features.feature
        feature["image/source_id"].bytes_list.value.append(f"i{i}".encode())
        feature["noise"].bytes_list.value.append(rng.bytes(500 + 100 * i))
        found.append(message.SerializeToString())
    return found


@pytest.fixture
def make(kind, records, tmp_path):
    """A function that opens the shard anew; it lies in `make.path`."""
    name = shards.shard_name("a", kind, 0, 1)
    index = shards.Index(kind == "tfrecord")
    path = str(tmp_path / name)
    with shards.writer(path, kind) as write:
        for i, record in enumerate(records):
            write(record)
            index.add(record, f"i{i}")
    index.write(shards.index_path(path))

    def make(num_records=NUM):
        return SHARDS[kind](str(tmp_path), name, num_records, None, str)

    make.path = pathlib.Path(path)
    make.index = tmp_path / "a.index-00000-of-00001"
    return make


def test_records_are_read_at_any_place_by_any_thread(make, records, rng):
    shard = make()
    places = rng.integers(0, NUM, 400).tolist()
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = list(threads.map(shard.read, places))
    assert found == [records[place] for place in places]
    assert list(shard.scan()) == records
    again = pickle.loads(pickle.dumps(shard))
    assert again.read(4) == records[4]
    assert again.ids_at(np.array([4, 1])).tolist() == ["i4", "i1"]


def test_a_lost_index_is_built_again(make, records):
    before = dict(np.load(make.index))
    make.index.unlink()
    shard = make()
    assert shard.ids_at(np.arange(NUM)).tolist() == [f"i{i}" for i in range(9)]
    assert [shard.read(i) for i in range(NUM)] == records
    after = dict(np.load(make.index))
    assert before.keys() == after.keys()
    for key, rows in before.items():
        np.testing.assert_array_equal(rows, after[key])


def test_a_flipped_bit_is_noticed_wherever_it_is(make, records, rng):
    content = make.path.read_bytes()
    noticed = 0
    # ArrayRecord fills its last 64 kB up.
    for place in rng.integers(0, sum(map(len, records)), 60):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        make.path.write_bytes(damaged)
        shard = make()
        for i, record in enumerate(records):
            try:
                assert shard.read(i) == record
            except ValueError as error:
                noticed += 1
                assert str(make.path) in str(error)
    assert noticed > 30


def test_a_shard_that_is_cut_short_is_named(kind, make, records):
    content = make.path.read_bytes()
    make.path.write_bytes(content[: len(content) // 2])
    shard = make()
    where = "record 8 of" if kind == "tfrecord" else "must have 9 records"
    with pytest.raises(ValueError, match=f"{where}.*cut short"):
        shard.read(8)
    if kind == "tfrecord":
        assert shard.read(0) == records[0]
    make.path.unlink()
    with pytest.raises((ValueError, OSError), match=make.path.name):
        make().read(0)


def test_a_count_that_is_not_that_of_the_note_is_refused(make):
    with pytest.raises(ValueError, match="must have 8 .*not 9"):
        make(8).ids_at(np.arange(8))
    make.index.unlink()
    with pytest.raises(ValueError, match="must have 10 records.*Received: 9"):
        list(make(10).scan()) and make(10).ids_at(np.arange(9))


def test_a_damaged_index_is_refused(make):
    content = make.index.read_bytes()
    for damaged in (content[:-30], b"", b"PK" + content[40:]):
        make.index.write_bytes(damaged)
        with pytest.raises(ValueError, match="index.*is damaged.*Delete it"):
            make().ids_at(np.arange(2))


def test_an_index_of_other_arrays_is_refused(make):
    index = dict(np.load(make.index))
    packed = io.BytesIO()
    np.savez_compressed(packed, **index)
    faults = {"packed": packed.getvalue()}
    for name, arrays in {
        "lacks": {"other": np.zeros(9)},
        "[Oo]bject": {key: rows.astype("O") for key, rows in index.items()},
        r"\(9, 1\)": {key: rows[:, None] for key, rows in index.items()},
    }.items():
        content = io.BytesIO()
        np.savez(content, **arrays)
        faults[name] = content.getvalue()
    lies, shape = io.BytesIO(), b"(%d,)" % (10**13)
    with zipfile.ZipFile(lies, "w") as archive:
        for key, rows in index.items():
            file = io.BytesIO()
            np.save(file, rows)
            # As many letters, so that the header stays as long.
            text = file.getvalue().replace(
                b"(9,), }" + b" " * 13, shape + b", }"
            )
            archive.writestr(f"{key}.npy", text)
    faults["promises"] = lies.getvalue()
    for name, content in faults.items():
        make.index.write_bytes(content)
        with pytest.raises(ValueError, match=f"index.*damaged: .*{name}"):
            make().ids_at(np.arange(2))
