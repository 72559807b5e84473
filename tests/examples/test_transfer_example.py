"""The pictures of docs/transfer.md can be drawn again."""

import pathlib
import runpy
import sys

import pytest
from PIL import Image

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_a_backbone_is_transferred_and_its_model_drawn(tmp_path, monkeypatch):
    options = ["--images", "32", "--epochs", "1", "--tasks", "classification"]
    script = str(EXAMPLES / "transfer.py")
    monkeypatch.setattr(
        sys, "argv", [script, *options, "--output", str(tmp_path)]
    )
    runpy.run_path(script, run_name="__main__")
    with Image.open(tmp_path / "classification.png") as image:
        assert image.width > image.height  # Four images in a row.
    # Checkpoints are gone when nothing is left to go on with.
    assert [path.name for path in tmp_path.iterdir()] == ["classification.png"]


def test_there_is_a_picture_of_each_task():
    tasks = runpy.run_path(str(EXAMPLES / "transfer.py"))["TASKS"]
    pictures = EXAMPLES.parent / "docs" / "pictures"
    assert {path.stem for path in pictures.glob("*.png")} == set(tasks)
