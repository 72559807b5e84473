import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_jft import evaluation, metrics
from keras_jft.data.datasets import Dataset, Info
from keras_jft.data.transforms import Resize

CATEGORIES = (1, 18, 44)


class _Photos(Dataset):
    """Three images of ids and sizes of their own, no truth."""

    IDS = (139, 785, 1296)
    info = Info(
        num_examples=3, label_names=("a", "b", "c"), category_ids=CATEGORIES
    )

    def ids(self, positions):
        return np.array(self.IDS)[positions]

    def __getitem__(self, position):
        image = np.zeros((20 + position, 40, 3), "uint8")
        return {"images": image, "ids": np.int64(self.IDS[position])}


class _Detector:
    """Finds the same in every image of 10x10 px; the last is padding."""

    num_classes = 3

    def predict_on_batch(self, images):
        count = len(images)
        boxes = [[1, 2, 3, 5], [0, 0, 10, 10], [-1] * 4]
        return {
            "boxes": np.tile(np.float32(boxes), (count, 1, 1)),
            "labels": np.tile([2, 1, -1], (count, 1)),
            "scores": np.tile(np.float32([0.75, 0.5, -1]), (count, 1)),
        }


def _saved(tmp_path):
    path = tmp_path / "results" / "detections.json"
    config = evaluation.Config(
        task="detection", transforms=(Resize((10, 10)),), batch_size=2
    )
    count = evaluation.save_detections(path, config, _Detector(), _Photos())
    return path, count


def test_a_file_has_coco_ids_and_boxes_in_original_pixels(tmp_path):
    path, count = _saved(tmp_path)
    records = json.loads(path.read_text())
    assert count == len(records) == 6, "padding is no detection"
    assert records[0] == {
        "image_id": 139,
        "category_id": 44,
        "bbox": [4, 4, 8, 6],
        "score": 0.75,
    }
    assert [r["image_id"] for r in records] == [139, 139, 785, 785, 1296, 1296]
    assert records[5]["bbox"] == pytest.approx([0, 0, 40, 22])
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_file_scores_as_pycocotools_scores_it(tmp_path):
    path, _ = _saved(tmp_path)
    truth = [[4, 4, 12, 10], [0, 0, 30, 21], [5, 5, 12, 12]]
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": name} for name in _Photos.IDS],
        "categories": [{"id": c} for c in CATEGORIES],
        "annotations": [
            {
                "id": i + 1,
                "image_id": _Photos.IDS[i],
                "category_id": CATEGORIES[2 - i],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            for i, (x1, y1, x2, y2) in enumerate(truth)
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        expected = COCOeval(coco, coco.loadRes(str(path)), "bbox")
        expected.evaluate()
        expected.accumulate()
        expected.summarize()
    result = metrics.evaluate_detection(
        [{"boxes": [box], "labels": [2 - i]} for i, box in enumerate(truth)],
        evaluation.read_detections(path, _Photos()),
        num_classes=3,
    )
    assert 0 < result["ap"] == expected.stats[0] < 1


GOOD = {"image_id": 785, "category_id": 18, "bbox": [1, 2, 3, 4], "score": 0.5}


def test_images_that_are_not_named_have_no_boxes(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([GOOD]))
    found = evaluation.read_detections(path, _Photos())
    assert [len(entry["labels"]) for entry in found] == [0, 1, 0]
    assert found[1]["boxes"].tolist() == [[1, 2, 4, 6]]
    assert found[1]["labels"].tolist() == [1]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_id", 786),
        ("image_id", None),
        ("image_id", 785.5),
        ("category_id", 2),
        ("category_id", "18"),
        ("bbox", [1, 2, 3]),
        ("bbox", "1 2 3 4"),
        ("bbox", [1, 2, -3, 4]),
        ("bbox", [1, 2, float("nan"), 4]),
        ("score", float("nan")),
        ("score", float("inf")),
        ("score", "high"),
        ("score", None),
    ],
)
def test_a_malformed_record_is_named(field, value, tmp_path):
    bad = {k: v for k, v in {**GOOD, field: value}.items() if v is not None}
    path = tmp_path / "results.json"
    path.write_text(json.dumps([GOOD, bad]))
    message = rf"results\.json.*detection number 1, field `{field}`: expected"
    with pytest.raises(ValueError, match=message):
        evaluation.read_detections(path, _Photos())


@pytest.mark.parametrize("root", [{"annotations": []}, 3, [1], None])
def test_a_file_that_is_not_a_list_of_records_is_refused(root, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(root))
    with pytest.raises(ValueError, match=r"results\.json"):
        evaluation.read_detections(path, _Photos())
