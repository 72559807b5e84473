"""What holds for every data set in the table."""

import numpy as np
import pytest
import small_data_sets

from keras_jft import data as jft_data
from keras_jft.data.datasets import DATASETS, load
from keras_jft.training import encoding


@pytest.fixture(params=sorted(DATASETS))
def make(request, tmp_path):
    """A function that loads a small data set, anew at every call."""
    name = request.param
    save = getattr(small_data_sets, name)
    options = save(request.getfixturevalue, tmp_path)
    return lambda: load(name, **options)


def check_dataset(make):
    """Asserts the contract of `Dataset`, on two fresh copies of one."""
    data, again = make(), make()
    positions = np.arange(len(data))
    info = data.info
    assert len(data) == info.num_examples > 0
    ids = np.asarray(data.ids(positions))
    assert ids.dtype.kind in "iU"
    assert len(np.unique(ids)) == len(data), "ids are unique"
    assert ids.tolist() == np.asarray(again.ids(positions)).tolist()
    assert np.asarray(data.ids(positions[::-1])).tolist() == ids[::-1].tolist()

    examples = data.take(positions)
    assert [example["ids"] for example in examples] == ids.tolist()
    batch = jft_data.collate(
        examples, max_labels=info.max_labels, max_boxes=info.max_boxes
    )
    jft_data.check_batch(
        batch,
        num_classes=len(info.label_names) or None,
        num_mask_classes=len(info.mask_names) or None,
        num_keypoints=len(info.keypoint_names) or None,
    )
    assert batch["images"].dtype == np.uint8
    if info.hierarchy is not None:
        assert info.hierarchy.names == info.label_names
        closed = info.hierarchy.close_batch(batch["labels"])
        for row, closed_row in zip(batch["labels"], closed, strict=True):
            assert set(row) - {-1} == set(closed_row) - {-1}, "closed upward"
    for known, example in zip(
        data.annotations(positions), examples, strict=True
    ):
        assert "images" not in known and known["ids"] == example["ids"]
        _assert_same(known, {key: example[key] for key in known})
    # One by one, in another order and from a fresh copy: the same.
    for position in positions[::-1]:
        for other in (data[position], again.take([position])[0]):
            assert other.keys() == examples[position].keys()
            for key in ("images", "labels", "segmentation_masks"):
                np.testing.assert_array_equal(
                    other.get(key, 0), examples[position].get(key, 0)
                )


def _assert_same(one, other):
    for key, value in one.items():
        if isinstance(value, dict):
            assert value.keys() == other[key].keys()
            _assert_same(value, other[key])
        else:
            np.testing.assert_array_equal(value, other[key])


def test_every_data_set_keeps_the_contract(make):
    check_dataset(make)


def test_every_data_set_is_read_at_whole_positions_alone(make):
    data = make()
    for same in (data, jft_data.cache(data), jft_data.subset(data, len(data))):
        first = same[np.int64(0)]["ids"]
        assert first == same.take([0])[0]["ids"]
        for outside in (-1, len(data)):
            with pytest.raises(IndexError, match=rf"0\.\..*: {outside}\."):
                same[outside]
        for other in (slice(0, 2), 0.0, "0", [0, 1]):
            with pytest.raises(TypeError, match=r"whole number.*`data\.take"):
                same[other]
        for read in (same.ids, same.take, same.annotations):
            assert len(read(range(2))) == len(read(iter([1, 0]))) == 2
            assert len(read([])) == 0
            for outside in (-1, len(data)):
                with pytest.raises(IndexError, match=rf"0\.\..*: {outside}\."):
                    read([0, outside])
            for other in ([0.0], ["0"], [True, False], [[0]], slice(2)):
                with pytest.raises(TypeError, match="must be a? ?whole"):
                    read(other)
        with pytest.raises(TypeError, match="must be whole numbers"):
            same.take(0)
        with pytest.raises(IndexError):
            same.image_bytes(-1)


def test_every_data_set_goes_through_the_whole_pipeline(make):
    data = jft_data.cache(jft_data.subset(make(), 4))
    batches = jft_data.iterate(data, 2, transforms="flip", training=True)
    for _ in range(2):
        for batch in batches:
            jft_data.check_batch(batch)
            assert len(batch["images"]) == 2


def test_every_data_set_goes_to_another_process(make):
    batches = jft_data.iterate(jft_data.subset(make(), 4), 2, training=True)
    again = encoding.decode(encoding.encode(batches))
    for key, value in batches.batch(3).items():
        np.testing.assert_equal(again.batch(3)[key], value)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="'synthetic'.*'imagenet21k'"):
        load("imagenet21k")


def test_any_data_set_is_loaded_with_noise():
    options = {"num_examples": 40, "wrong_labels": 0.0, "missing_labels": 0.0}
    clean = load("synthetic", **options)
    noise = {"wrong": 0.5, "missing": 0.2, "seed": 3}
    noisy = load("synthetic", noise=noise, **options)
    expected = jft_data.NoisyLabels(clean, **noise).take(range(40))
    changed = 0
    for i, example in enumerate(expected):
        np.testing.assert_array_equal(noisy[i]["labels"], example["labels"])
        changed += example["labels"].tolist() != clean[i]["labels"].tolist()
    assert changed > 20
    with pytest.raises(ValueError, match="`wrong` must be a rate"):
        load("synthetic", noise={"wrong": 2}, **options)
