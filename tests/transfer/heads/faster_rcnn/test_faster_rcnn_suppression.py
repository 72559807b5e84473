import numpy as np
import numpy_rcnn
import pytest
from keras import ops

from keras_jft.transfer.heads.faster_rcnn import suppression

pytestmark = pytest.mark.ops


def _random_boxes(rng, *shape):
    low = rng.uniform(0, 30, (*shape, 2))
    return np.concatenate(
        [low, low + rng.uniform(5, 30, (*shape, 2))], axis=-1
    ).astype("float32")


@pytest.mark.parametrize("most", [3, 30])
@pytest.mark.parametrize("loop", [False, True])
def test_boxes_that_overlap_better_ones_are_suppressed(most, loop, rng):
    boxes = _random_boxes(rng, 3, 40)
    # Rounded, so that scores tie; some are 0.
    scores = rng.random((3, 40)).round(1).astype("float32")
    scores[2] = 0
    function = suppression._suppress_loop if loop else suppression.suppress
    kept = ops.convert_to_numpy(
        function(ops.array(boxes), ops.array(scores), 0.5, most)
    )
    assert kept.shape == (3, most)
    for b in range(3):
        expected = numpy_rcnn.suppress(boxes[b], scores[b], 0.5, most)
        padding = [-1] * (most - len(expected))
        assert kept[b].tolist() == expected + padding
    assert loop or (kept[2] == -1).all()


def test_fewer_boxes_than_may_be_kept_are_padded():
    boxes = ops.array([[[0.0, 0.0, 1.0, 1.0]]])
    kept = suppression.suppress(boxes, ops.array([[0.5]]), 0.5, 4)
    assert ops.convert_to_numpy(kept).tolist() == [[0, -1, -1, -1]]


@pytest.mark.parametrize("loop", [False, True])
def test_classes_are_suppressed_alone_and_ranked_together(loop, rng):
    boxes = _random_boxes(rng, 2, 30, 3)
    scores = rng.random((2, 30, 3)).astype("float32")
    scores[rng.random(scores.shape) < 0.3] = 0
    scores[1, :, 1:] = 0
    expected = [[], []]
    for b in range(2):
        for c in range(3):
            kept = numpy_rcnn.suppress(boxes[b, :, c], scores[b, :, c], 0.5, 6)
            expected[b] += [(scores[b, i, c], c, i) for i in kept]
        expected[b] = sorted(expected[b], reverse=True)[:12]
    if loop:
        found = suppression._suppress_classes_loop(
            *map(ops.array, (boxes, scores)), 0.5, 6, 12
        )
    else:
        found = suppression.suppress_classes(
            *map(ops.array, (boxes, scores)), 0.5, 6, 12
        )
    found_boxes, found_scores, labels = map(ops.convert_to_numpy, found)
    assert (len(expected[0]), len(expected[1])) == (12, 6)
    for b in range(2):
        for row, (score, c, i) in enumerate(expected[b]):
            assert (found_scores[b, row], labels[b, row]) == (score, c)
            np.testing.assert_array_equal(found_boxes[b, row], boxes[b, i, c])
    if not loop:
        assert (found_boxes[1, 6:] == -1).all() and (labels[1, 6:] == -1).all()
        assert (found_scores[1, 6:] == -1).all()
