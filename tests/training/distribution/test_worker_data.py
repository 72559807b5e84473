"""Data sets as workers build them, each told which one it is."""

import numpy as np
import pytest

from keras_jft import data
from keras_jft.training.distribution import worker_data

tf = pytest.importorskip("tensorflow")


@pytest.fixture
def read():
    """`read(built, start, count, ...)`: what a worker gets, batch by batch."""

    def read(built, start=0, count=4, index=0, workers=1):
        worker_data.register(index, workers)
        # In a graph, as on a worker.
        make = tf.function(lambda start: built.build(start))
        batches = make(tf.constant(start, tf.int64)).take(count)
        return list(batches.as_numpy_iterator())

    yield read
    worker_data.register()


def _batches(**options):
    source = data.load("synthetic", num_examples=24)
    return data.batches(source, 4, training=True, transforms="flip", **options)


@pytest.mark.parametrize(("index", "workers"), [(0, 1), (0, 2), (1, 2)])
def test_a_worker_reads_its_own_numbers_of_a_source(read, index, workers):
    batches = _batches()
    built = worker_data.from_source(batches.source, batches.element_spec)
    assert built.steps == 6
    found = read(built, start=5, count=3, index=index, workers=workers)
    for i, batch in enumerate(found):  # Over the end of a pass.
        wanted = batches.source.batch(5 + index + i * workers)
        assert batch.keys() == wanted.keys()
        for key in batch:
            np.testing.assert_array_equal(batch[key], wanted[key])


@pytest.mark.parametrize("start", [0, 1, 6])
def test_workers_share_the_batches_of_a_data_set(read, start):
    built = worker_data.from_dataset(tf.data.Dataset.range(5).batch(1))
    assert built.steps == 5
    found = [read(built, start, 5, index, 2) for index in range(2)]
    mixed = [
        int(batch[0]) for pair in zip(*found, strict=True) for batch in pair
    ]
    assert mixed == [(start + i) % 5 for i in range(10)]


def test_a_data_set_without_end_has_no_length(read):
    built = worker_data.from_dataset(tf.data.Dataset.range(2).repeat())
    assert built.steps is None
    assert read(built, start=7, count=3) == [0, 1, 0]


def test_arrays_are_shuffled_alike_on_all_workers(read):
    x = np.arange(12)
    built, spec = worker_data.from_arrays((x, -x), 3, shuffle=True)
    assert spec[0].shape.as_list() == [None]
    assert built.steps == 4
    found = [read(built, 0, 2, index, 2) for index in range(2)]
    seen = np.concatenate([x for worker in found for x, _ in worker])
    assert sorted(seen) == list(range(12))
    assert seen.tolist() != list(range(12))
    (again,) = read(built, 5, 1)  # In the next pass, in another order.
    assert again[0].tolist() != found[1][0][0].tolist()
    for x_batch, y_batch in found[0]:
        np.testing.assert_array_equal(x_batch, -y_batch)


def test_arrays_keep_their_order_where_they_are_told_to(read):
    arrays = (np.arange(4),)
    built, _ = worker_data.from_arrays(arrays, None, shuffle=False)
    assert read(built, count=1)[0][0].tolist() == [0, 1, 2, 3]


def test_python_functions_stay_where_they_are():
    dataset = tf.data.Dataset.range(3).map(
        lambda x: tf.numpy_function(lambda x: x, [x], tf.int64)
    )
    with pytest.raises(ValueError, match="cannot call Python functions"):
        worker_data.from_dataset(dataset)


def test_a_source_that_cannot_be_sent_says_why():
    batches = data.iterate(
        data.load("synthetic", num_examples=8),
        4,
        transforms=[lambda example, rng: example],
    )
    with pytest.raises(ValueError, match="not `lambda`"):
        worker_data.from_source(batches, {})


def test_what_is_neither_data_set_nor_arrays_is_refused():
    with pytest.raises(ValueError, match="'generator'.*chief's process"):
        worker_data.from_arrays((i for i in range(3)), 2, shuffle=False)


def test_data_too_large_to_send_are_refused(monkeypatch):
    monkeypatch.setattr(worker_data, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match="smaller than 100 bytes.*400"):
        worker_data.from_arrays((np.zeros(100),), 2, shuffle=False)
