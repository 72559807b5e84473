import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score

from keras_jft.metrics import Segmentation, evaluate_segmentation


def brute_force(masks, predictions, num_classes):
    """IoU of each class, pixel by pixel; None where the class is absent."""
    ious = []
    for c in range(num_classes):
        both, either = 0, 0
        for mask, prediction in zip(masks, predictions, strict=True):
            for t, p in zip(mask.flat, prediction.flat, strict=True):
                if t != 255:
                    both += t == c and p == c
                    either += t == c or p == c
        ious.append(both / either if either else None)
    return ious


@pytest.fixture
def pair(rng):
    """Masks with void and predictions of 5 classes, of which 4 occur."""
    masks = rng.integers(0, 3, (4, 6, 5)).astype(np.uint8)
    masks[rng.random(masks.shape) < 0.2] = 255
    return masks, rng.integers(0, 4, masks.shape)


def test_numbers_equal_a_loop_over_pixels(pair):
    result = evaluate_segmentation(*pair, num_classes=5)
    ious = brute_force(*pair, num_classes=5)
    assert ious[4] is None
    assert ious[3] == 0  # Predicted but never true: an error, not absent.
    np.testing.assert_allclose(result["per_class"][:4], ious[:4])
    assert np.isnan(result["per_class"][4])
    assert result["miou"] == pytest.approx(np.mean(ious[:4]))
    assert result["counted"] == 4


def test_numbers_equal_scikit_learn(pair):
    masks, predictions = pair
    result = evaluate_segmentation(masks, predictions, num_classes=4)
    kept = masks != 255
    true, predicted = masks[kept], predictions[kept]
    np.testing.assert_array_equal(
        result["confusion"], confusion_matrix(true, predicted)
    )
    expected = jaccard_score(true, predicted, average=None, zero_division=0)
    np.testing.assert_allclose(result["per_class"], expected)
    accuracy = (true == predicted).mean()
    assert result["pixel_accuracy"] == pytest.approx(accuracy)


def test_images_of_different_sizes_and_a_channel_axis_are_the_same(pair):
    masks, predictions = pair
    whole = evaluate_segmentation(masks, predictions, num_classes=4)
    cut = evaluate_segmentation(
        [masks[0], masks[1, :3], masks[1, 3:], *masks[2:]],
        [
            predictions[0],
            predictions[1, :3],
            predictions[1, 3:],
            *predictions[2:],
        ],
        num_classes=4,
    )
    channel = evaluate_segmentation(
        masks[..., None], predictions[..., None], num_classes=4
    )
    np.testing.assert_equal(cut, whole)
    np.testing.assert_equal(channel, whole)


def test_an_image_of_void_alone_changes_nothing(pair):
    metric = Segmentation(num_classes=4)
    metric.update(*pair)
    before = metric.result()
    metric.update(np.full((1, 2, 2), 255), np.zeros((1, 2, 2), int))
    np.testing.assert_equal(metric.result(), before)


@pytest.mark.filterwarnings("ignore:.*one class")
def test_counts_do_not_overflow_the_type_of_the_masks():
    masks = np.full((1, 40, 40), 199, np.uint8)
    result = evaluate_segmentation(masks, masks, num_classes=200)
    assert result["confusion"][199, 199] == 1600
    assert result["miou"] == 1


@pytest.mark.parametrize(
    ("mask", "prediction", "message"),
    [
        (np.zeros((4, 4), int), np.zeros((2, 2), int), "size of its mask"),
        (np.full((2, 2), 7), np.zeros((2, 2), int), "Mask values.*7 to 7"),
        (np.zeros((2, 2), int), np.full((2, 2), 3), "Prediction values.*3"),
        (np.zeros((2, 2), int), np.full((2, 2), -1), "Prediction values.*-1"),
        (np.zeros((2, 2, 3), int), np.zeros((2, 2, 3), int), "RGB mask"),
        (np.zeros((2, 2)), np.zeros((2, 2)), "dtype float64"),
    ],
)
def test_wrong_input_is_refused_with_what_was_expected(
    mask, prediction, message
):
    with pytest.raises(ValueError, match=message):
        evaluate_segmentation([mask], [prediction], num_classes=3)


def test_a_missing_prediction_is_refused():
    mask = np.zeros((2, 2), int)
    with pytest.raises(ValueError, match="2 masks, 1 prediction"):
        evaluate_segmentation([mask, mask], [mask], num_classes=3)


def test_void_cannot_be_a_class():
    with pytest.raises(ValueError, match="`void` not a class"):
        Segmentation(num_classes=300)


def test_a_mean_over_one_class_says_so():
    masks = np.array([[[0, 0, 255]]])
    with pytest.warns(UserWarning, match="of 2, only class 0"):
        result = evaluate_segmentation(masks, np.zeros((1, 1, 3), int), 2)
    assert (result["miou"], result["counted"]) == (1.0, 1)
    evaluate_segmentation(masks, np.zeros((1, 1, 3), int), 1)  # No warning.
    evaluate_segmentation(masks, np.array([[[0, 1, 0]]]), 2)
