"""What each task of the synthetic world tells of its pixels."""

import colorsys
import dataclasses

import numpy as np
import pytest

from keras_jft import data as jft_data
from keras_jft.data.datasets import synthetic
from keras_jft.data.datasets.synthetic import vocabulary

TARGETS = {
    "many_label": {"labels"},
    "classification": {"labels"},
    "segmentation": {"segmentation_masks"},
    "detection": {"bounding_boxes"},
    "pose": {"keypoints", "bounding_boxes"},
}


@pytest.mark.parametrize("task", TARGETS)
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


@pytest.mark.parametrize("height, width", ((32, 32), (48, 80), (60, 40)))
def test_a_box_is_tight_around_the_pixels_of_its_object(
    height, width, bare, painted
):
    # The same scene, five times finer, shows where the object really ends.
    coarse, fine = (
        synthetic.load(
            task="detection", preset=bare, image_size=(k * height, k * width)
        ).take(range(100))
        for k in (1, 5)
    )
    errors = []
    for example, sharp in zip(coarse, fine, strict=True):
        boxes = example["bounding_boxes"]["boxes"]
        if len(boxes) == 1:
            rows, columns = np.nonzero(painted(sharp["images"]))
            extent = (
                columns.min(),
                rows.min(),
                columns.max() + 1,
                rows.max() + 1,
            )
            errors.append(np.abs(np.divide(extent, 5) - boxes[0]))
    assert len(errors) > 9
    assert np.mean(errors) < 0.4
    # A sharp tip may cover less than half of its last two pixels.
    assert np.max(errors) < 2


def test_every_object_has_its_box(bare, painted):
    data = synthetic.load(task="detection", preset=bare, image_size=64)
    for example in data.take(range(60)):
        rest = painted(example["images"])
        for x0, y0, x1, y1 in example["bounding_boxes"]["boxes"].astype(int):
            rest[max(y0 - 2, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 2] = False
        assert rest.sum() < 4  # The tip of a crescent.


def test_a_mask_says_the_hue_of_its_pixels(bare, inside):
    data = synthetic.load(task="segmentation", preset=bare, image_size=64)
    hues = {"red": 0, "orange": 30, "yellow": 60, "green": 120, "cyan": 180}
    hues |= {"blue": 220, "purple": 272, "pink": 322}
    assert data.info.mask_names == ("background", *hues)
    right = []
    for example in data.take(range(40)):
        mask = example["segmentation_masks"][..., 0]
        for value in np.unique(mask[mask > 0]):
            for pixel in example["images"][inside(mask == value)]:
                hue = 360 * colorsys.rgb_to_hsv(*pixel / 255)[0]
                away = np.abs((np.array(list(hues.values())) - hue + 180) % 360)
                right.append(np.abs(away - 180).argmin() == value - 1)
    assert len(right) > 5000
    assert np.mean(right) > 0.995


def test_a_mask_covers_what_is_painted_and_no_more(bare, painted, inside):
    data = synthetic.load(task="segmentation", preset=bare, image_size=64)
    for example in data.take(range(40)):
        mask = example["segmentation_masks"][..., 0] > 0
        foreground = painted(example["images"])
        assert foreground[mask].all()
        assert foreground[inside(inside(~mask))].mean() < 0.002


def test_masks_of_color_shape_and_family_have_one_outline():
    kinds = {
        kind: synthetic.load(task="segmentation", masks=kind, image_size=48)
        for kind in synthetic.MASKS
    }
    names = {kind: data.info.mask_names for kind, data in kinds.items()}
    assert [len(n) for n in names.values()] == [9, 11, 5]
    for color, shape, family in zip(
        *(data.take(range(20)) for data in kinds.values()), strict=True
    ):
        shape, family = (
            e["segmentation_masks"].ravel() for e in (shape, family)
        )
        color = color["segmentation_masks"].ravel()
        np.testing.assert_array_equal(color > 0, shape > 0)
        for s, f in set(zip(shape.tolist(), family.tolist(), strict=True)):
            if s:
                shape_name = names["shape"][s]
                assert names["family"][f] == vocabulary.SHAPES[shape_name]
            else:
                assert f == 0


def test_nothing_without_a_name_is_in_a_mask(bare, inside):
    busy = dataclasses.replace(bare, distractors=6, occlusion=1.0)
    masks, bare = (
        synthetic.load(task="segmentation", preset=preset, image_size=48)
        for preset in (busy, bare)
    )
    less = 0
    for a, b in zip(masks.take(range(30)), bare.take(range(30)), strict=True):
        kept = a["segmentation_masks"] == b["segmentation_masks"]
        assert (a["segmentation_masks"][~kept] == 0).all()
        less += (~kept).sum()
        # What is not hidden looks the same.
        same = (a["images"] == b["images"]).all(axis=-1)
        seen = (a["segmentation_masks"] > 0)[..., 0]
        assert same[inside(inside(seen))].all()
    assert less > 500


def test_the_classes_of_the_transfer_task_are_balanced():
    data = synthetic.load("test", task="classification", image_size=1)
    labels = [example["labels"] for example in data.take(range(len(data)))]
    np.testing.assert_array_equal(np.bincount(labels), 50)
    np.testing.assert_array_equal(data.info.class_counts, 50)
    uneven = synthetic.load(task="classification", num_examples=23)
    assert uneven.info.class_counts.tolist() == [2] * 3 + [1] * 17
