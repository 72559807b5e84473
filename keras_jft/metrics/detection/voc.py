"""Average precision of boxes, as Pascal VOC defines it.

A detection is compared with the true box of its class and image that it
overlaps most. With an IoU of 0.5 or more it is right, unless a detection with a
higher score has found the same box already, which makes it wrong. A detection
of a difficult object is neither. Boxes here are half-open (a box from 0 to 10
is 10 wide), so that areas need no "+ 1" as in the devkit.

Shapes: n true boxes, m detections, p pairs of a detection and a true box, C
classes.

References:
    Everingham et al. 2010, "The Pascal Visual Object Classes (VOC) Challenge",
    section 4.2.2 (11 recalls); the devkits of 2007 (11 recalls) and 2010 (the
    area below the curve).
"""

import numpy as np

IOU = 0.5


def average_precisions(truth, found, num_classes):
    """Return `{"voc_ap", "voc07_ap", "per_class_voc_ap"}`, fractions.

    Args:
        truth: Columns of true boxes, as `boxes.true_boxes` returns them. Those
            that are `ignored` are difficult.
        found: Columns of predicted boxes.
        num_classes: Number of classes C.

    Returns:
        `voc_ap`, the area below the curve, averaged over the classes with true
        boxes; `voc07_ap`, the mean precision at 11 recalls, averaged likewise;
        `per_class_voc_ap`, `(C,)` areas.
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
        areas[label] = _area_below(recalls, precisions)
        eleven[label] = _at_eleven_points(recalls, precisions)
    return {
        "voc_ap": _mean(areas),
        "voc07_ap": _mean(eleven),
        "per_class_voc_ap": areas,
    }


def _area_below(recalls, precisions):
    """Return the area below the curve of precision, made to fall with recall.

    Args:
        recalls: `(m,)`, rising.
        precisions: `(m,)`.

    Example:

    >>> _area_below(np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 0.75]))
    0.875
    """
    highest = np.maximum.accumulate(precisions[::-1])[::-1]
    steps = np.diff(recalls, prepend=0.0)
    return float((steps * highest).sum())


def _at_eleven_points(recalls, precisions):
    """Return the mean over recalls 0, 0.1, ... 1 of the best precision there.

    The best precision at a recall is the highest at that recall or above.

    Args:
        recalls: `(m,)`, rising.
        precisions: `(m,)`.

    Example:

    >>> _at_eleven_points(np.array([0.5, 1.0]), np.array([1.0, 0.45]))
    0.75
    """
    levels = np.arange(11) / 10
    return float(
        np.mean([precisions[recalls >= r].max(initial=0.0) for r in levels])
    )


def _mean(values):
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def _judged(truth, found):
    """Return which detections are right, and which count, `(m,)` bool each.

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
    # `unique` finds the first detection of each box: that of highest score.
    _, first = np.unique(boxes[~difficult], return_index=True)
    right[detections[~difficult][first]] = True
    return right, counted


def _pairs(truth, found):
    """Pair each detection with each true box of its image and class.

    Returns:
        `(p,)` detections and `(p,)` true boxes, by detection, then by box.
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
    """Return the pair with the highest IoU of each detection, and that IoU."""
    ious = _iou(found["boxes"][detections], truth["boxes"][boxes])
    order = np.lexsort((boxes, -ious, detections))
    _, first = np.unique(detections[order], return_index=True)
    best = order[first]
    return detections[best], boxes[best], ious[best]


def _iou(a, b):
    """Return the IoU of boxes `(p, 4)`, row by row."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    both = np.maximum(sides, 0).prod(-1)
    area_a, area_b = ((box[:, 2:] - box[:, :2]).prod(-1) for box in (a, b))
    return both / (area_a + area_b - both)
