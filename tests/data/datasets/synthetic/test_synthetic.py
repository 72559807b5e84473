"""Loading the synthetic world."""

import pytest

from keras_jft.data.datasets import synthetic


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
        ({"num_names": 201}, "num_names.*2..200.*201"),
        ({"long_tail": -1}, "long_tail.*0 or more.*-1"),
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


@pytest.mark.parametrize("task", synthetic.TASKS)
def test_every_task_has_a_size_of_its_own(task):
    train, test = (
        synthetic.load(split, task=task) for split in synthetic.SPLITS
    )
    assert len(train) == train.info.num_examples >= 200
    assert len(test) == test.info.num_examples >= 200


def test_an_own_preset_is_as_good_as_a_named_one():
    easy = synthetic.load(preset="easy")[5]["images"]
    own = synthetic.load(preset=synthetic.PRESETS["easy"])[5]["images"]
    assert (easy == own).all()
