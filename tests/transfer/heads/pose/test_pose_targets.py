"""Disks in windows and behind the person, against loops over pixels."""

import numpy as np
import pytest
from keras import ops

from keras_jft.transfer.heads.pose import targets

pytestmark = pytest.mark.ops
SIZE, RADIUS = (13, 17), 3.0


def _disk(keypoint):
    """`(H, W)` bool, pixel by pixel."""
    x, y, visibility = map(float, keypoint)
    disk = np.zeros(SIZE, bool)
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            center = column + 0.5, row + 0.5
            near = np.hypot(center[0] - x, center[1] - y) <= RADIUS
            disk[row, column] = near and visibility > 0
    return disk


@pytest.fixture
def people(rng):
    """Two crops, three people, four keypoints; some are not labeled."""
    places = rng.uniform((0, 0), SIZE[::-1], (2, 3, 4, 2))
    visibility = rng.integers(0, 3, (2, 3, 4, 1))
    people = np.concatenate([places, visibility], axis=-1).astype("float32")
    people[0, 0, 0] = 0.2, 0.2, 2  # Its disk is cut by the corner.
    people[0, 0, 1] = 0, 0, 0
    people[0, 0, 2] = 16.9, 12.9, 1
    return people


def test_windows_hold_the_pixels_of_the_disks(people):
    window = targets.windows(ops.array(people[:, 0]), SIZE, RADIUS)
    rows, columns, disks, down, across = (
        ops.convert_to_numpy(part)
        for part in (
            window.rows,
            window.columns,
            window.disks,
            window.down,
            window.across,
        )
    )
    for b in range(2):
        for k in range(4):
            keypoint = people[b, 0, k]
            found = np.zeros(SIZE, bool)
            for i, j in np.argwhere(disks[b, k] > 0):
                row, column = int(rows[b, k, i]), int(columns[b, k, j])
                found[row, column] = True
                offset = across[b, k, 0, j], down[b, k, i, 0]
                np.testing.assert_allclose(
                    offset,
                    keypoint[:2] - [column + 0.5, row + 0.5],
                    atol=1e-5,
                )
            np.testing.assert_array_equal(found, _disk(keypoint))


def test_the_paper_s_disk_has_1961_pixels():
    keypoints = ops.array([[[128.5, 176.5, 2.0]]])
    window = targets.windows(keypoints, (353, 257), 25.0)
    assert window.disks.shape == (1, 1, 51, 51)
    assert float(ops.sum(window.disks)) == 1961


def test_the_background_is_in_disks_of_others_and_not_of_the_person(people):
    found = ops.convert_to_numpy(
        targets.background(ops.array(people), SIZE, RADIUS)
    )
    for b in range(2):
        for k in range(4):
            own, *others = (_disk(person[k]) for person in people[b])
            expected = np.logical_or.reduce(others) & ~own
            np.testing.assert_array_equal(found[b, k], expected)
