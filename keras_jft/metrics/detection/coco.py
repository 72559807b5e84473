"""Average precision and recall of boxes, as COCO defines them.

Two engines give the same numbers to the last bit: pycocotools, the reference,
and hotcoco, which is compiled and far faster (the extra `fast`).

References:
    Lin et al. 2014, "Microsoft COCO", https://arxiv.org/abs/1405.0312;
    https://cocodataset.org/#detection-eval.
"""

import contextlib
import importlib.util
import io

import numpy as np

from keras_jft import checks

ENGINES = ("hotcoco", "pycocotools")  # The first that is installed is used.
# Indices into the arrays of both engines: IoU .5, .75; areas; detections.
IOU50, IOU75 = 0, 5
ALL, SMALL, MEDIUM, LARGE = range(4)
ONE, TEN, HUNDRED = range(3)


def average_precisions(truth, found, num_classes, num_images, engine=None):
    """Return the 12 numbers of COCO, and per-class AP and AP50.

    Args:
        truth: Columns of true boxes, as `boxes.true_boxes` returns them. Those
            that are `ignored` are crowds: any number of detections may lie in
            one, and none of them counts.
        found: Columns of predicted boxes.
        num_classes: Number of classes C.
        num_images: Number of images.
        engine: One of `ENGINES`, or None.

    Returns:
        `{name: number}`, and `per_class` and `per_class_ap50`, `(C,)`; nan
        where there are no true boxes.

    Raises:
        ValueError: If the engine is unknown.
        ImportError: If the engine is not installed.
    """
    precision, recall = _curves(truth, found, num_classes, num_images, engine)
    return {
        "ap": _mean(precision[..., ALL, HUNDRED]),
        "ap50": _mean(precision[IOU50, ..., ALL, HUNDRED]),
        "ap75": _mean(precision[IOU75, ..., ALL, HUNDRED]),
        "ap_small": _mean(precision[..., SMALL, HUNDRED]),
        "ap_medium": _mean(precision[..., MEDIUM, HUNDRED]),
        "ap_large": _mean(precision[..., LARGE, HUNDRED]),
        "ar1": _mean(recall[..., ALL, ONE]),
        "ar10": _mean(recall[..., ALL, TEN]),
        "ar100": _mean(recall[..., ALL, HUNDRED]),
        "ar_small": _mean(recall[..., SMALL, HUNDRED]),
        "ar_medium": _mean(recall[..., MEDIUM, HUNDRED]),
        "ar_large": _mean(recall[..., LARGE, HUNDRED]),
        "per_class": _by_class(precision[..., ALL, HUNDRED]),
        "per_class_ap50": _by_class(precision[:1, ..., ALL, HUNDRED]),
    }


def _mean(values):
    counted = values[values > -1]  # -1: a class without true boxes.
    return float(np.mean(counted)) if counted.size else np.nan


def _by_class(precision):
    """Return the means of `(IoUs, recalls, C)` by class, `(C,)`."""
    return np.array([_mean(one) for one in np.moveaxis(precision, -1, 0)])


def _curves(truth, found, num_classes, num_images, engine):
    """Return precision `(10, 101, C, 4, 3)` and recall `(10, C, 4, 3)`.

    They are -1 for classes without true boxes.
    """
    coco_class, evaluation_class = _engine(engine)
    true = _dataset(truth, num_classes, num_images)
    predicted = _dataset(found, num_classes, num_images)
    with contextlib.redirect_stdout(io.StringIO()):  # Engines print progress.
        evaluation = evaluation_class(
            _coco(coco_class, true), _coco(coco_class, predicted), "bbox"
        )
        evaluation.evaluate()
        evaluation.accumulate()
    found = evaluation.eval
    return np.asarray(found["precision"]), np.asarray(found["recall"])


def _engine(name):
    """Return the `COCO` and `COCOeval` classes of an engine."""
    if name is None:
        found = (n for n in ENGINES if importlib.util.find_spec(n) is not None)
        name = next(found, ENGINES[-1])
    checks.one_of("engine", name, ENGINES)
    if name == "hotcoco":
        try:
            import hotcoco
        except ImportError as error:
            raise ImportError(
                'The engine "hotcoco" is not installed. Install '
                "keras_jft[fast], or leave `engine` out."
            ) from error
        return hotcoco.COCO, hotcoco.COCOeval
    from pycocotools import coco, cocoeval

    return coco.COCO, cocoeval.COCOeval


def _dataset(columns, num_classes, num_images):
    """Return COCO's dict. Ids count from 1: COCOeval reads 0 as a miss."""
    boxes = columns["boxes"]
    sides = boxes[:, 2:] - boxes[:, :2]
    nothing = np.zeros(len(boxes), int)
    fields = {
        "id": np.arange(1, len(boxes) + 1),
        "image_id": columns["images"] + 1,
        "category_id": columns["labels"],
        "bbox": np.concatenate([boxes[:, :2], sides], axis=-1),
        "area": columns.get("areas", sides.prod(-1)),
        "iscrowd": columns.get("ignored", nothing).astype(int),
    }
    if "scores" in columns:
        fields["score"] = columns["scores"]
    rows = zip(*(values.tolist() for values in fields.values()), strict=True)
    names = tuple(fields)
    # The evaluation does not need sizes of images, but hotcoco asks for them.
    image = {"width": 1, "height": 1, "file_name": ""}
    return {
        "info": {},
        "images": [{"id": i + 1, **image} for i in range(num_images)],
        "categories": [{"id": c, "name": f"{c}"} for c in range(num_classes)],
        "annotations": [dict(zip(names, row, strict=True)) for row in rows],
    }


def _coco(coco_class, dataset):
    if coco_class.__module__.startswith("pycocotools"):
        coco = coco_class()
        coco.dataset = dataset
        coco.createIndex()
        return coco
    return coco_class(dataset)
