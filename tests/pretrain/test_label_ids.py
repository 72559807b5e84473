import numpy as np
import pytest
from keras import ops

from keras_jft.pretrain import label_ids

pytestmark = pytest.mark.ops


def test_the_first_slot_that_names_a_class_decides():
    # 4 twice; 2 present, then unknown; 7 unknown, then present; padding.
    labels = np.array([[4, -1, 4, 2, -2 - 2, -2 - 7, 7, -2 - 0]])
    classes, is_label, is_unknown = map(
        ops.convert_to_numpy, label_ids.read(labels)
    )
    assert classes[is_label].tolist() == [4, 2]
    assert classes[is_unknown].tolist() == [7, 0]


def test_ids_may_come_as_floats():
    classes, is_label, _ = label_ids.read(np.array([[18_290.0, -1.0]], "f4"))
    assert ops.convert_to_numpy(classes).tolist() == [[18_290, 0]]
    assert ops.convert_to_numpy(is_label).tolist() == [[True, False]]


def test_sums_correct_one_pass_over_all_classes_at_the_ids():
    def losses_and_slopes(x, is_label, classes):
        return (100.0 * x if is_label else x), x

    logits = np.array([[1, 2, 4, 8], [1, 2, 4, 8]], "float32")
    labels = np.array([[1, -2 - 3, -1], [-1, -1, -1]])
    totals = label_ids.sum_over_classes(
        labels, ops.array(logits), losses_and_slopes
    )
    # 1 + 100 * 2 + 4, class 3 left out; then all four as absent.
    np.testing.assert_array_equal(ops.convert_to_numpy(totals), [205.0, 15.0])


def test_unknown_labels_are_encoded_alike_in_numpy_and_tensorflow():
    labels = np.array([[3, -1], [0, 5]], "int32")
    unknown = np.array([[7, -1], [-1, 0]], "int64")
    expected = [[3, -1, -9, -1], [0, 5, -1, -2]]
    encoded = label_ids.encode_unknown(labels, unknown)
    assert encoded.tolist() == expected
    assert encoded.dtype == labels.dtype
    tf = pytest.importorskip("tensorflow")
    encoded = label_ids.encode_unknown(
        tf.constant(labels), tf.constant(unknown)
    )
    assert encoded.numpy().tolist() == expected
    assert encoded.dtype == tf.int32
