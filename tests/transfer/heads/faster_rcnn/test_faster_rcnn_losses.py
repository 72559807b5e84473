import numpy as np
import pytest
from keras import ops

from keras_jft.transfer.heads.faster_rcnn import losses

pytestmark = pytest.mark.ops


def test_smooth_l1_is_square_below_one_and_linear_above():
    targets = np.zeros((2, 4), "float32")
    codes = np.array([[0.5, -0.5, 1, 0], [2, -3, 0.1, 0]], "float32")
    np.testing.assert_allclose(
        ops.convert_to_numpy(losses._smooth_l1(targets, ops.array(codes))),
        [0.125 + 0.125 + 0.5, 1.5 + 2.5 + 0.005],
        rtol=1e-6,
    )


def test_the_class_loss_is_a_mean_over_the_samples():
    classes = np.array([[0, 1, -1], [-1, -1, -1]], "int32")
    logits = np.zeros((2, 3, 2), "float32")
    logits[0, 1] = [0, np.log(3)]
    logits[0, 2] = [50, -50]  # no sample
    found = losses.class_loss(ops.array(classes), ops.array(logits))
    np.testing.assert_allclose(
        ops.convert_to_numpy(found),
        [(np.log(2) + np.log(4 / 3)) / 2, 0],
        rtol=1e-6,
    )


def test_the_box_loss_is_of_objects_and_over_all_samples():
    classes = np.array([[0, 2, -1, 1], [0, 0, 0, 0]], "int32")
    codes = np.zeros((2, 4, 4), "float32")
    codes[0, 1, 0], codes[0, 3, 1] = 3, 0.2
    codes[0, 0] = np.inf  # of background
    targets = np.zeros_like(codes)
    targets[1] = np.nan
    found = losses.box_loss(*map(ops.array, (classes, targets, codes)))
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), [(2.5 + 0.02) / 3, 0], rtol=1e-6
    )
