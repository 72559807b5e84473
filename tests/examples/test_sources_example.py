"""Every format of the example gives the images that were written."""

import pathlib
import runpy
import sys

import numpy as np
import pytest

import keras_jft as jft

SCRIPT = pathlib.Path(__file__).parents[2] / "examples" / "sources.py"
NAMES = runpy.run_path(str(SCRIPT))
# Twelve images lack most of the world's classes.
pytestmark = pytest.mark.filterwarnings("ignore:.*occurs? in no row")


@pytest.mark.slow
def test_every_source_becomes_batches(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--output", str(tmp_path)])
    NAMES["main"]()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [*NAMES["SOURCES"]]
    for line in lines:
        assert "12 images, 3 batches of images (4, 32, 32, 3)" in line
    assert {path.name for path in tmp_path.iterdir()} == {*NAMES["SOURCES"]}


@pytest.mark.parametrize("name", NAMES["SOURCES"])
def test_images_and_labels_are_those_of_the_world(name, tmp_path):
    world = jft.data.load("synthetic", num_examples=12)
    options = NAMES["SOURCES"][name](world, tmp_path)
    data = jft.data.load(name, **options)
    positions = np.arange(12)
    for before, after in zip(
        world.take(positions), data.take(positions), strict=True
    ):
        assert before["labels"].tolist() == after["labels"].tolist()
        apart = before["images"].astype(int) - after["images"]
        # JPEG keeps the mean brightness.
        assert abs(apart.mean()) < (2 if name == "open_images" else 1e-9)
    assert data.info.label_names == world.info.label_names
