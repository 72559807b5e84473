import numpy as np
import pytest

import keras_jft as jft
from keras_jft.evaluation.duplicates import (
    EDITS,
    correlation,
    edit,
    hash_distance,
    perceptual_hash,
)


@pytest.fixture(scope="module")
def images():
    data = jft.data.load("synthetic", num_examples=12, image_size=32)
    return [np.asarray(e["images"]) for e in data.take(range(12))]


@pytest.mark.parametrize("name", ["jpeg", "resize", "crop", "flip", "color"])
def test_copies_are_more_alike_than_others(images, name, rng):
    for one, other in zip(images, images[1:], strict=False):
        copy = edit(one, name, rng)
        assert correlation(one, copy) > correlation(one, other)
        if name != "crop":  # Which moves what a hash is about.
            assert hash_distance(one, copy) < hash_distance(one, other)


def test_an_image_correlates_perfectly_with_itself(images):
    assert correlation(images[0], images[0]) == pytest.approx(1, abs=1e-5)
    assert hash_distance(images[0], images[0]) == 0
    assert perceptual_hash(images[0]).shape == (64,)


def test_a_common_color_does_not_make_images_alike(rng):
    noise = rng.integers(0, 40, (2, 32, 32, 3))
    one, other = (noise + [200, 100, 0]).astype("uint8")
    assert correlation(one, other) < 0.5


def test_images_of_one_color_are_no_error():
    gray = np.full((20, 30, 3), 90, "uint8")
    assert correlation(gray, gray) == 0
    assert len(EDITS) == 6
