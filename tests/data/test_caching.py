"""A cache gives back what the data set gives, and reads it once."""

import json
import zipfile

import numpy as np
import pytest

from keras_jft.data.caching import cache
from keras_jft.data.noise import NoisyLabels

NUM = 1100  # Three chunks, the last not full.


@pytest.fixture(scope="module")
def examples():
    """Images of two sizes with 0 to 3 labels, boxes, a mask, keypoints."""
    rng = np.random.default_rng(0)
    return [
        {
            "images": rng.integers(0, 256, (2 + i % 2, 3, 3), "uint8"),
            "labels": rng.integers(0, 9, i % 4).astype("int32"),
            "bounding_boxes": {
                "boxes": rng.random((i % 3, 4)).astype("float32"),
                "labels": np.arange(i % 3, dtype="int32"),
                "ignored": np.arange(i % 3) == 1,
                "areas": np.arange(i % 3, dtype="float32"),
            },
            "segmentation_masks": np.full((2 + i % 2, 3, 1), i % 7, "uint8"),
            "keypoints": rng.random((5, 3)).astype("float32"),
            "ids": f"{i}.jpg",
        }
        for i in range(NUM)
    ]


@pytest.fixture
def data(listed, examples):
    return listed(examples, label_names=tuple("abcdefghi"))


def _assert_equal(example, other):
    assert example.keys() == other.keys()
    for key, value in other.items():
        if isinstance(value, dict):
            _assert_equal(example[key], value)
        else:
            assert np.asarray(example[key]).dtype == np.asarray(value).dtype
            np.testing.assert_array_equal(example[key], value)


@pytest.fixture(params=["memory", "disk", "store"])
def cached(request, data, tmp_path):
    if request.param == "store":
        pytest.importorskip("fsspec")
    places = {"disk": tmp_path / "cache", "store": f"memory:/{tmp_path}"}
    return cache(data, places.get(request.param))


def test_examples_come_back_as_they_were(cached, examples, data):
    positions = [NUM - 1, 0, 511, 512, 3, 3]
    for position, example in zip(
        positions, cached.take(positions), strict=True
    ):
        _assert_equal(example, examples[position])
    _assert_equal(cached[7], examples[7])
    assert len(cached) == NUM and cached.info is data.info
    assert cached.ids([5, 1]).tolist() == ["5.jpg", "1.jpg"]


def test_taking_from_a_cache_reads_nothing(cached, data):
    data.reads.clear()
    cached.take(np.arange(NUM))
    assert data.reads == []


def test_each_example_is_read_once(data):
    cache(data)
    assert sorted(data.reads) == sorted(e["ids"] for e in data.examples)


def test_a_reader_cannot_spoil_the_cache(cached):
    with pytest.raises(ValueError, match="read-only"):
        cached[0]["images"][:] = 0


def test_single_labels_stay_scalars(listed):
    image = np.zeros((1, 1, 3), "uint8")
    data = listed(
        [{"images": image, "labels": np.int32(i), "ids": i} for i in range(3)]
    )
    assert [type(e["labels"]) for e in cache(data).take([0, 2])] == [
        np.int32
    ] * 2
    assert cache(data)[2]["ids"] == 2


def test_a_complete_cache_is_used_again(data, examples, tmp_path):
    cache(data, tmp_path)
    data.reads.clear()
    again = cache(data, tmp_path)
    assert len(data.reads) <= 64, "a few examples, to know the data set by"
    _assert_equal(again[1000], examples[1000])


def test_an_interrupted_build_goes_on_where_it_stopped(
    data, examples, tmp_path
):
    data.unreadable = {"600.jpg"}
    with pytest.raises(ValueError, match=r"600\.jpg"):
        cache(data, tmp_path)
    # As a killed process leaves it: part of a chunk, under another name.
    (tmp_path / ".partial-1-000001.npz").write_bytes(b"half")
    data.unreadable = set()
    data.reads.clear()
    whole = cache(data, tmp_path)
    for position, example in enumerate(whole.take(np.arange(NUM))):
        _assert_equal(example, examples[position])
    counts = {name: data.reads.count(name) for name in ("5.jpg", "605.jpg")}
    assert counts == {"5.jpg": 0, "605.jpg": 1}


