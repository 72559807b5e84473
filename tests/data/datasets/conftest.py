"""Small image files on disk."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def save_image(tmp_path):
    """`save_image(path, value)`: an image file of one brightness."""

    def save(path, value=0, size=(4, 5), mode="RGB"):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        color = (value,) * 3 if mode == "RGB" else value
        Image.new(mode, size[::-1], color).save(path)
        return path

    return save


@pytest.fixture
def brightness():
    """`brightness(example)`: of an image of one brightness."""

    def of(example):
        (value,) = np.unique(example["images"])
        return int(value)

    return of
