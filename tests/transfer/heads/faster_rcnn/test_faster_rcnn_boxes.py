import numpy as np
import pytest
from keras import ops

from keras_jft.transfer.heads.faster_rcnn import boxes as box_lib

pytestmark = pytest.mark.ops


def _random_boxes(rng, *shape):
    low = rng.uniform(0, 80, (*shape, 2))
    return np.concatenate(
        [low, low + rng.uniform(1, 60, (*shape, 2))], axis=-1
    ).astype("float32")


def test_anchor_sizes_are_those_of_the_published_generator():
    # grid_anchor_generator_test.py of the TensorFlow Object Detection API.
    sizes = box_lib.anchor_sizes(256, (0.5, 1.0, 2.0), (0.25, 1.0, 4.0))
    expected = [(256, 64), (512, 128), (1024, 256)]
    expected += [(128, 128), (256, 256), (512, 512)]
    expected += [(64, 256), (128, 512), (256, 1024)]
    np.testing.assert_allclose(sizes, expected)


def test_anchors_run_over_rows_then_columns_then_sizes():
    sizes = np.array([[8, 4], [2, 6]], "float32")
    found = ops.convert_to_numpy(box_lib.anchors((2, 3), 16, sizes))
    expected = [
        (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        for y in (0, 16)
        for x in (0, 16, 32)
        for h, w in sizes
    ]
    np.testing.assert_allclose(found, expected)


def test_boxes_are_inside_that_do_not_cross_the_border_of_their_image():
    boxes = np.array([[0, 0, 8, 6], [-1, 0, 2, 2], [3, 3, 9, 5]], "float32")
    sizes = np.array([[6, 8], [5, 9]], "int32")
    found = ops.convert_to_numpy(box_lib.are_inside(ops.array(boxes), sizes))
    assert found.tolist() == [[True, False, False], [False, False, True]]


def test_codes_are_the_published_ones(rng):
    anchors, boxes = _random_boxes(rng, 5), _random_boxes(rng, 2, 5)

    def parts(boxes):
        x1, y1, x2, y2 = np.moveaxis(boxes.astype("float64"), -1, 0)
        return (y1 + y2) / 2, (x1 + x2) / 2, y2 - y1, x2 - x1

    (ya, xa, ha, wa), (y, x, h, w) = parts(anchors), parts(boxes)
    expected = np.stack(
        [
            10 * (y - ya) / ha,
            10 * (x - xa) / wa,
            5 * np.log(h / ha),
            5 * np.log(w / wa),
        ],
        axis=-1,
    )
    codes = box_lib.encode(ops.array(boxes), ops.array(anchors))
    np.testing.assert_allclose(
        ops.convert_to_numpy(codes), expected, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(box_lib.decode(codes, ops.array(anchors))),
        boxes,
        atol=1e-3,
    )


def test_codes_by_class_are_decoded_from_one_proposal(rng):
    proposals = _random_boxes(rng, 2, 3)
    codes = rng.normal(0, 2, (2, 3, 4, 4)).astype("float32")
    found = ops.convert_to_numpy(
        box_lib.decode(ops.array(codes), ops.array(proposals[:, :, None]))
    )
    for c in range(4):
        one = box_lib.decode(ops.array(codes[:, :, c]), ops.array(proposals))
        np.testing.assert_allclose(
            found[:, :, c], ops.convert_to_numpy(one), rtol=1e-5
        )


def test_clipping_knows_the_size_of_each_image():
    boxes = np.array([[[-3, 2, 9, 9], [7, 0, 8, 4]]] * 2, "float32")
    clipped, is_left = box_lib.clip(
        ops.array(boxes), np.array([[5, 7], [20, 20]], "int32")
    )
    np.testing.assert_array_equal(
        ops.convert_to_numpy(clipped),
        [[[0, 2, 7, 5], [7, 0, 7, 4]], [[0, 2, 9, 9], [7, 0, 8, 4]]],
    )
    assert ops.convert_to_numpy(is_left).tolist() == [
        [True, False],
        [True, True],
    ]


def test_overlaps_are_intersection_over_union(rng):
    candidates, boxes = _random_boxes(rng, 7), _random_boxes(rng, 2, 3)
    boxes[0, 0] = candidates[0]
    expected = np.zeros((2, 7, 3))
    for b, a, n in np.ndindex(expected.shape):
        one, two = candidates[a], boxes[b, n]
        sides = np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2])
        both = np.prod(np.maximum(sides, 0))
        areas = np.prod(one[2:] - one[:2]) + np.prod(two[2:] - two[:2])
        expected[b, a, n] = both / (areas - both)
    assert expected[0, 0, 0] == 1
    np.testing.assert_allclose(
        ops.convert_to_numpy(
            box_lib._iou(ops.array(candidates), ops.array(boxes))
        ),
        expected,
        atol=1e-6,
    )


def test_overlaps_hold_for_boxes_below_a_pixel():
    box = np.array([[0.1, 0.1, 0.2, 0.15]], "float32")  # 0.005 square pixels
    found = box_lib._iou(ops.array(box), ops.array(box[None]))
    np.testing.assert_allclose(ops.convert_to_numpy(found), 1, atol=1e-4)