def test_a_chunk_that_is_cut_short_is_named(data, examples, tmp_path):
    cache(data, tmp_path)
    chunk = tmp_path / "000001.npz"
    chunk.write_bytes(chunk.read_bytes()[:-10])
    with pytest.raises(ValueError, match="000001.npz' is damaged.*Delete it"):
        cache(data, tmp_path)
    chunk.unlink()
    _assert_equal(cache(data, tmp_path)[600], examples[600])


def test_a_header_that_lies_is_damage_and_what_macos_writes_is_not_read(
    data, tmp_path
):
    cache(data, tmp_path)
    (tmp_path / "._000001.npz").write_bytes(b"of another system")
    assert len(cache(data, tmp_path).take([600])) == 1
    path = tmp_path / "000001.npz"
    arrays = dict(np.load(path))
    for lying in ("images", "images.shapes"):
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in arrays.items():
                header = np.lib.format.header_data_from_array_1_0(array)
                if name == lying:
                    header["shape"] = (9 * 10**12,)  # Terabytes.
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array_header_1_0(file, header)
                    file.write(array.tobytes())
        with pytest.raises(ValueError, match="000001.npz' is damaged.*promis"):
            cache(data, tmp_path)
    # Shapes of another number of values, and none.
    shapes = arrays.pop("images.shapes")
    for others in ({"images.shapes": shapes * 2}, {}):
        np.savez(path, **arrays, **others)
        with pytest.raises(ValueError, match="000001.npz' is damaged: "):
            cache(data, tmp_path)


def test_the_cache_of_another_data_set_is_refused(listed, data, tmp_path):
    cache(data, tmp_path)
    fewer = listed(data.examples[:-1])
    changed = listed(
        [{**e, "labels": e["labels"] + np.int32(1)} for e in data.examples]
    )
    for other in (fewer, changed):
        with pytest.raises(
            ValueError,
            match="a cache of something else: `",
        ):
            cache(other, tmp_path)


def test_a_folder_of_other_things_is_left_alone(data, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="new, empty or hold a cache.*thesis"):
        cache(data, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_builds_at_once_agree(data, examples, tmp_path, monkeypatch):
    take = data.take
    rival = type(data)(data.examples, label_names=data.info.label_names)

    def take_slowly(positions):
        # A second process builds the whole cache while we read.
        if len(positions) > 64 and not rival.reads:
            cache(rival, tmp_path)
        return take(positions)

    monkeypatch.setattr(data, "take", take_slowly)
    ours = cache(data, tmp_path)
    _assert_equal(ours[600], examples[600])
    assert (
        json.loads((tmp_path / "cache.json").read_text())["num_examples"] == NUM
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "000000.npz", "000001.npz", "000002.npz", "cache.json",
    ]  # fmt: skip


def test_labels_that_changed_are_noticed_by_their_counts(make_data, tmp_path):
    data = make_data(500, class_counts=np.bincount([0, 1, 1], minlength=9))
    cache(data, tmp_path)
    same = make_data(500, class_counts=data.info.class_counts.copy())
    cache(same, tmp_path)
    # None of the probes is another one.
    other = make_data(500, class_counts=np.bincount([0, 0, 1], minlength=9))
    with pytest.raises(
        ValueError,
        match="a cache of something else: `",
    ):
        cache(other, tmp_path)
    with pytest.raises(
        ValueError,
        match="a cache of something else: `",
    ):
        cache(NoisyLabels(data, wrong=0.001), tmp_path)


def test_others_may_read_a_cache_and_what_was_left_is_no_obstacle(
    make_data, tmp_path
):
    (tmp_path / ".partial-left").mkdir()
    (tmp_path / "Thumbs.db").write_text("")
    cache(make_data(3), tmp_path)
    assert (tmp_path / "cache.json").stat().st_mode & 0o777 == 0o644


def test_a_cache_gives_the_files_of_its_source(make_data):
    data = make_data(3)
    data.image_bytes = lambda position: b"file %d" % position
    assert cache(data).image_bytes(2) == b"file 2"
