"""COCO's numbers: those of pycocotools, to the last bit."""

import contextlib
import importlib.util
import io
import sys

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_jft import metrics
from keras_jft.metrics.detection import coco as coco_lib

INSTALLED = [n for n in coco_lib.ENGINES if importlib.util.find_spec(n)]
STATS = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
CLASSES = 5  # The last has detections and no truth.


def _scene(rng, tied):
    """Truth and detections of one image, many near the truth."""
    count = rng.integers(0, 9)
    corner = rng.uniform(0, 80, (count, 2))
    side = rng.uniform(1, 100, (count, 2)) * rng.choice([0.2, 1, 2], (count, 1))
    boxes = np.concatenate([corner, corner + side], -1).astype("float32")
    labels = rng.integers(0, CLASSES - 1, count)
    truth = {
        "boxes": boxes,
        "labels": labels,
        "ignored": rng.random(count) < 0.15,
        "areas": (side.prod(-1) * rng.uniform(0.4, 1, count)).astype("float32"),
    }
    near = rng.integers(0, count, 3 * count) if count else np.zeros(0, int)
    moved = boxes[near] + rng.normal(0, 3, (len(near), 4)) * [1, 1, 0, 0]
    far = np.sort(rng.uniform(0, 90, (rng.integers(0, 40), 2, 2)), axis=1)
    found = np.concatenate([moved, far.reshape(-1, 4)])
    found[:, 2:] = np.maximum(found[:, :2], found[:, 2:])
    scores = rng.random(len(found))
    return truth, {
        "boxes": found.astype("float32"),
        "labels": np.concatenate(
            [labels[near], rng.integers(0, CLASSES, len(far))]
        ),
        "scores": (np.round(scores, 1) if tied else scores).astype("float32"),
    }


def _pycocotools(truth, found):
    """The 12 numbers by pycocotools, from dicts written by hand."""
    annotations, results = [], []
    for image, (true, predicted) in enumerate(zip(truth, found, strict=True)):
        for i, (x1, y1, x2, y2) in enumerate(true["boxes"].astype(float)):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 10 + image,
                    "category_id": int(true["labels"][i]) + 3,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(true["areas"][i]),
                    "iscrowd": int(true["ignored"][i]),
                }
            )
        for i, (x1, y1, x2, y2) in enumerate(predicted["boxes"].astype(float)):
            results.append(
                {
                    "image_id": 10 + image,
                    "category_id": int(predicted["labels"][i]) + 3,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": float(predicted["scores"][i]),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": 10 + i} for i in range(len(truth))],
            "categories": [{"id": c + 3} for c in range(CLASSES)],
            "annotations": annotations,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("engine", INSTALLED)
@pytest.mark.parametrize("tied", [False, True])
def test_all_numbers_equal_those_of_pycocotools(engine, tied, rng):
    scenes = [_scene(rng, tied) for _ in range(25)]
    truth, found = zip(*scenes, strict=True)
    expected = _pycocotools(truth, found)
    metric = metrics.Detection(CLASSES, engine)
    for start in range(0, 25, 7):  # Batches, the last a smaller one.
        part = slice(start, start + 7)
        metric.update(list(truth[part]), list(found[part]))
    result = metric.result()
    assert 0.05 < result["ap"] < 0.95 and result["ap_small"] > 0
    assert [result[name] for name in STATS] == expected.stats.tolist()
    precision = expected.eval["precision"][..., 0, 2]
    of_class = precision[:, :, 1]
    assert result["per_class"][1] == np.mean(of_class[of_class > -1])
    assert result["per_class_ap50"][2] == np.mean(precision[0, :, 2])
    assert np.isnan(result["per_class"][CLASSES - 1])
    assert result["counted"] == CLASSES - 1


@pytest.mark.parametrize("engine", INSTALLED)
def test_a_crowd_takes_any_number_of_detections(engine):
    boxes = np.array([[0.0, 0, 100, 100], [200, 0, 250, 50]])
    truth = {"boxes": boxes, "labels": [0, 0], "ignored": [True, False]}
    inside = np.array([[0.0, 0, 20, 20], [50, 50, 60, 60], [200, 0, 250, 50]])
    found = {"boxes": inside, "labels": [0] * 3, "scores": [0.9, 0.8, 0.7]}
    result = metrics.evaluate_detection([truth], [found], 1, engine)
    assert result["ap"] == pytest.approx(1)
    counted = {**truth, "ignored": [False, False]}
    result = metrics.evaluate_detection([counted], [found], 1, engine)
    # One of two found, behind two wrong ones: 1/3 up to recall 1/2.
    assert result["ap"] == pytest.approx(51 / 101 / 3)


def test_an_engine_can_be_chosen(monkeypatch):
    with pytest.raises(ValueError, match="`engine` must be one of"):
        metrics.evaluate_detection([], [], 1, engine="fastest")
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    with pytest.raises(ImportError, match=r"keras_jft\[fast\]"):
        metrics.evaluate_detection([], [], 1, engine="hotcoco")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: name != "hotcoco" or None
    )
    assert coco_lib._engine(None)[0] is COCO
