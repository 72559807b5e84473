import keras
import numpy as np
import numpy_rcnn
import pytest
from keras import ops

from keras_jft.transfer.heads.faster_rcnn import boxes as boxes_lib
from keras_jft.transfer.heads.faster_rcnn.boxes import BACKGROUND, UNCOUNTED

pytestmark = pytest.mark.ops


def _grid_boxes(rng, *shape):
    """Boxes of whole numbers, so that many overlaps are equal."""
    low = rng.integers(0, 6, (*shape, 2))
    return np.concatenate(
        [low, low + rng.integers(1, 5, (*shape, 2))], axis=-1
    ).astype("float32")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("thresholds", [(0.7, 0.3), (0.5, 0.5)])
def test_matches_are_those_of_the_loops(seed, thresholds):
    rng = np.random.default_rng(seed)
    positive, negative = thresholds
    candidates, boxes = _grid_boxes(rng, 60), _grid_boxes(rng, 3, 5)
    labels = rng.integers(-1, 3, (3, 5)).astype("int32")
    labels[2] = -1  # an image without objects
    ignored = (rng.random((3, 5)) < 0.3) & (labels >= 0)
    allowed = rng.random((3, 60)) < 0.5
    allowed[1] = False  # an image smaller than every anchor
    found, overlaps = boxes_lib.match(
        ops.array(candidates),
        ops.array(boxes),
        ops.array(labels),
        ops.array(ignored),
        positive=positive,
        negative=negative,
    )
    forced = boxes_lib.force(found, overlaps, ops.array(allowed))
    for b in range(3):
        truth = candidates, boxes[b], labels[b], ignored[b], positive, negative
        np.testing.assert_array_equal(
            ops.convert_to_numpy(found)[b], numpy_rcnn.match(*truth)
        )
        np.testing.assert_array_equal(
            ops.convert_to_numpy(forced)[b],
            numpy_rcnn.match(*truth, allowed[b]),
        )


def test_padding_that_is_ignored_is_padding():
    cell = np.float32([[[0, 0, 4, 4], [2, 2, 6, 6]]])
    matches = [
        boxes_lib.match(
            ops.array(cell),
            ops.array(np.float32([[[0, 0, 8, 8]]])),
            ops.array(np.int32([[label]])),
            ops.array([[True]]),
            positive=0.7,
            negative=0.3,
        )[0]
        for label in (-1, 0)
    ]
    padding, ignored = map(ops.convert_to_numpy, matches)
    assert (padding == BACKGROUND).all()
    assert (ignored == UNCOUNTED).all()


def test_every_object_has_an_anchor_even_without_overlap():
    candidates = np.array([[0, 0, 4, 4], [10, 10, 14, 14]], "float32")
    boxes = np.array([[[20, 20, 22, 22], [0, 0, 4, 3]]], "float32")
    labels = np.zeros((1, 2), "int32")
    found, overlaps = boxes_lib.match(
        *map(ops.array, (candidates, boxes, labels, labels == 1)),
        positive=0.7,
        negative=0.3,
    )
    assert ops.convert_to_numpy(found).tolist() == [[1, BACKGROUND]]
    forced = boxes_lib.force(found, overlaps, ops.ones((1, 2), "bool"))
    # Both are at 0 for the first object: the first anchor; the last wins it.
    assert ops.convert_to_numpy(forced).tolist() == [[1, BACKGROUND]]
    allowed = ops.array([[False, True]])
    forced = boxes_lib.force(found, overlaps, allowed)
    assert ops.convert_to_numpy(forced).tolist() == [[UNCOUNTED, 1]]


def test_samples_are_half_objects_at_most_and_filled_with_background():
    rng = np.random.default_rng(0)
    matches = np.full((4, 400), BACKGROUND, "int32")
    matches[0, :100], matches[1, :10] = 3, 7
    matches[2] = UNCOUNTED
    matches[3, :390] = UNCOUNTED
    matches = rng.permuted(matches, axis=1)
    indices, sampled = (
        ops.convert_to_numpy(x)
        for x in boxes_lib.sample(ops.array(matches), 64, 32, seed=1)
    )
    counts = [
        ((row >= 0).sum(), (row == BACKGROUND).sum(), (row == UNCOUNTED).sum())
        for row in sampled
    ]
    assert counts == [(32, 32, 0), (10, 54, 0), (0, 0, 64), (0, 10, 54)]
    for row in range(4):
        drawn = indices[row][sampled[row] != UNCOUNTED]
        assert len(set(drawn)) == len(drawn)
        np.testing.assert_array_equal(
            matches[row][drawn], sampled[row][sampled[row] != UNCOUNTED]
        )
        # What is left over comes last.
        assert (np.diff((sampled[row] == UNCOUNTED).astype(int)) >= 0).all()


def test_every_candidate_is_drawn_equally_often():
    matches = np.full((500, 40), BACKGROUND, "int32")
    matches[:, ::2] = 0
    indices, sampled = (
        ops.convert_to_numpy(x)
        for x in boxes_lib.sample(ops.array(matches), 8, 4, seed=2)
    )
    assert (sampled != UNCOUNTED).all()
    counts = np.bincount(indices.ravel(), minlength=40)
    # 500 draws of 4 among 20: 100 each, with a deviation of 9.
    assert counts.sum() == 4000 and abs(counts - 100).max() < 40


def test_draws_differ_with_the_state_of_the_seed():
    matches = ops.full((1, 100), BACKGROUND, "int32")
    seed = keras.random.SeedGenerator(3)
    first, second = (
        ops.convert_to_numpy(boxes_lib.sample(matches, 10, 5, seed)[0])
        for _ in range(2)
    )
    assert set(first[0]) != set(second[0])


def test_fewer_candidates_than_samples_are_all_drawn():
    matches = ops.array([[0, BACKGROUND, UNCOUNTED]], "int32")
    indices, sampled = boxes_lib.sample(matches, 8, 4, seed=0)
    assert ops.convert_to_numpy(indices)[0, :2].tolist() == [0, 1]
    assert ops.convert_to_numpy(sampled).tolist() == [[0, -1] + 6 * [UNCOUNTED]]
