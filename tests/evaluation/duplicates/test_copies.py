import numpy as np
import pytest

import keras_jft as jft
from keras_jft.evaluation.duplicates import EDITS, Copies, edit


@pytest.fixture
def image():
    """A smooth picture, 40 wide and 30 high."""
    y, x = np.mgrid[:30, :40]
    return np.stack([6 * x, 8 * y, 3 * (x + y)], -1).clip(0, 255).astype("u1")


@pytest.mark.parametrize("name", EDITS)
def test_a_copy_is_of_the_same_size_and_near(image, name, rng):
    copy = edit(image, name, rng)
    assert copy.shape == image.shape
    assert copy.dtype == np.uint8
    assert (copy != image).any()
    near = copy[:, ::-1] if name == "flip" else copy
    assert abs(near.astype(int) - image).mean() < 40


def test_a_flipped_copy_is_the_mirror(image, rng):
    np.testing.assert_array_equal(edit(image, "flip", rng), image[:, ::-1])


def test_the_draws_for_an_example_depend_on_its_id(rng):
    data = jft.data.load("synthetic", num_examples=8, image_size=16)
    copies = Copies(data, "crop", seed=1)
    some = copies.take([5, 2])
    np.testing.assert_array_equal(some[1]["images"], copies[2]["images"])
    assert [e["ids"] for e in some] == data.ids(np.array([5, 2])).tolist()
    other = Copies(data, "crop", seed=2)[2]["images"]
    assert (other != some[1]["images"]).any()


def test_an_unknown_edit_is_refused(image, rng):
    with pytest.raises(ValueError, match="'jpeg'"):
        edit(image, "blur", rng)
