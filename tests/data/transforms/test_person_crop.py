"""A person's crop: aspect, scale, borders, what moves with it, bad boxes."""

import numpy as np
import pytest

from keras_jft.data.transforms import CropPerson, geometry


@pytest.fixture
def example(rng):
    """A 40 x 60 image of a gradient, two people, and the first's keypoints."""
    rows, columns = np.mgrid[:40, :60]
    image = np.stack([rows * 4, columns * 4, rows + columns], axis=-1)
    people = np.float32(
        [
            [[20.5, 10.5, 2], [30, 28, 1], [0, 0, 0]],
            [[22, 12, 2], [58, 38, 2], [25, 20, 2]],
        ]
    )
    return {
        "images": image.astype("uint8"),
        "bounding_boxes": {
            "boxes": np.float32([[16, 8, 34, 32], [20, 10, 59, 39]]),
            "labels": np.zeros(2, "int32"),
            "keypoints": people,
        },
        "keypoints": people[0],
        "placements": geometry.IN_PLACE,
        "ids": 3,
    }


def test_a_window_has_the_aspect_ratio_and_the_center_of_the_box():
    crop = CropPerson((353, 257))
    for box in ([16, 8, 34, 32], [0, 0, 50, 4], [3.5, 2, 5, 60]):
        x1, y1, x2, y2 = crop.window(box, 1.25)
        assert (y2 - y1) / (x2 - x1) == pytest.approx(353 / 257)
        assert (x1 + x2, y1 + y2) == pytest.approx(
            (box[0] + box[2], box[1] + box[3])
        )
        # 1.25 of the side that was long enough.
        larger = (x2 - x1) / (box[2] - box[0]), (y2 - y1) / (box[3] - box[1])
        assert min(larger) == pytest.approx(1.25)


def test_pixels_and_keypoints_move_together(example):
    moved = CropPerson((64, 48))(example)
    assert moved["images"].shape == (64, 48, 3)
    (sx, sy), _ = moved["placements"]
    assert sx == pytest.approx(sy) == pytest.approx(64 / 30)  # 1.25 * 24
    x, y, visibility = moved["keypoints"][0]
    assert visibility == 2
    # The image's first channels are its rows and columns.
    row, column = moved["images"][int(y), int(x), :2] / 4
    assert abs(row + 0.5 - 10.5) <= 0.6 and abs(column + 0.5 - 20.5) <= 0.6
    back = geometry.move_back(moved["keypoints"][:2, :2], moved["placements"])
    np.testing.assert_allclose(back, example["keypoints"][:2, :2], atol=1e-4)
    assert moved["keypoints"][2].tolist() == [0, 0, 0]


def test_the_person_stays_first_and_keypoints_outside_are_not_labeled(example):
    moved = CropPerson((64, 48))(example)
    entry = moved["bounding_boxes"]
    assert entry["keypoints"].shape == (2, 3, 3)
    np.testing.assert_array_equal(entry["keypoints"][0], moved["keypoints"])
    assert entry["keypoints"][1, :, 2].tolist() == [2, 0, 2]
    # The other person's last place is the first's scale and shift applied.
    (sx, sy), (tx, ty) = moved["placements"]
    np.testing.assert_allclose(
        entry["keypoints"][1, 2, :2], [25 * sx + tx, 20 * sy + ty], rtol=1e-5
    )


def test_scales_are_drawn_uniformly_between_the_limits(example, rng):
    crop = CropPerson((64, 48), scales=(1.0, 1.5))
    heights = [64 / crop(example, rng)["placements"][0, 1] for _ in range(200)]
    factors = np.array(heights) / 24
    assert 1 <= factors.min() < 1.05 and 1.45 < factors.max() <= 1.5
    assert abs(factors.mean() - 1.25) < 0.03


def test_a_person_as_large_as_the_image_gets_a_gray_margin(example):
    example["bounding_boxes"]["boxes"][0] = [0, 0, 60, 40]
    moved = CropPerson((66, 48))(example)
    # The window is 75 wide and 103 high: 31 px above the image.
    assert (moved["images"][:15] == geometry.GRAY).all()
    assert (moved["images"][33, 24] != geometry.GRAY).any()
    assert moved["keypoints"][0, 2] == 2


@pytest.mark.parametrize(
    "box",
    [
        [5, 5, 5, 9],
        [9, 9, 5, 5],
        [70, 5, 80, 9],
        [-9, 2, 0, 5],
        [np.nan, 2, 3, 5],
        [0, 0, np.inf, 5],
    ],
)
def test_a_box_without_a_person_is_refused(example, box):
    example["bounding_boxes"]["boxes"][0] = box
    with pytest.raises(ValueError, match="60 wide and 40 high.*example 3"):
        CropPerson()(example)


def test_bad_arguments_and_no_box_are_refused(example):
    with pytest.raises(ValueError, match=r"Received: image_size=\(0, 9\)"):
        CropPerson((0, 9))
    with pytest.raises(ValueError, match="`scales`"):
        CropPerson(scales=(1.5, 1.0))
    del example["bounding_boxes"]
    with pytest.raises(ValueError, match="Received: no box"):
        CropPerson()(example)
