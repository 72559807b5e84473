"""The synthetic world as a data set: the same example wherever it is read."""

import pickle
import tracemalloc

import numpy as np
import pytest

from keras_jft import data as jft_data
from keras_jft.data.datasets import synthetic
from keras_jft.data.datasets.synthetic import world

TASKS = tuple(synthetic.TASKS)
TARGETS = {
    "many_label": {"labels"},
    "classification": {"labels"},
    "segmentation": {"segmentation_masks"},
    "detection": {"bounding_boxes"},
    "pose": {"keypoints", "bounding_boxes"},
}


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


@pytest.mark.parametrize("task", TASKS)
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


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("preset", synthetic.PRESETS)
def test_every_task_and_preset_gives_what_its_info_promises(task, preset):
    data = synthetic.load("test", task=task, preset=preset, image_size=(20, 28))
    info = data.info
    examples = data.take(range(30))
    batch = jft_data.collate(
        examples, max_labels=info.max_labels, max_boxes=info.max_boxes
    )
    jft_data.check_batch(
        batch,
        num_classes=len(info.label_names) or None,
        num_mask_classes=len(info.mask_names) or None,
        num_keypoints=len(info.keypoint_names) or None,
    )
    assert batch["images"].shape == (30, 20, 28, 3)
    assert batch["images"].dtype == np.uint8
    assert batch["images"].std(axis=(1, 2, 3)).min() > 1
    assert batch["ids"].tolist() == list(range(30)) == [*data.ids(range(30))]
    assert batch.keys() - {"images", "ids"} == TARGETS[task]
    if "bounding_boxes" in batch:
        boxes = np.concatenate([e["bounding_boxes"]["boxes"] for e in examples])
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert (boxes >= 0).all() and (boxes <= [28, 20, 28, 20]).all()


@pytest.mark.parametrize("task", TASKS)
def test_the_size_of_an_image_changes_only_its_resolution(task):
    quiet = synthetic.Preset(
        **{**vars(synthetic.PRESETS["standard"]), "noise": 0.0}
    )
    sizes = ((32, 48), (96, 144))
    small, large = (
        synthetic.load(task=task, preset=quiet, image_size=size).take(range(16))
        for size in sizes
    )
    for a, b in zip(small, large, strict=True):
        shrunk = b["images"].reshape(32, 3, 48, 3, 3).mean(axis=(1, 3))
        assert np.abs(shrunk - a["images"]).mean() < 2.5
        if task == "pose":
            np.testing.assert_allclose(
                b["keypoints"][:, :2], 3 * a["keypoints"][:, :2], rtol=1e-5
            )
            np.testing.assert_array_equal(
                b["keypoints"][:, 2], a["keypoints"][:, 2]
            )


def test_one_pixel_and_six_hundred_are_sizes_too():
    assert synthetic.load(image_size=1)[0]["images"].shape == (1, 1, 3)
    large = synthetic.load(task="detection", image_size=600)[0]
    assert large["images"].shape == (600, 600, 3)
    assert large["bounding_boxes"]["boxes"].max() > 200


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


@pytest.mark.parametrize(
    "arguments, message",
    (
        ({"split": "val"}, r"split.*'train', 'test'.*'val'"),
        ({"task": "depth"}, r"task.*'classification'.*'pose'.*'depth'"),
        (
            {"preset": "medium"},
            r"preset.*'easy', 'standard', 'hard'.*'medium'",
        ),
        ({"num_examples": 0}, "num_examples.*above 0.*0"),
        ({"num_examples": -5}, "num_examples.*above 0.*-5"),
        ({"num_examples": 1.5}, "num_examples.*whole.*1.5"),
        ({"image_size": 0}, "image_size.*above 0"),
        ({"image_size": (32, 32, 3)}, r"image_size.*\(height, width\)"),
        ({"wrong_labels": 1.2}, "wrong_labels.*0 to 1.*1.2"),
        ({"missing_labels": -0.1}, "missing_labels.*0 to 1.*-0.1"),
        ({"threads": 0}, "threads.*above 0"),
        ({"masks": "color"}, "masks.*not an option.*wrong_labels"),
        ({"task": "pose", "void_ring": True}, "void_ring.*not an option"),
        (
            {"task": "segmentation", "masks": "texture"},
            r"masks.*'color', 'shape', 'family'.*'texture'",
        ),
    ),
)
def test_a_bad_argument_is_told_what_is_allowed(arguments, message):
    with pytest.raises(ValueError, match=message):
        synthetic.load(**arguments)
