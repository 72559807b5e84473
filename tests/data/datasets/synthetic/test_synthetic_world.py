"""The same example wherever, and with whatever, it is read."""

import pickle
import tracemalloc

import numpy as np
import pytest

from keras_jft.data.datasets import synthetic
from keras_jft.data.datasets.synthetic import world


def flat(example):
    """One bytes object an example, for exact comparison."""
    return pickle.dumps(
        {
            key: {k: np.array(v) for k, v in value.items()}
            if isinstance(value, dict)
            else np.array(value)
            for key, value in example.items()
        }
    )


@pytest.mark.parametrize("task", synthetic.TASKS)
def test_an_example_is_the_same_in_any_batch_and_thread(task, monkeypatch):
    data = synthetic.load(task=task, image_size=24, threads=1)
    positions = np.random.default_rng(0).permutation(150)
    alone = {int(p): flat(data[int(p)]) for p in positions[:20]}
    together = data.take(range(150))
    monkeypatch.setattr(world, "_CHUNK", 24 * 24 * 7)
    threaded = synthetic.load(task=task, image_size=24, threads=3)
    shuffled = threaded.take(positions)

    assert all(flat(together[p]) == alone[p] for p in alone)
    for position, example in zip(positions, shuffled, strict=True):
        assert flat(example) == flat(together[position])


def test_a_smaller_data_set_is_the_beginning_of_a_larger_one():
    few = synthetic.load(num_examples=10, image_size=16).take(range(10))
    many = synthetic.load(num_examples=300_000_000, image_size=16)
    assert len(many) == 300_000_000
    for a, b in zip(few, many.take(range(10)), strict=True):
        assert flat(a) == flat(b)
    assert many[299_999_999]["ids"] == 299_999_999


def test_the_hundred_millionth_image_needs_no_memory_for_the_others():
    data = synthetic.load(num_examples=300_000_000, image_size=16)
    data[0]
    tracemalloc.start()
    data.take([299_999_999])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4e6


def test_splits_tasks_and_seeds_show_different_images():
    loads = [
        {"split": "train"},
        {"split": "test"},
        {"split": "train", "seed": 1},
        {"split": "train", "task": "classification"},
        {"split": "test", "task": "classification"},
        {"split": "train", "task": "detection"},
        {"split": "train", "task": "segmentation"},
    ]
    images = [
        [e["images"].tobytes() for e in synthetic.load(**k).take(range(50))]
        for k in loads
    ]
    assert len({image for group in images for image in group}) == 50 * len(
        loads
    )


def test_label_noise_changes_no_pixel():
    clean = synthetic.load(wrong_labels=0, missing_labels=0, image_size=16)
    noisy = synthetic.load(wrong_labels=0.9, missing_labels=0.5, image_size=16)
    for a, b in zip(clean.take(range(40)), noisy.take(range(40)), strict=True):
        np.testing.assert_array_equal(a["images"], b["images"])


def test_a_data_set_travels_to_another_process():
    data = synthetic.load(task="segmentation", masks="shape")
    again = pickle.loads(pickle.dumps(data))
    assert flat(again[3]) == flat(data[3])


def test_no_positions_are_no_examples():
    assert synthetic.load().take([]) == []


@pytest.mark.parametrize("position", (-1, 10))
def test_a_position_past_either_end_says_where_the_ends_are(position):
    with pytest.raises(IndexError, match=rf"0\.\.9\. Received: {position}"):
        synthetic.load(num_examples=10)[position]
