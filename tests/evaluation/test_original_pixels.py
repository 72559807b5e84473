"""Predictions about transformed images are moved back to the originals."""

import numpy as np
import pytest
from keras import ops

from keras_jft.data.transforms import (
    CenterCrop,
    PadTo,
    RandomFlip,
    Resize,
    ResizeShortest,
    geometry,
)
from keras_jft.evaluation import original_pixels
from keras_jft.transfer.heads.upsampling import upsample

CHAINS = [
    (Resize((33, 41)),),
    (
        RandomFlip(("a", "b"), 1.0, flip_pairs=()),
        ResizeShortest(24, 32),
        PadTo((32, 40)),
    ),
    (CenterCrop((24, 24)), Resize((48, 30))),
]


@pytest.fixture
def example(rng):
    """An image with two boxes and two keypoints in its middle."""
    return {
        "images": rng.integers(0, 256, (28, 36, 3), "uint8"),
        "bounding_boxes": {
            "boxes": np.float32([[10, 9, 20, 19], [12, 11, 13, 21.5]]),
            "labels": np.int32([0, 3]),
        },
        "keypoints": np.float32([[14, 12, 2], [15.5, 13.25, 2]]),
        "placements": geometry.IN_PLACE,
    }


@pytest.mark.parametrize("chain", CHAINS)
def test_boxes_and_keypoints_come_back(example, chain):
    moved = example
    for transform in chain:
        moved = transform(moved, np.random.default_rng(0))
    placements = moved["placements"][None]
    boxes = moved["bounding_boxes"]["boxes"]
    found = original_pixels.boxes(
        {
            "boxes": np.concatenate([boxes, [[0, 0, 9, 9]]])[None],
            "scores": np.float32([[0.9, 0.8, -1]]),
            "labels": np.int32([[0, 3, -1]]),
        },
        placements,
        [(28, 36)],
    )
    np.testing.assert_allclose(
        found["boxes"][0, :2], example["bounding_boxes"]["boxes"], atol=1e-4
    )
    assert found["boxes"][0, 2].tolist() == [-1] * 4
    assert found["labels"].tolist() == [[0, 3, -1]]
    found = original_pixels.keypoints(
        {"keypoints": moved["keypoints"][None], "scores": np.ones(1)},
        placements,
    )
    np.testing.assert_allclose(
        found["keypoints"][0], example["keypoints"], atol=1e-4
    )


def test_boxes_are_clipped_to_the_original():
    found = original_pixels.boxes(
        {"boxes": np.float32([[[-5, 2, 90, 70]]]), "labels": np.int32([[1]])},
        np.array([[[2.0, 2.0], [0.0, 0.0]]]),
        [(30, 40)],
    )
    assert found["boxes"].tolist() == [[[0, 1, 40, 30]]]


@pytest.mark.parametrize("stride", [1, 3])
def test_masks_of_images_in_place_are_those_of_predict(rng, stride):
    logits = rng.normal(size=(2, 5, 4, 3)).astype("float32")
    size = (4 * stride + 1, 3 * stride + 1)
    expected = ops.argmax(upsample(ops.array(logits), size, stride), -1)
    found = original_pixels.masks(
        logits, np.stack([geometry.IN_PLACE] * 2), [size] * 2, stride
    )
    np.testing.assert_array_equal(found, ops.convert_to_numpy(expected))


@pytest.mark.parametrize("chain", CHAINS)
def test_masks_equal_a_loop_over_the_original_s_pixels(example, chain, rng):
    for transform in chain:
        example = transform(example, np.random.default_rng(0))
    placement, stride = example["placements"], 4
    sides = [-(-side // stride) for side in example["images"].shape[:2]]
    logits = rng.normal(size=(*sides, 3)).astype("float32")
    (found,) = original_pixels.masks(
        logits[None], placement[None], [(28, 36)], stride
    )
    for y in range(0, 28, 3):
        for x in range(0, 36, 3):
            at = np.array([x + 0.5, y + 0.5]) * placement[0] + placement[1]
            column, row = (at - 0.5) / stride
            row = np.clip(row, 0, sides[0] - 1)
            column = np.clip(column, 0, sides[1] - 1)
            top, left = int(row), int(column)
            below = min(top + 1, sides[0] - 1)
            right = min(left + 1, sides[1] - 1)
            down, across = row - top, column - left
            value = (
                logits[top, left] * (1 - down) * (1 - across)
                + logits[top, right] * (1 - down) * across
                + logits[below, left] * down * (1 - across)
                + logits[below, right] * down * across
            )
            assert found[y, x] == value.argmax()
