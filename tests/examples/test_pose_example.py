"""The example on made-up people, in the boxes of a results file."""

import json
import pathlib
import runpy
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

import keras_jft as jft

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("uncompiled")]

ROOT = pathlib.Path(__file__).parents[2]


def _people(folder):
    """Figures in COCO's layout, and a results file of their boxes."""
    figures = jft.data.load("synthetic", task="pose", num_examples=8)
    images, annotations, results = [], [], []
    (folder / "val2017").mkdir()
    (folder / "annotations").mkdir()
    for example in figures.take(range(8)):
        name = int(example["ids"])
        Image.fromarray(example["images"]).save(folder / f"val2017/{name}.png")
        images.append(
            {"id": name, "file_name": f"{name}.png", "height": 32, "width": 32}
        )
        x1, y1, x2, y2 = map(float, example["bounding_boxes"]["boxes"][0])
        found = {
            "image_id": name,
            "category_id": 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
        }
        results.append({**found, "score": 0.9})
        keypoints = example["keypoints"].astype(float).ravel().tolist()
        annotations.append({**found, "id": name, "keypoints": keypoints})
    names = figures.info.keypoint_names
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": names}],
    }
    path = folder / "annotations" / "person_keypoints_val2017.json"
    path.write_text(json.dumps(document))
    (folder / "results.json").write_text(json.dumps(results))


def _run(folder, arguments, monkeypatch):
    script = ROOT / "examples" / "pose.py"
    words = f"""{script} --coco {folder} --split val2017 --pictures 1 --output
        {folder / "run"} {arguments}"""
    monkeypatch.setattr(sys, "argv", words.split())
    runpy.run_path(str(script), run_name="__main__")
    plt.close("all")
    return folder / "run"


def test_poses_are_found_in_the_boxes_of_a_file(tmp_path, monkeypatch):
    _people(tmp_path)
    arguments = f"""--train-split val2017 --boxes {tmp_path / "results.json"}
        --epochs 1 --batch-size 8 --image-size 33 25"""
    output = _run(tmp_path, arguments, monkeypatch)
    results = json.loads((output / "results.json").read_text())
    assert len(results) == 8
    assert np.shape(results[0]["keypoints"]) == (51,)
    scores = json.loads((output / "metrics.json").read_text())
    assert {"ap", "ar", "pck"} <= scores.keys() and scores["counted"] == 8
    for name in ("poses.png", "heatmaps.png", "model.keras"):
        assert (output / name).stat().st_size > 0


def test_poses_are_found_in_the_boxes_of_a_detector(
    tmp_path, tiny_backbone, monkeypatch
):
    _people(tmp_path)
    jft.PoseEstimator(tiny_backbone, output_stride=8, radius=2).save(
        tmp_path / "pose.keras"
    )
    backbone = jft.ResNet(
        (1, 1, 1, 1),
        width=16,
        block="basic",
        stem="small",
        image_shape=(32, 32, 3),
    )
    jft.FasterRCNN(
        backbone,
        1,
        anchor_base=16,
        rpn_filters=16,
        num_proposals=4,
        crop_size=4,
        max_detections=2,
    ).save(tmp_path / "detector.keras")
    arguments = f"""--model {tmp_path / "pose.keras"} --min-score 0
        --boxes {tmp_path / "detector.keras"} --detector-size 32 32"""
    output = _run(tmp_path, arguments, monkeypatch)
    results = json.loads((output / "results.json").read_text())
    # At most two people an image, as the detector was told.
    found = [result["image_id"] for result in results]
    assert found and max(map(found.count, found)) <= 2
    scores = json.loads((output / "metrics.json").read_text())
    assert scores["counted"] == 8
