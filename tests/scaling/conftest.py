"""Folders of images, and plans of studies of them."""

import numpy as np
import pytest
from PIL import Image

from keras_jft.scaling import read_plan


@pytest.fixture
def save(tmp_path):
    """`save(path, count)`: a folder of different images, 32 pixels high."""

    def save(path, count, seed=0):
        rng = np.random.default_rng([seed, len(path), *path.encode()])
        folder = tmp_path / path
        folder.mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (8, 10, 3)).astype("uint8")
            image = Image.fromarray(pixels).resize((40, 32))
            image.save(folder / f"{i:03}.png")
        return folder

    return save


@pytest.fixture
def folders(tmp_path, save):
    """100 images of two classes, and a task of 20 images of two others."""
    for name in ("oak", "elm"):
        save(f"photos/{name}", 50)
    for name in ("Elm", "fir"):
        save(f"task/{name}", 10)
    return tmp_path


@pytest.fixture
def plan(folders):
    """`plan(text)`: the plan of a TOML file beside the folders."""

    def plan(text, **options):
        path = folders / "study.toml"
        path.write_text(text)
        return read_plan(path, **options)

    return plan
