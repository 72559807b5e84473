"""Voting against loops, and perfect maps back to their keypoints."""

import numpy as np
import pytest
from keras import ops

from keras_jft.transfer.heads.pose import decoding
from keras_jft.transfer.heads.upsampling import upsample

pytestmark = pytest.mark.ops


def _perfect(keypoints, size, radius):
    """Maps that are right at every pixel."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    across = keypoints[..., 0, None, None] - columns
    down = keypoints[..., 1, None, None] - rows
    heat = across**2 + down**2 <= radius**2
    offsets = np.stack([across, down], axis=2)
    return heat.astype("float32"), offsets.astype("float32")


def _decode(heat, offsets, radius):
    scores = decoding.vote(ops.array(heat), ops.array(offsets), radius)
    poses = decoding.best(scores)
    return {key: ops.convert_to_numpy(value) for key, value in poses.items()}


def test_perfect_maps_decode_to_the_true_keypoints(rng):
    size, radius = (353, 257), 25.0
    places = rng.uniform((30, 30), (227, 323), (1, 3, 2))
    keypoints = np.concatenate([places, [[[128.5, 176.5], [0.5, 0.5]]]], axis=1)
    poses = _decode(*_perfect(keypoints, size, radius), radius)
    found = poses["keypoints"]
    assert np.abs(found[..., :2] - keypoints).max() <= 0.5 + 1e-3
    # At the center of a pixel the whole disk of 1961 pixels votes for it; in
    # the corner of the crop a quarter of the disk is there.
    np.testing.assert_allclose(found[0, 3, 2], 0.9987, atol=1e-4)
    corner = _perfect(keypoints[:, 4:], size, radius)[0].sum()
    np.testing.assert_allclose(
        found[0, 4, 2], corner / (np.pi * 625), rtol=1e-4
    )
    np.testing.assert_allclose(poses["scores"], found[..., 2].mean(axis=1))


def test_votes_equal_a_loop_over_all_pixels(rng):
    size, radius = (7, 9), 2.0
    heat = rng.uniform(size=(2, 3, *size)).astype("float32")
    # Long ones too, so that some votes leave the crop.
    offsets = rng.normal(0, 3, (2, 3, 2, *size)).astype("float32")
    expected = np.zeros(heat.shape)
    for b, k, row, column in np.ndindex(*heat.shape):
        x = column + offsets[b, k, 0, row, column]
        y = row + offsets[b, k, 1, row, column]
        for i in range(size[0]):
            for j in range(size[1]):
                kernel = max(0, 1 - abs(x - j)) * max(0, 1 - abs(y - i))
                expected[b, k, i, j] += kernel * heat[b, k, row, column]
    expected /= np.pi * radius**2
    votes = decoding.vote(ops.array(heat), ops.array(offsets), radius)
    votes = ops.convert_to_numpy(votes)
    np.testing.assert_allclose(votes, expected, atol=1e-5)
    poses = _decode(heat, offsets, radius)
    for b, k in np.ndindex(2, 3):
        row, column = np.unravel_index(expected[b, k].argmax(), size)
        assert poses["keypoints"][b, k, :2].tolist() == [
            column + 0.5,
            row + 0.5,
        ]


def test_maps_are_the_outputs_upsampled(rng):
    outputs = rng.normal(size=(2, 4, 3, 8)).astype("float32")
    heat, offsets = decoding.maps(ops.array(outputs), (13, 9), 4)
    pixels = ops.convert_to_numpy(upsample(ops.array(outputs), (13, 9), 4))
    np.testing.assert_allclose(
        ops.convert_to_numpy(heat),
        1 / (1 + np.exp(-pixels[..., :2].transpose(0, 3, 1, 2))),
        atol=1e-5,
    )
    for k in range(2):
        for axis in range(2):
            np.testing.assert_allclose(
                ops.convert_to_numpy(offsets)[:, k, axis],
                pixels[..., 2 + 2 * k + axis],
                atol=1e-5,
            )
