"""ImageNet's windows: their distribution, and what moves with them."""

import numpy as np
import pytest
from scipy import stats

from keras_jft.data.batch import check_batch, collate
from keras_jft.data.transforms import CentralCrop, InceptionCrop


@pytest.fixture
def example():
    """An image whose red and green say where a pixel is."""
    y, x = np.mgrid[:200, :250]
    image = np.stack([x, y, 0 * x], axis=-1).astype("uint8")
    return {
        "images": image,
        "segmentation_masks": (x // 10).astype("uint8")[..., None],
        "bounding_boxes": {
            "boxes": np.float32([[100, 80, 140, 120]]),
            "labels": np.int32([3]),
        },
        "keypoints": np.float32([[120, 100, 2]]),
        "ids": "a",
    }


def _windows(example, crop, num):
    """`(num, 4)` left, top, width and height, read off the pixels."""
    windows = []
    for seed in range(num):
        pixels = crop(example, np.random.default_rng(seed))["images"]
        (left, top), (right, bottom) = pixels[0, 0, :2], pixels[-1, -1, :2]
        windows.append([left, top, right - left + 1, bottom - top + 1])
    return np.array(windows, float)


def test_windows_have_the_published_areas_and_aspect_ratios(example):
    crop = InceptionCrop((64, 64), area=(0.08, 0.5))
    left, top, width, height = _windows(example, crop, 300).T
    areas = width * height / (200 * 250)
    aspects = np.log(width / height)
    limit = np.log(4 / 3)
    # Ends are read off whole pixels, so within a pixel or two.
    assert stats.kstest(areas, stats.uniform(0.08, 0.42).cdf).pvalue > 0.001
    uniform = stats.uniform(-limit, 2 * limit)
    assert stats.kstest(aspects, uniform.cdf).pvalue > 0.001
    for place, room in ((left, 250 - width), (top, 200 - height)):
        assert stats.kstest(place / room, "uniform").pvalue > 0.001


def test_everything_moves_with_the_window(example):
    held = 0
    for seed in range(40):
        moved = InceptionCrop((100, 80))(example, np.random.default_rng(seed))
        check_batch(collate([moved]))
        x, y, seen = moved["keypoints"][0]
        if not seen:
            continue
        held += 1
        row, column = min(int(y), 99), min(int(x), 79)
        # The pixel there is the one that was at (120, 100).
        red, green = moved["images"][row, column, :2].astype(int)
        step = 250 / 80
        assert abs(red - 119.5) <= step and abs(green - 99.5) <= step
        assert moved["segmentation_masks"][row, column, 0] in (11, 12)
        box = moved["bounding_boxes"]["boxes"][0]
        assert box[0] <= x <= box[2] and box[1] <= y <= box[3]
    assert held > 10


def test_a_window_that_never_fits_is_central(example):
    narrow = {"images": example["images"][:, :20], "ids": 0}
    crop = InceptionCrop((8, 8), area=(0.9, 1.0))
    pixels = crop(narrow, np.random.default_rng(0))["images"]
    # 20 wide, 20 / (3 / 4) = 27 high, in the middle of 200.
    green = pixels[[0, -1], 0, 1]
    assert abs(green.astype(int) - [87, 112]).max() <= 2


@pytest.mark.parametrize(
    "size, window",
    [
        # By hand: 0.875 of the largest window with the sides' proportion.
        ((224, 224), (37, 12, 175, 175)),
        ((100, 200), (15, 45, 219, 109)),
    ],
)
def test_the_center_is_not_distorted(example, size, window):
    left, top, width, height = _windows(example, CentralCrop(size), 1)[0]
    assert np.abs(np.subtract((left, top, width, height), window)).max() <= 1


def test_wrong_attributes_are_refused():
    for wrong in ({"area": (0.0, 1.0)}, {"area": (0.5, 0.1)}):
        with pytest.raises(ValueError, match="`area`"):
            InceptionCrop(**wrong)
    with pytest.raises(ValueError, match="`aspect`"):
        InceptionCrop(aspect=(2.0, 1.0))
