"""What moves an example is remembered, and can be undone."""

import numpy as np
import pytest

from keras_jft.data.batch import GRAY
from keras_jft.data.transforms import (
    CenterCrop,
    Pad,
    PadTo,
    RandomCrop,
    RandomFlip,
    Resize,
    ResizeShortest,
)
from keras_jft.data.transforms.geometry import IN_PLACE, move, move_back


@pytest.fixture
def example(rng):
    """An image with three keypoints and placements."""
    return {
        "images": rng.integers(0, 256, (40, 60, 3), "uint8"),
        "keypoints": np.float32([[30, 20, 2], [27.5, 16, 1], [33, 22.25, 2]]),
        "bounding_boxes": {
            "boxes": np.float32([[25, 15, 35, 25], [0, 0, 1, 1]]),
            "labels": np.int32([1, 2]),
            "others": np.array(["kept", "dropped"]),
        },
        "placements": IN_PLACE,
        "ids": "a.jpg",
    }


@pytest.mark.parametrize("seed", range(5))
def test_what_transforms_did_is_undone(example, seed):
    rng = np.random.default_rng(seed)
    names = ("nose", "tail", "ear")
    moved = example
    for transform in (
        Pad(3), RandomFlip(names, 1.0, flip_pairs=()), Resize((90, 80)),
        RandomCrop((80, 70)), RandomFlip(names, flip_pairs=()),
        ResizeShortest(33, 50), CenterCrop((30, 25)), PadTo((40, 50)),
    ):  # fmt: skip
        moved = transform(moved, rng)
    kept = moved["keypoints"][:, 2] > 0
    assert kept.any()
    back = move_back(moved["keypoints"][:, :2], moved["placements"])
    np.testing.assert_allclose(
        back[kept], example["keypoints"][kept, :2], atol=1e-4
    )


def test_everything_of_a_dropped_box_is_dropped(example):
    entry = CenterCrop((20, 20))(example)["bounding_boxes"]
    assert entry["labels"].tolist() == [1]
    assert entry["others"].tolist() == ["kept"]


def test_an_example_that_asks_for_no_placements_gets_none(example):
    del example["placements"]
    assert "placements" not in CenterCrop((20, 20))(example)


def test_a_batch_of_placements_moves_back_each_its_own(rng):
    placements = rng.uniform(0.5, 2, (3, 2, 2))
    points = rng.uniform(0, 9, (3, 4, 2))
    moved = points * placements[:, None, 0] + placements[:, None, 1]
    np.testing.assert_allclose(move_back(moved, placements[:, None]), points)


def test_a_padded_image_cannot_be_moved(example, rng):
    padded = PadTo((64, 64))(example)
    for transform in (
        RandomFlip(("a", "b", "c"), 1.0, flip_pairs=()),
        Resize((32, 32)),
    ):
        with pytest.raises(ValueError, match=r"a\.jpg.*before `PadTo`"):
            transform(padded, rng)
    # Cutting from the corner leaves padding below and right.
    cut = move(padded, lambda array, fill: array[:30, :64])
    assert cut["image_sizes"].tolist() == [30, 60]
    assert GRAY == 127
