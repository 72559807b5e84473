"""Average precision of boxes as Pascal VOC defines it.

A detection is compared with the true box of its class and image that it covers
best. With an IoU of 0.5 or more it is right if no detection of a higher score
was; a second one is wrong; one of a difficult object is neither. Boxes reach
from side to side: as areas are counted here, the devkit's "+ 1" is in them.

Shapes: n true boxes, m detections, p pairs of one of each, C classes.

References:
    Everingham et al. 2010, "The Pascal Visual Object Classes (VOC) Challenge",
    section 4.2.2 (11 points); the devkits of 2007 (11 points) and 2010 (the
    area below the curve).
"""

import numpy as np

IOU = 0.5


def average_precisions(truth, found, num_classes):
    """`{"voc_ap", "voc07_ap", "per_class_voc_ap"}`, fractions.

    Args:
        truth: Columns of true boxes, as `detection_boxes.true_boxes` gives
            them; `ignored` ones are difficult.
        found: Columns of predicted boxes.
        num_classes: C.

    Returns:
        `voc_ap`, the mean over the classes with truth of the area below the
        curve; `voc07_ap`, that of 11 points; `per_class_voc_ap`, `(C,)` areas.
    """
    order = np.argsort(-found["scores"], kind="stable")
    found = {key: rows[order] for key, rows in found.items()}
    right, counted = _judged(truth, found)
    areas, eleven = np.full((2, num_classes), np.nan)
    for label in range(num_classes):
        true = (truth["labels"] == label) & ~truth["ignored"]
        if not true.any():
            continue
        of_class = (found["labels"] == label) & counted
        hits = right[of_class].cumsum()
        recalls = hits / true.sum()
        precisions = hits / np.arange(1, len(hits) + 1)
        areas[label] = area_below(recalls, precisions)
        eleven[label] = at_eleven_points(recalls, precisions)
    return {
        "voc_ap": _mean(areas),
        "voc07_ap": _mean(eleven),
        "per_class_voc_ap": areas,
    }


def area_below(recalls, precisions):
    """The area below the curve, made to fall.

    Args:
        recalls: `(m,)`, rising.
        precisions: `(m,)`.

    Example:

    >>> area_below(np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 0.75]))
    0.875
    """
    highest = np.maximum.accumulate(precisions[::-1])[::-1]
    steps = np.diff(recalls, prepend=0.0)
    return float((steps * highest).sum())


def at_eleven_points(recalls, precisions):
    """The mean of the highest precision at recall 0, 0.1, ... 1 and above.

    Args:
        recalls: `(m,)`, rising.
        precisions: `(m,)`.

    Example:

    >>> at_eleven_points(np.array([0.5, 1.0]), np.array([1.0, 0.45]))
    0.75
    """
    points = np.arange(11) / 10
    return float(
        np.mean([precisions[recalls >= p].max(initial=0.0) for p in points])
    )


def _mean(values):
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def _judged(truth, found):
    """Which detections are right, and which count, both `(m,)` bool.

    Args:
        truth: Columns of true boxes.
        found: Columns of detections, by falling score.
    """
    right = np.zeros(len(found["labels"]), bool)
    counted = np.ones_like(right)
    detections, boxes, ious = _best(*_pairs(truth, found), truth, found)
    covers = ious >= IOU
    detections, boxes = detections[covers], boxes[covers]
    difficult = truth["ignored"][boxes]
    counted[detections[difficult]] = False
    # `unique` gives the first of each box, which has the highest score.
    _, first = np.unique(boxes[~difficult], return_index=True)
    right[detections[~difficult][first]] = True
    return right, counted


def _pairs(truth, found):
    """Each detection with each true box of its image and class, `(p,)` twice.

    They are sorted by detection, then by box.
    """
    most = 1 + max(c["labels"].max(initial=0) for c in (truth, found))
    keys = truth["images"] * most + truth["labels"]
    order = np.argsort(keys, kind="stable")
    wanted = found["images"] * most + found["labels"]
    starts = np.searchsorted(keys[order], wanted, "left")
    counts = np.searchsorted(keys[order], wanted, "right") - starts
    detections = np.repeat(np.arange(len(wanted)), counts)
    within = np.arange(counts.sum()) - np.repeat(
        counts.cumsum() - counts, counts
    )
    return detections, order[np.repeat(starts, counts) + within]


def _best(detections, boxes, truth, found):
    """The pair of the highest IoU of each detection, and that IoU."""
    ious = _iou(found["boxes"][detections], truth["boxes"][boxes])
    order = np.lexsort((boxes, -ious, detections))
    _, first = np.unique(detections[order], return_index=True)
    best = order[first]
    return detections[best], boxes[best], ious[best]


def _iou(a, b):
    """IoU of boxes `(p, 4)` row by row."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    both = np.maximum(sides, 0).prod(-1)
    area_a, area_b = ((box[:, 2:] - box[:, :2]).prod(-1) for box in (a, b))
    return both / (area_a + area_b - both)
