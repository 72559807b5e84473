"""A pipeline that is restored after any step goes on as if never stopped.

The check that grain makes of its own pipelines: the state is saved after every
step, put into a pipeline made anew, and all that is left is compared, bit for
bit.
"""

import json

import numpy as np
import pytest

from keras_jft.data import batches, iterate, subset
from keras_jft.data.transforms import Pad, RandomCrop, RandomFlip

EPOCHS = 3
OPTIONS = {
    "batch_size": 3,
    "training": True,
    "seed": 7,
    "transforms": (Pad(2), RandomCrop((6, 8)), RandomFlip()),
}
KINDS = {
    "plain": {},
    "mixed": {"mixup": 0.3},
    "one thread": {"workers": 1},
    "three threads": {"workers": 3},
    "second of two workers": {"shard": (1, 2)},
    "third of three workers": {"shard": (2, 3), "mixup": 0.3},
    "damaged": {"tolerate": 3},
}


def _assert_equal(found, expected):
    assert len(found) == len(expected)
    for batch, other in zip(found, expected, strict=True):
        assert batch.keys() == other.keys()
        for key, value in other.items():
            assert np.asarray(batch[key]).dtype == value.dtype
            np.testing.assert_array_equal(batch[key], value)


def _stream(source, num):
    """The next `num` batches, of as many passes as that takes."""
    found = []
    while len(found) < num:
        for batch in source:
            found.append(batch)
            if len(found) == num:
                break
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:Skipped example")
def test_restoring_after_every_step_changes_no_later_batch(make_data, kind):
    def source():
        data = make_data(20)
        data.unreadable = {4, 11, 12} if kind == "damaged" else set()
        return iterate(data, **OPTIONS, **KINDS[kind])

    whole = source()
    steps = len(whole)
    assert steps > 1
    expected = _stream(source(), EPOCHS * steps)
    ids = [tuple(batch["ids"].tolist()) for batch in expected]
    assert len(set(ids)) == len(ids), "each epoch has its own order"
    for step in range(1, EPOCHS * steps):
        # A state is a number and what it belongs to: it survives as JSON.
        state = json.dumps({"position": step, "identity": whole.identity})
        restored, state = source(), json.loads(state)
        assert restored.identity == state["identity"]
        restored.position = state["position"]
        left = _stream(restored, EPOCHS * steps - step)
        _assert_equal(left, expected[step:])


@pytest.mark.parametrize("kind", ["third of three workers"])
def test_so_does_its_tf_data(make_data, kind):
    pytest.importorskip("tensorflow")

    def source():
        return batches(make_data(20), **OPTIONS, **KINDS[kind])

    steps = len(source())
    expected = _stream(source(), 2 * steps)
    expected = [
        {key: value.numpy() for key, value in batch.items()}
        for batch in expected
    ]
    for step in range(1, 2 * steps):
        restored = source()
        restored.source.position = step
        _assert_equal(_stream(restored, 2 * steps - step), expected[step:])


def test_workers_that_are_restored_share_no_example(make_data):
    for step in range(1, 6):
        seen = []
        for index in range(2):
            source = iterate(make_data(24), **OPTIONS, shard=(index, 2))
            source.position = step
            # To the end of the epoch that the step lies in.
            left = _stream(source, len(source) - step % len(source))
            seen += [name for batch in left for name in batch["ids"].tolist()]
        assert len(seen) == len(set(seen)) == 24 - 6 * (step % 4)


def test_a_position_is_that_of_these_examples(make_data):
    data = make_data(40)
    identities = [
        iterate(subset(data, 20, seed=seed), 4, mixup=mixup, training=True)
        for seed, mixup in ((0, 0.0), (0, 0.2), (1, 0.0), (0, 0.0))
    ]
    first, mixed, other, same = (i.identity for i in identities)
    assert first == same
    assert first != mixed and first != other
    assert json.loads(json.dumps(first)) == first


def test_a_position_is_that_of_an_order_of_examples(listed, make_data):
    data = make_data(40)
    backwards = listed(data.examples[::-1])
    one, two = (
        iterate(d, 4, training=True).identity for d in (data, backwards)
    )
    assert one != two
