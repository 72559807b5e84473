"""A detector is trained on a folder in COCO's format, and shown."""

import json
import pathlib
import runpy
import sys

import numpy as np
import pytest
from PIL import Image

import keras_jft as jft

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("uncompiled")]

SCRIPT = pathlib.Path(__file__).parents[2] / "examples" / "detection.py"
OPTIONS = {
    "rpn_filters": 16,
    "anchor_base": 16,
    "anchor_scales": [1.0],
    "anchor_ratios": [1.0],
    "num_proposals": 8,
    "max_detections": 8,
    "crop_size": 4,
}


def _write(folder, split, rng):
    """Bright squares on dark ground, in COCO's layout."""
    (folder / split).mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    images, annotations = [], []
    for i in range(4):
        pixels = rng.integers(0, 40, (32, 32, 3)).astype("uint8")
        x, y = map(int, rng.integers(0, 16, 2))
        pixels[y : y + 16, x : x + 16] = 220
        name = f"{i}.png"
        Image.fromarray(pixels).save(folder / split / name)
        images.append(
            {"id": 50 + i, "file_name": name, "width": 32, "height": 32}
        )
        annotations.append(
            {
                "id": i,
                "image_id": 50 + i,
                "category_id": 7,
                "bbox": [x, y, 16, 16],
            }
        )
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 7, "name": "square"}],
    }
    path = folder / "annotations" / f"instances_{split}.json"
    path.write_text(json.dumps(document))


def test_a_detector_is_trained_scored_saved_and_shown(
    tmp_path, rng, monkeypatch
):
    for split in ("train", "val"):
        _write(tmp_path / "coco", split, rng)
    backbone = jft.ResNet(
        (1, 1, 1, 1),
        width=16,
        block="basic",
        stem="small",
        image_shape=(16, 16, 3),
    )
    backbone.save(tmp_path / "backbone.keras")
    output = tmp_path / "output"
    arguments = {
        "--images": tmp_path / "coco",
        "--checkpoint": tmp_path / "backbone.keras",
        "--head-options": json.dumps(OPTIONS),
        "--epochs": 1,
        "--threshold": 0,
        "--output": output,
    }
    words = [str(word) for pair in arguments.items() for word in pair]
    words += ["--mode", "frozen", "--image-size", "32", "32"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
    runpy.run_path(str(SCRIPT), run_name="__main__")

    metrics = json.loads((output / "metrics.json").read_text())
    assert 0 <= metrics["ap50"] <= 1 and metrics["mode"] == "frozen"
    assert list(metrics["ap50_by_class"]) == ["square"]
    records = json.loads((output / "results.json").read_text())
    assert {r["category_id"] for r in records} == {7}
    assert {r["image_id"] for r in records} <= {50, 51, 52, 53}
    assert np.asarray(Image.open(output / "detections.png")).std() > 10
    assert (output / "model.keras").is_file()
