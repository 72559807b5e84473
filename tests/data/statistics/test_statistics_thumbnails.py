"""Small pictures: their size, what is written below, what is left out."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_jft.data.statistics.page import _jpeg, captions, thumbnails


@pytest.mark.parametrize(
    ("size", "shown"),
    [((400, 200), (48, 96)), ((32, 20), (20, 32)), ((1, 5_000), (96, 1))],
)
def test_large_images_shrink_and_small_ones_stay(size, shown):
    image = np.full((*size, 3), 77, "uint8")
    with Image.open(io.BytesIO(_jpeg(image))) as picture:
        assert picture.size == shown
        assert abs(np.asarray(picture).astype(int) - 77).max() <= 2


def test_unreadable_images_are_left_out(make_data):
    data = make_data(6)
    data.unreadable = {2}
    pictures = thumbnails(data, [1, 2, 5], lambda example: example["ids"])
    assert [picture.text for picture in pictures] == [1, 5]


def test_a_caption_says_the_most_specific_labels(tree):
    caption = captions(tree.names, tree)
    assert caption({"labels": np.array([0, 1, 3, 4, 5])}) == "corgi, car"
    assert caption({"labels": np.array([], "int32")}) == "no label"
    assert caption({"labels": np.array([-1, 99, 2])}) == "cat"
    assert caption({"ids": 7}) == "7"
    assert caption({"ids": "train/cat/7.jpg"}) == "7.jpg"
    many = captions(tuple("abcdef"))({"labels": np.arange(5)})
    assert many == "a, b, c and 2 more"
