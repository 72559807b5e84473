"""Subsets nest, and depend on ids and seed alone."""

import numpy as np
import pytest
from scipy import stats

from keras_jft.data import keyed_random
from keras_jft.data.dataset import Dataset, Info
from keras_jft.data.subsets import subset


def _ids(data):
    return list(data.ids(np.arange(len(data))))


@pytest.fixture(params=["integers", "strings"])
def data(request, make_data):
    names = [f"{i * 7919 % 101}.jpg" for i in range(101)]
    return make_data(101, ids=None if request.param == "integers" else names)


def test_a_smaller_subset_is_the_beginning_of_a_larger(data):
    whole = _ids(subset(data, 101, seed=3))
    assert sorted(whole) == sorted(_ids(data))
    for size in (1, 10, 100):
        assert _ids(subset(data, size, seed=3)) == whole[:size]


def test_a_subset_of_a_subset_is_the_same_as_of_the_whole(data):
    inner = subset(subset(data, 40, seed=3), 7, seed=3)
    assert _ids(inner) == _ids(subset(data, 7, seed=3))
    other = subset(subset(data, 40, seed=3), 7, seed=4)
    assert set(_ids(other)) <= set(_ids(subset(data, 40, seed=3)))
    assert _ids(other) != _ids(inner)


def test_another_seed_is_another_subset(data):
    assert set(_ids(subset(data, 20, 0))) != set(_ids(subset(data, 20, 1)))


@pytest.mark.parametrize("first", [0, 5, "jpg"])
def test_the_order_of_the_source_does_not_matter(make_data, first):
    names = [f"{i}.jpg" if first == "jpg" else first + i for i in range(50)]
    sizes = [_ids(subset(make_data(50, ids=order), 9)) for order in (
        names, names[::-1], names[25:] + names[:25]
    )]  # fmt: skip
    assert sizes[0] == sizes[1] == sizes[2]


def test_strings_come_in_the_order_of_their_hashes(make_data):
    names = [f"{i}.jpg" for i in range(50)]
    expected = sorted(names, key=lambda name: int(keyed_random.hash64(8, name)))
    assert _ids(subset(make_data(50, ids=names), 12, seed=8)) == expected[:12]


def test_examples_are_those_of_their_ids(data):
    chosen = subset(data, 9, seed=1)
    by_id = {example["ids"]: example for example in data.examples}
    for position, name in enumerate(_ids(chosen)):
        example = chosen[position]
        assert example["ids"] == name
        np.testing.assert_array_equal(example["images"], by_id[name]["images"])
    taken = chosen.take([4, 2])
    assert [example["ids"] for example in taken] == _ids(chosen)[4:1:-2]


def test_every_example_is_chosen_equally_often_over_seeds(data):
    counts = dict.fromkeys(_ids(data), 0)
    for seed in range(400):
        for name in _ids(subset(data, 10, seed)):
            counts[name] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 0.001


def test_a_subset_knows_its_size_and_not_the_counts_of_the_whole(make_data):
    data = make_data(30, class_counts=np.arange(9))
    info = subset(data, 5).info
    assert (info.num_examples, info.class_counts) == (5, None)
    assert info.label_names == data.info.label_names


@pytest.mark.parametrize("size", [0, -1, 102])
def test_a_size_that_the_data_do_not_have_is_refused(data, size):
    with pytest.raises(ValueError, match=rf"1\.\.101.*num_examples={size}"):
        subset(data, size)


def test_300_million_examples_are_ordered_without_being_listed():
    class Endless(Dataset):
        info = Info(num_examples=300_000_000)
        asked = 0

        def ids(self, positions):
            self.asked = max(self.asked, len(positions))
            return np.asarray(positions)

    data = Endless()
    large, small = subset(data, 3_000_000), subset(data, 1000)
    assert data.asked <= 1_000_000
    positions = np.arange(1000)
    assert small.ids(positions).tolist() == large.ids(positions).tolist()
    assert len(np.unique(large.ids(np.arange(100_000)))) == 100_000


def test_a_subset_ends_where_it_ends(make_data):
    small = subset(make_data(40), 5, seed=0)
    assert [e["ids"] for e in small] == small.ids(range(5)).tolist()
    for read in (small.ids, small.take, small.annotations):
        for positions in ([5], [-1], [0, 5]):
            with pytest.raises(IndexError, match=r"must be in 0\.\.4"):
                read(positions)
    with pytest.raises(IndexError):
        small.image_bytes(5)


def test_a_size_is_a_whole_number(make_data):
    data = make_data(6)
    for size in (3, 3.0, np.int64(3)):
        assert len(subset(data, size)) == 3
    for size in (0.5, "3", None, True):
        with pytest.raises(ValueError, match="`num_examples` must be a whole"):
            subset(data, size)
