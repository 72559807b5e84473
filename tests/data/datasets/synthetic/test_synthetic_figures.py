"""Figures of the synthetic world: joints on limbs, flags as COCO has them."""

import dataclasses

import numpy as np
import pytest

from keras_jft.data.datasets import synthetic

SIZE = 160
COUNT = 120
LIMBS = (
    ("shoulder", "elbow"),
    ("elbow", "wrist"),
    ("hip", "knee"),
    ("knee", "ankle"),
)


def figures(preset):
    data = synthetic.load(task="pose", preset=preset, image_size=SIZE)
    names = data.info.keypoint_names
    return [
        (
            example["images"],
            dict(zip(names, example["keypoints"], strict=True)),
            example["bounding_boxes"]["boxes"][0],
        )
        for example in data.take(range(COUNT))
    ]


@pytest.fixture(scope="module")
def people(bare):
    return figures(bare)


def test_keypoints_have_the_names_and_the_order_of_coco():
    names = synthetic.load(task="pose").info.keypoint_names
    pairs = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    assert names == (
        "nose",
        *(f"{side}_{pair}" for pair in pairs for side in ("left", "right")),
    )


def test_limbs_are_painted_between_their_joints(people, painted):
    checked = 0
    for image, points, _ in people:
        figure = painted(image)
        for side in ("left", "right"):
            for start, end in LIMBS:
                a, b = points[f"{side}_{start}"], points[f"{side}_{end}"]
                if a[2] == 0 or b[2] == 0:
                    continue
                for t in np.linspace(0, 1, 9):
                    x, y = ((1 - t) * a + t * b)[:2].astype(int)
                    assert figure[y, x]
                    checked += 1
    assert checked > 5000


def test_a_seen_joint_has_the_color_of_its_limb(people):
    # Wrists: the forearm near the wrist is skin, as is a seen nose's face.
    same = []
    for image, points, _ in people:
        for side in ("left", "right"):
            elbow, wrist = points[f"{side}_elbow"], points[f"{side}_wrist"]
            if wrist[2] == 2 and elbow[2] == 2:
                x, y = wrist[:2].astype(int)
                u, v = (0.8 * wrist + 0.2 * elbow)[:2].astype(int)
                same.append((image[y, x] == image[v, u]).all())
    assert len(same) > 60
    assert np.mean(same) > 0.9


def test_the_box_of_a_figure_is_tight(people, painted):
    for image, points, box in people:
        rows, columns = np.nonzero(painted(image))
        extent = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert np.abs(np.subtract(extent, box)).max() <= 1
        for x, y, seen in points.values():
            if seen:
                assert box[0] - 1 <= x <= box[2] + 1
                assert box[1] - 1 <= y <= box[3] + 1


def test_a_keypoint_outside_of_the_image_is_all_zeros():
    tall = synthetic.load(task="pose", image_size=(64, 200)).take(range(COUNT))
    close = synthetic.load(task="pose", image_size=64).take(range(COUNT))
    outside = 0
    for example in (*tall, *close):
        height, width = example["images"].shape[:2]
        for x, y, seen in example["keypoints"]:
            assert seen in (0, 1, 2)
            assert 0 <= x < width and 0 <= y < height
            outside += seen == 0
            assert seen or (x, y) == (0, 0)
    assert outside > 10


def test_whoever_shows_the_face_has_the_left_on_the_right_of_the_image(people):
    front, back = [], []
    for _, points, _ in people:
        facing = [points[n][2] == 2 for n in ("nose", "left_eye", "right_eye")]
        across = points["left_shoulder"][0] - points["right_shoulder"][0]
        if all(facing):
            front.append(across > 0)
        elif not any(facing) and points["nose"][2] == 1:
            back.append(across < 0)
    assert len(front) > 40 and len(back) > 10
    assert np.mean(front) > 0.95
    assert np.mean(back) > 0.95


def test_a_keypoint_is_hidden_where_something_else_is_painted(people, bare):
    covered = figures(dataclasses.replace(bare, occlusion=1.0))
    hidden = 0
    for (before, points, _), (after, now, _) in zip(
        people, covered, strict=True
    ):
        changed = (before != after).any(axis=-1)
        for name, (x, y, seen) in points.items():
            if not seen:
                assert now[name][2] == 0
                continue
            column, row = int(x), int(y)
            around = changed[
                max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2
            ]
            if around.all():
                assert now[name][2] == 1
                hidden += 1
            elif not around.any():
                assert now[name][2] == seen
    assert hidden > 50


def test_figures_take_many_poses(people):
    reach = [
        (points["left_wrist"][1] - points["left_shoulder"][1])
        / (box[3] - box[1])
        for _, points, box in people
        if points["left_wrist"][2] and points["left_shoulder"][2]
    ]
    assert np.min(reach) < -0.05  # A hand above its shoulder,
    assert np.max(reach) > 0.25  # and one beside the hip.
