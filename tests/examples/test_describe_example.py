"""A folder, a manifest and the synthetic world end in a page."""

import json
import pathlib
import runpy
import sys

import numpy as np
import pytest
from PIL import Image

import keras_jft as jft

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("uncompiled")]

SCRIPT = pathlib.Path(__file__).parents[2] / "examples" / "describe.py"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs the example; gives what it printed and its numbers."""

    def run(*arguments):
        words = [str(SCRIPT), *map(str, arguments), "--output", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", words)
        runpy.run_path(str(SCRIPT), run_name="__main__")
        page = (tmp_path / "describe.html").read_text()
        assert "Beside JFT-300M" in page
        numbers = json.loads((tmp_path / "describe.json").read_text())
        return capsys.readouterr().out, numbers

    return run


@pytest.fixture
def folder(tmp_path, rng):
    """25 images of each of two classes, one of them cut off."""
    for name in ("cat", "dog"):
        (tmp_path / "images" / "train" / name).mkdir(parents=True)
        for i in range(25):
            image = rng.integers(0, 255, (16, 16, 3)).astype("uint8")
            path = tmp_path / "images" / "train" / name / f"{i}.png"
            Image.fromarray(image).save(path)
    return tmp_path / "images"


def test_the_synthetic_world_is_described(run):
    out, numbers = run("--images", 8)
    assert out.startswith("20,000 images with 1.27 labels per image")
    assert numbers["images"]["examined"] == 8


def test_a_folder_is_described_and_its_classes_are_sorted(
    run, folder, tmp_path
):
    backbone = jft.ResNet(
        (1, 1, 1, 1),
        width=16,
        stem="small",
        block="basic",
        image_shape=(16, 16, 3),
    )
    backbone.save(tmp_path / "backbone.keras")
    _, numbers = run(
        *("--folder", folder, "--split", "train"),
        *("--checkpoint", tmp_path / "backbone.keras", "--classes", "dog"),
    )
    assert numbers["num_images"] == 50 and numbers["split"] == "train"
    ((name, bins),) = numbers["prototypes"].items()
    assert name == "dog" and sum(b[2] for b in bins) == 25


def test_a_manifest_with_a_damaged_file_is_described(run, folder):
    damaged = folder / "train" / "cat" / "3.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    lines = [f"train/cat/{i}.png,cat" for i in range(25)]
    path = folder / "list.csv"
    path.write_text("\n".join(["image,labels", *lines]))
    out, numbers = run("--manifest", path, "--images", "all")
    assert numbers["images"]["unreadable"]["total"] == 1
    assert "Of 25 images that were opened, 1 (4%) cannot be read." in out
    assert np.sum(numbers["labels"]["per_image"]["counts"]) == 25
