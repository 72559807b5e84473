"""What a user does first: pre-train, fine-tune on images, use workers."""

import json
import pathlib
import runpy
import sys

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(monkeypatch):
    """Runs an example with command-line arguments."""

    def run(name, *arguments):
        path = EXAMPLES / name
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        runpy.run_path(str(path), run_name="__main__")

    return run


def test_a_pretrained_backbone_is_fine_tuned_and_served(run, tmp_path, rng):
    for split, count in (("train", 16), ("val", 4)):
        for channel, name in enumerate(("red", "green")):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 60, (40, 48, 3)).astype("uint8")
                image[..., channel] += 190
                Image.fromarray(image).save(folder / f"{i}.png")

    run(
        "pretrain.py",
        *("--num-examples", 64, "--batch-size", 32, "--epochs", 1),
        *("--output", tmp_path / "pretrain"),
    )
    log = (tmp_path / "pretrain" / "log.csv").read_text().splitlines()
    assert log[0].split(",")[:2] == ["epoch", "loss"]
    assert len(log) == 2

    run(
        "classification.py",
        *("--images", tmp_path / "images"),
        *("--checkpoint", tmp_path / "pretrain" / "backbone.keras"),
        *("--image-size", 16, "--batch-size", 16, "--epochs", 8),
        *("--output", tmp_path / "classification"),
    )
    output = tmp_path / "classification"
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["top1"] == 1.0
    assert metrics["mode"] == "fine_tuned"
    assert np.all(
        [(output / name).exists() for name in ("model.keras", "served")]
    )


@pytest.mark.usefixtures("uncompiled")
def test_a_run_on_workers_goes_on_where_it_was(run, tmp_path, capsys):
    options = "--num-examples", 64, "--epochs", 1, "--directory", tmp_path
    run("multi_worker.py", *options)
    (checkpoint,) = tmp_path.glob("step-*.npz")
    (tmp_path / "model.keras").unlink()
    capsys.readouterr()
    run("multi_worker.py", *options)
    assert f"Resumed from {checkpoint}: epoch 2" in capsys.readouterr().out
    assert (tmp_path / "model.keras").exists()
