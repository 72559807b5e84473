"""On which images a task of a study trains, validates and is measured."""

import json

import numpy as np
import pytest
from folder_studies import SHORT
from PIL import Image

from keras_jft import data as jft_data

pytestmark = pytest.mark.usefixtures("uncompiled")


def _ids(config):
    """The ids and the numbers of images per class that a config loads."""
    data = jft_data.load(config.dataset, config.split, **config.options)
    labels = np.bincount([int(example["labels"]) for example in data])
    return set(data.ids(np.arange(len(data))).tolist()), labels.tolist()


def test_a_part_of_every_class_is_held_out_where_there_is_no_split(
    plan, folders
):
    found = plan(SHORT)
    task = found.tasks["trees"]
    configs = task.transfer, task.validation, task.evaluation
    ids, counts = zip(*map(_ids, configs), strict=True)
    # Of ten images of a class, 20% and 15%, which rounds up.
    assert counts == ([6, 6], [2, 2], [2, 2])
    assert len(set.union(*ids)) == 20  # No image is in two of them.
    assert all(run.validation is not None for run in found.runs())
    assert (
        "- trees: no split to measure on; of 20 images, 4 are held out to "
        "measure on and 4 to choose epochs and learning rates by, some of "
        "every class, near-duplicates on one side"
    ) in str(found)


def test_near_duplicates_are_held_out_together(plan, folders):
    copy = folders / "task" / "fir" / "copy.png"
    copy.write_bytes((folders / "task" / "fir" / "000.png").read_bytes())
    plan(SHORT)
    lines = (folders / "study" / "parts" / "trees.jsonl").read_text()
    of = {r["id"]: r["split"] for r in map(json.loads, lines.splitlines())}
    assert of["fir/copy.png"] == of["fir/000.png"]
    assert len(of) == 21


@pytest.fixture
def parted(folders):
    """`parted(*others)`: the task in "train", one image per class in others."""

    def parted(*others):
        for name in ("Elm", "fir"):
            path = folders / "parted" / "train" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            (folders / "task" / name).rename(path)
            for i, split in enumerate(others):
                path = folders / "parted" / split / name / "a.png"
                path.parent.mkdir(parents=True)
                Image.new("RGB", (40, 32), (99 * i, 0, 0)).save(path)
        return SHORT.replace('"task"', '"parted"')

    return parted


def test_the_splits_that_there_are_are_used(plan, parted):
    task = plan(parted("val", "test")).tasks["trees"]
    configs = task.transfer, task.validation, task.evaluation
    assert [config.split for config in configs] == ["train", "val", "test"]
    assert not any("parts" in config.options for config in configs)


@pytest.mark.parametrize("other", ["val", "test"])
def test_what_is_measured_on_does_not_choose_the_best_epoch(
    plan, parted, other
):
    found = plan(parted(other))
    task = found.tasks["trees"]
    configs = task.transfer, task.validation, task.evaluation
    ids, counts = zip(*map(_ids, configs), strict=True)
    # Of the training images, 15%; those of the other split are untouched.
    assert counts == ([8, 8], [2, 2], [1, 1])
    assert not ids[0] & ids[1]
    assert task.evaluation.split == other
    assert "parts" not in task.evaluation.options
    assert (
        "- trees: no split to choose epochs and learning rates by; of 20 "
        "images, 4 are held out to choose epochs and learning rates by, some"
    ) in str(found)


def test_too_few_images_choose_no_epoch(plan, folders):
    for name in ("Elm", "fir"):
        for image in sorted((folders / "task" / name).iterdir())[2:]:
            image.unlink()
    task = plan(SHORT).tasks["trees"]
    assert task.validation is None
    assert _ids(task.transfer)[1] == _ids(task.evaluation)[1] == [1, 1]


def test_copies_of_one_image_leave_nothing_to_measure_on(plan, folders):
    for name in ("Elm", "fir"):
        for image in (folders / "task" / name).iterdir():
            Image.new("RGB", (40, 32)).save(image)
    with pytest.raises(
        ValueError, match="Received: 20 images, all near-duplicates"
    ):
        plan(SHORT)
