"""Unreadable examples: an error that names them, or a counted skip."""

import numpy as np
import pytest

from keras_jft.data.images import UnreadableImage
from keras_jft.data.pipeline import Examples, iterate


@pytest.fixture
def damaged(make_data):
    """Ten examples, of which "3.jpg" and "8.jpg" cannot be read."""
    data = make_data(10, ids=[f"{i}.jpg" for i in range(10)])
    data.unreadable = {"3.jpg", "8.jpg"}
    return data


def _ids(batches):
    return [batch["ids"].tolist() for batch in batches]


def test_by_default_an_unreadable_example_is_an_error_that_names_it(damaged):
    with pytest.raises(
        ValueError, match=r"'3\.jpg' cannot be read.*tolerate=0"
    ):
        _ids(iterate(damaged, 4))


def test_a_missing_file_counts_as_unreadable(make_data):
    data = make_data(4)

    def take(positions):
        raise FileNotFoundError("no such file")

    data.take = take
    with pytest.raises(ValueError, match="no such file"):
        _ids(iterate(data, 4))


@pytest.mark.filterwarnings("ignore:Skipped example")
def test_other_errors_are_not_tolerated(make_data):
    data = make_data(4)

    def take(positions):
        raise KeyError("a bug")

    data.take = take
    with pytest.raises(KeyError):
        _ids(iterate(data, 4, tolerate=4))


@pytest.mark.parametrize("tolerate", [2, 3, 0.2, 0.29])
def test_evaluation_leaves_tolerated_examples_out(damaged, tolerate):
    batches = iterate(damaged, 4, tolerate=tolerate, workers=1)
    with pytest.warns(UserWarning, match="Skipped example") as warned:
        ids = _ids(batches)
    assert ids == [
        ["0.jpg", "1.jpg", "2.jpg"],
        ["4.jpg", "5.jpg", "6.jpg", "7.jpg"],
        ["9.jpg"],
    ]
    assert batches.skipped.keys() == {"3.jpg", "8.jpg"}
    assert batches.skipped["3.jpg"] == "'3.jpg' is damaged."
    assert [str(w.message).split(", ")[1][:2] for w in warned] == ["1 ", "2 "]


def test_each_example_is_counted_and_reported_once(damaged):
    batches = iterate(damaged, 4, tolerate=2)
    with pytest.warns(UserWarning, match="Skipped example"):
        first = _ids(batches)
    assert _ids(batches) == first
    assert len(batches.skipped) == 2


def test_every_skip_is_reported_by_cause_and_name(make_data):
    data = make_data(12)
    errors = {
        1: UnreadableImage("cut off", "truncated"),
        4: UnreadableImage("cut off, too", "truncated"),
        7: UnreadableImage("nothing there", "empty"),
        9: PermissionError("not yours"),
    }
    read = data.__getitem__

    def take(positions):
        for position in positions:
            if int(position) in errors:
                raise errors[int(position)]
        return [read(int(position)) for position in positions]

    data.take = take
    batches = iterate(data, 4, tolerate=0.5, workers=1)
    nothing = {"num_examples": 12, "tolerate": 6, "skipped": 0}
    assert batches.report() == {**nothing, "causes": {}, "names": {}}
    with pytest.warns(UserWarning, match="Skipped example"):
        for _ in range(2):
            _ids(batches)
    assert batches.report(most_names=1) == {
        **nothing,
        "skipped": 4,
        "causes": {"truncated": 2, "empty": 1, "not yours": 1},
        "names": {"truncated": [1], "empty": [7], "not yours": [9]},
    }
    assert batches.report()["names"]["truncated"] == [1, 4]


@pytest.mark.parametrize("tolerate", [1, 0.19])
def test_more_than_is_tolerated_stops_the_pass(damaged, tolerate):
    batches = iterate(damaged, 2, tolerate=tolerate, workers=1)
    with (
        pytest.warns(
            UserWarning, match=r"Skipped example '3\.jpg', 1 of at most"
        ),
        pytest.raises(ValueError, match=r"'8\.jpg'.*so far: 2.*tolerate=1"),
    ):
        _ids(batches)


@pytest.mark.parametrize("places", [{3}, {0, 1}, {9}, {8, 9}])
def test_in_training_the_next_example_takes_the_place(damaged, places):
    def read():
        batches = iterate(damaged, 5, training=True, tolerate=2)
        return [name for ids in _ids(batches) for name in ids]

    damaged.unreadable = set()
    expected = read()
    damaged.unreadable = {expected[place] for place in places}
    # The next in the order of the epoch; after its end, the first.
    for place in sorted(places, reverse=True):
        expected[place] = expected[(place + 1) % 10]
    with pytest.warns(UserWarning, match="Skipped example"):
        assert read() == expected


def test_a_batch_without_any_readable_example_is_an_error(damaged):
    batches = iterate(damaged, 1, tolerate=2, workers=1)
    with (
        pytest.warns(UserWarning, match="Skipped"),
        pytest.raises(ValueError, match=r"3\.jpg.*Raise `batch_size`"),
    ):
        _ids(batches)


def test_an_error_that_does_not_come_again_is_forgotten(make_data):
    data = make_data(4)
    take, failures = data.take, [OSError("the network is away")]

    def flaky(positions):
        if failures:
            raise failures.pop()
        return take(positions)

    data.take = flaky
    batches = iterate(data, 4)
    assert _ids(batches) == [[0, 1, 2, 3]]
    assert batches.skipped == {}


def test_draws_of_an_example_differ_by_seed_epoch_and_id():
    def draw(seed, epoch, name):
        examples = Examples([], True, seed)
        (rng,) = examples.generators(epoch, [{"ids": name}])
        return rng.random()

    draws = [
        draw(s, e, i) for s in range(3) for e in range(3) for i in range(3)
    ]
    assert len(np.unique(draws)) == 27
    assert draw(1, 2, 1) == draws[9 + 6 + 1]
    assert draw(0, 0, "a.jpg") == draw(0, 0, "a.jpg") != draw(0, 0, "b.jpg")
