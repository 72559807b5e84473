"""VOC's numbers, worked by hand and by a loop as the devkit has it."""

import numpy as np
import pytest

from keras_jft import metrics


def test_a_case_worked_by_hand():
    truth = [
        {
            "boxes": [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]],
            "labels": [0, 0, 0],
            "ignored": [False, False, True],
        },
        {
            "boxes": [[0, 0, 10, 10], [0, 0, 10, 10]],
            "labels": [0, 1],
            "ignored": [False, False],
        },
    ]
    found = [
        {
            # Right, again the same one, difficult, IoU 4/16 with the second.
            "boxes": [[0, 0, 10, 9], [0, 0, 10, 10], [40, 0, 50, 10]]
            + [[26, 0, 36, 10]],
            "labels": [0, 0, 0, 0],
            "scores": [0.9, 0.8, 0.95, 0.6],
        },
        # IoU 1/2, which is enough; a label that the image does not have.
        {
            "boxes": [[0, 0, 10, 5], [0, 0, 10, 10]],
            "labels": [0, 2],
            "scores": [0.7, 0.99],
        },
    ]
    result = metrics.evaluate_detection(truth, found, num_classes=3)
    # Class 0, three to be found: right, wrong, right, wrong; recalls 1/3, 1/3,
    # 2/3, 2/3; precisions 1, 1/2, 2/3, 1/2. Class 1: nothing found.
    area = 1 / 3 * 1 + 1 / 3 * 2 / 3
    eleven = (4 * 1 + 3 * 2 / 3) / 11  # 0 to 0.3, 0.4 to 0.6.
    assert result["per_class_voc_ap"][:2].tolist() == pytest.approx([area, 0])
    assert np.isnan(result["per_class_voc_ap"][2])
    assert result["voc_ap"] == pytest.approx(area / 2)
    assert result["voc07_ap"] == pytest.approx(eleven / 2)
    assert result["counted"] == 2


def _overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (
        (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    )


def _devkit(truth, found, label):
    """Return the area and the 11-recall mean of a class, as VOCevaldet.m."""
    lines = [
        (score, image, box)
        for image, entry in enumerate(found)
        for score, box, other in zip(
            entry["scores"], entry["boxes"], entry["labels"], strict=True
        )
        if other == label
    ]
    lines.sort(key=lambda line: -line[0])
    of_image = [
        [
            [box, hard, False]
            for box, hard, other in zip(
                entry["boxes"], entry["ignored"], entry["labels"], strict=True
            )
            if other == label
        ]
        for entry in truth
    ]
    positives = sum(not hard for image in of_image for _, hard, _ in image)
    hits, misses, curve = 0, 0, []
    for _, image, box in lines:
        overlaps = [_overlap(box, true[0]) for true in of_image[image]]
        best = int(np.argmax(overlaps)) if overlaps else None
        if best is not None and overlaps[best] >= 0.5:
            true = of_image[image][best]
            if true[1]:
                continue
            hits, misses = hits + (not true[2]), misses + true[2]
            true[2] = True
        else:
            misses += 1
        curve.append((hits / positives, hits / (hits + misses)))
    area, before = 0.0, 0.0
    for i, (recall, _) in enumerate(curve):
        area += (recall - before) * max(p for _, p in curve[i:])
        before = recall
    eleven = [
        max([p for r, p in curve if r >= t / 10], default=0.0)
        for t in range(11)
    ]
    return area, sum(eleven) / 11


def test_any_scene_scores_as_by_the_devkit(rng):
    truth, found = [], []
    for _ in range(20):
        count = rng.integers(0, 8)
        corner = rng.uniform(0, 60, (count, 2))
        side = rng.uniform(5, 40, (count, 2))
        boxes = np.concatenate([corner, corner + side], -1)
        labels = rng.integers(0, 3, count)
        hard = rng.random(count) < 0.2
        truth.append({"boxes": boxes, "labels": labels, "ignored": hard})
        near = rng.integers(0, count, 3 * count) if count else np.zeros(0, int)
        moved = boxes[near] + rng.normal(0, 4, (len(near), 2))[:, [0, 1, 0, 1]]
        found.append(
            {
                "boxes": moved,
                "labels": np.where(
                    rng.random(len(near)) < 0.8,
                    labels[near],
                    rng.integers(0, 3, len(near)),
                ),
                "scores": rng.random(len(near)),
            }
        )
    result = metrics.evaluate_detection(truth, found, num_classes=3)
    areas, eleven = np.transpose([_devkit(truth, found, c) for c in range(3)])
    assert 0.1 < areas.min() < areas.max() < 0.9
    np.testing.assert_allclose(result["per_class_voc_ap"], areas, atol=1e-12)
    assert result["voc_ap"] == pytest.approx(areas.mean())
    assert result["voc07_ap"] == pytest.approx(eleven.mean())
