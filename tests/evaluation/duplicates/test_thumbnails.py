import numpy as np
import pytest
from keras import ops

from keras_jft.evaluation.duplicates import thumbnails
from keras_jft.evaluation.duplicates.embedding import Thumbnail


def _embed(images, side=4):
    return ops.convert_to_numpy(thumbnails(side)(images))


@pytest.mark.ops
def test_an_image_and_its_mirror_are_one(rng):
    images = rng.integers(0, 256, (3, 16, 20, 3)).astype("float32")
    np.testing.assert_allclose(
        _embed(images), _embed(images[:, :, ::-1]), atol=1e-2
    )


@pytest.mark.ops
def test_brightness_does_not_matter_and_content_does(rng):
    image = rng.integers(50, 200, (1, 16, 16, 3)).astype("float32")
    other = rng.integers(50, 200, (1, 16, 16, 3)).astype("float32")
    one, brighter, another = (
        row / np.linalg.norm(row)
        for row in _embed(np.concatenate([image, image + 40, other]))
    )
    assert one @ brighter > 0.999
    assert one @ another < 0.95


@pytest.mark.ops
def test_a_thumbnail_has_an_even_and_an_odd_part_of_the_image(rng):
    image = rng.integers(0, 256, (1, 2, 2, 3)).astype("float32")
    left, right = (image - image.mean((0, 1, 2)))[0].swapaxes(0, 1)
    expected = np.stack([left + right, abs(left - right)], axis=1)
    np.testing.assert_allclose(
        _embed(image, 2)[0], [*expected.ravel(), 1], atol=1e-3
    )


@pytest.mark.ops
def test_a_common_color_does_not_make_images_alike(rng):
    images = rng.integers(0, 40, (2, 16, 16, 3)).astype("float32")
    one, other = _embed(images + [200.0, 100.0, 0.0])
    assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) < 0.95


def test_an_image_of_one_color_is_not_zero():
    assert np.linalg.norm(_embed(np.full((1, 8, 8, 3), 99.0))) > 0


def test_the_side_of_a_thumbnail_survives_its_config():
    assert Thumbnail.from_config(Thumbnail(6).get_config()).side == 6


def test_an_odd_side_is_refused():
    with pytest.raises(ValueError, match="even"):
        thumbnails(5)
