"""Faster R-CNN in NumPy loops, straight from the papers: the tests' oracle."""

import numpy as np

BACKGROUND, UNCOUNTED = -1, -2


def overlap(one, two):
    """Intersection over union, and over the area of `one`."""
    sides = np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2])
    both = np.prod(np.maximum(sides, 0))
    area = np.prod(one[2:] - one[:2])
    other = np.prod(two[2:] - two[:2])
    return both / (area + other - both), both / area


def match(candidates, boxes, labels, ignored, positive, negative, allowed=None):
    """Match of each candidate of one image; forced where `allowed` is given."""
    matches = []
    objects = [
        n for n, label in enumerate(labels) if label >= 0 and not ignored[n]
    ]
    for candidate in candidates:
        best, which = -1, None
        for n in objects:
            found, _ = overlap(candidate, boxes[n])
            if found > best:
                best, which = found, n
        is_ignored = any(
            ignored[n] and overlap(candidate, boxes[n])[1] >= negative
            for n in range(len(boxes))
        )
        if best >= positive:
            matches.append(which)
        elif best >= negative or is_ignored:
            matches.append(UNCOUNTED)
        else:
            matches.append(BACKGROUND)
    if allowed is None:
        return matches
    for n in objects:
        overlaps = [
            overlap(candidate, boxes[n])[0] if ok else -1
            for candidate, ok in zip(candidates, allowed, strict=True)
        ]
        if max(overlaps) >= 0:
            matches[int(np.argmax(overlaps))] = n
    return [
        found if ok else UNCOUNTED
        for found, ok in zip(matches, allowed, strict=True)
    ]


def suppress(boxes, scores, threshold, most):
    """Indices of the boxes that greedy suppression keeps."""
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if scores[i] <= 0 or len(kept) == most:
            break
        if all(overlap(boxes[i], boxes[j])[0] <= threshold for j in kept):
            kept.append(i)
    return kept


def parts(box):
    x1, y1, x2, y2 = np.asarray(box, "float64")
    return (y1 + y2) / 2, (x1 + x2) / 2, y2 - y1, x2 - x1


def encode(box, anchor):
    """ty, tx, th, tw of one box."""
    (y, x, h, w), (ya, xa, ha, wa) = parts(box), parts(anchor)
    return np.array(
        [
            10 * (y - ya) / ha,
            10 * (x - xa) / wa,
            5 * np.log(h / ha),
            5 * np.log(w / wa),
        ]
    )


def decode(code, anchor, size):
    """The box of a code, cut to an image of `(H, W)`."""
    ya, xa, ha, wa = parts(anchor)
    y, x = ya + code[0] / 10 * ha, xa + code[1] / 10 * wa
    h, w = ha * np.exp(code[2] / 5), wa * np.exp(code[3] / 5)
    box = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    return np.clip(box, 0, [size[1], size[0], size[1], size[0]])


def softmax(logits):
    exp = np.exp(logits - logits.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


def smooth_l1(code, target):
    errors = abs(code - target)
    return np.where(errors < 1, 0.5 * errors**2, errors - 0.5).sum()


def stage_losses(matches, boxes, classes, candidates, logits, codes_of):
    """Class and box loss of one image, averaged over all counted candidates.

    Args:
        matches: Of each candidate.
        boxes: `(N, 4)` objects.
        classes: `(N,)` what the logits call them.
        candidates: `(A, 4)`.
        logits: `(A, C)`, background first.
        codes_of: `codes_of(candidate, box)`: its code for that box.
    """
    counted = [a for a, found in enumerate(matches) if found != UNCOUNTED]
    class_loss = box_loss = 0.0
    for a in counted:
        found = matches[a]
        label = 0 if found == BACKGROUND else classes[found]
        class_loss -= np.log(softmax(logits[a].astype("float64"))[label])
        if found >= 0:
            target = encode(boxes[found], candidates[a])
            box_loss += smooth_l1(codes_of(a, found), target)
    count = max(len(counted), 1)
    return class_loss / count, box_loss / count


def average_precision(truth, found):
    """AP at an overlap of .5 over all points, averaged over the classes."""
    scores = []
    for label in np.unique(truth["labels"][truth["labels"] >= 0]):
        objects = [
            boxes[labels == label]
            for boxes, labels in zip(
                truth["boxes"], truth["labels"], strict=True
            )
        ]
        ranked = sorted(
            (-found["scores"][i, n], i, n)
            for i, n in np.argwhere(found["labels"] == label)
        )
        taken, hits = set(), []
        for _, i, n in ranked:
            overlaps = [
                overlap(found["boxes"][i, n], box)[0] for box in objects[i]
            ]
            best = int(np.argmax(overlaps)) if overlaps else None
            is_hit = (
                best is not None
                and overlaps[best] >= 0.5
                and (i, best) not in taken
            )
            taken |= {(i, best)} if is_hit else set()
            hits.append(is_hit)
        hits = np.cumsum(hits)
        recall = np.concatenate([[0], hits / sum(map(len, objects))])
        precision = hits / np.arange(1, len(hits) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        scores.append((np.diff(recall) * precision).sum())
    return np.mean(scores)
