"""Average precision of detected boxes, as COCO and Pascal VOC define it."""

from typing import Any

import numpy as np

from keras_jft.metrics.detection import boxes, coco, voc
from keras_jft.metrics.metric import Metric
from keras_jft.text import number_of


def evaluate_detection(
    truth: Any, predictions: Any, num_classes: int, engine: str | None = None
) -> dict[str, Any]:
    """Return average precision: `{"ap", "ap50", ..., "voc_ap", ...}`.

    Args:
        truth: `bounding_boxes` of a batch (see `jft.data`), or a list of such
            dicts, one per image. `ignored` boxes (crowds and difficult objects)
            need not be found, and finding them is not an error.
        predictions: What a detector's `predict` returns, or a list of such
            dicts, one per image: `boxes` x1, y1, x2, y2, `scores`, `labels`.
        num_classes: Number of classes C, background left out.
        engine: "hotcoco" or "pycocotools", which give the same numbers. None
            uses hotcoco, which is faster, if it is installed.

    Returns:
        COCO's 12 numbers: `ap` over IoU 0.5 to 0.95, `ap50`, `ap75`,
        `ap_small`, `ap_medium`, `ap_large`; `ar1`, `ar10`, `ar100`, the recall
        of the best 1, 10 and 100 detections per image; `ar_small`,
        `ar_medium`, `ar_large`. VOC's `voc_ap` (area below the curve, IoU 0.5)
        and `voc07_ap` (mean at 11 recalls). `per_class`, `per_class_ap50` and
        `per_class_voc_ap`, `(C,)`, nan for classes without true boxes.
        `counted`, the number of classes with true boxes. Scores are fractions,
        nan without true boxes.

    Raises:
        ValueError: If a box, score or label is malformed.

    References:
        Sun et al. 2017, section 5.2 (Tables 2 to 5).

    Example:
        >>> result = evaluate_detection(
        ...     truth=[{"boxes": [[0, 0, 10, 10]], "labels": [1]}],
        ...     predictions=[{"boxes": [[0, 0, 10, 6]], "labels": [1],
        ...                   "scores": [0.9]}],
        ...     num_classes=2,
        ... )
        >>> round(result["ap"], 3), round(result["ap50"], 3), result["voc_ap"]
        (0.3, 1.0, 1.0)
    """
    if not isinstance(truth, dict) and len(truth) != len(predictions):
        raise ValueError(
            "Expected predictions for each image. Received: "
            f"{number_of(len(truth), 'image')}, "
            f"{number_of(len(predictions), 'prediction')}."
        )
    metric = Detection(num_classes, engine)
    return metric.evaluate([(truth, predictions)])


class Detection(Metric):
    """Collects the boxes of all images, and computes average precision.

    It keeps all boxes in memory, about 100 bytes per detection.

    Args:
        num_classes: Number of classes C, background left out.
        engine: As for `evaluate_detection`.

    Raises:
        ValueError: If `num_classes` is not positive.
    """

    score = "ap"
    title = "AP@[.5:.95]"

    def __init__(self, num_classes: int, engine: str | None = None):
        if num_classes < 1:
            raise ValueError(
                "`num_classes` must be above 0. Received: "
                f"num_classes={num_classes}."
            )
        self.num_classes, self.engine = num_classes, engine
        self._num_images = 0
        self._true: list = []
        self._found: list = []

    def update(self, truth: Any, predictions: Any) -> None:
        """Add the boxes of some images.

        Args:
            truth: As for `evaluate_detection`.
            predictions: As for `evaluate_detection`.
        """
        true, count = boxes.true_boxes(truth, self.num_classes)
        found, predicted = boxes.predicted_boxes(predictions, self.num_classes)
        if count != predicted:
            raise ValueError(
                "Expected predictions for each image. Received: "
                f"{number_of(count, 'image')}, "
                f"{number_of(predicted, 'prediction')}."
            )
        for columns, parts in ((true, self._true), (found, self._found)):
            columns["images"] += self._num_images
            parts.append(columns)
        self._num_images += count

    def result(self) -> dict[str, Any]:
        """Return the numbers that `evaluate_detection` returns."""
        if not self._num_images:
            nothing = Detection(self.num_classes, self.engine)
            empty = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}
            nothing.update([empty], [{**empty, "scores": np.zeros(0)}])
            return nothing.result()
        true = boxes.concatenate(self._true)
        found = boxes.concatenate(self._found)
        seen = np.unique(true["labels"][~true["ignored"]])
        return {
            **coco.average_precisions(
                true, found, self.num_classes, self._num_images, self.engine
            ),
            **voc.average_precisions(true, found, self.num_classes),
            "counted": len(seen),
        }
