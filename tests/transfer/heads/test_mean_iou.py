"""The Keras mean IoU against scikit-learn and the NumPy metric."""

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import jaccard_score

from keras_jft import training
from keras_jft.metrics import evaluate_segmentation
from keras_jft.transfer import DeepLabASPP, MeanIoU
from keras_jft.transfer.heads import mean_iou


@pytest.fixture
def pair(rng):
    """Masks with void and logits of 5 classes, of which 4 occur."""
    masks = rng.integers(0, 3, (6, 7, 5, 1)).astype("uint8")
    masks[rng.random(masks.shape) < 0.2] = 255
    logits = rng.normal(size=(6, 7, 5, 5)).astype("float32")
    logits[..., 4] = -99
    return masks, logits


@pytest.mark.ops
def test_it_is_the_mean_of_scikit_learn_over_the_classes_present(pair):
    masks, logits = pair
    metric = MeanIoU(num_classes=5, stride=1)
    for part in (slice(4), slice(4, 6)):
        metric.update_state(masks[part], logits[part])
    kept = masks[..., 0] != 255
    expected = jaccard_score(
        masks[kept][..., 0], logits[kept].argmax(-1), average="macro"
    )
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
    metric.reset_state()
    assert np.isnan(float(metric.result()))


@pytest.mark.ops
def test_counts_above_32_bits_are_exact():
    metric = MeanIoU(num_classes=2, stride=1)
    masks = np.array([[[[0], [1]]]], "uint8")
    metric.update_state(masks, np.eye(2)[masks[..., 0]])
    states = [[ops.convert_to_numpy(v) for v in metric.variables]] * 2
    # As after 2 ** 48 pixels of each class.
    states[0][1][...] = np.eye(2) * (2**48 // mean_iou.CARRY)
    confusion, carried, _ = metric.merge(states)
    total = carried.astype("int64") * mean_iou.CARRY + confusion
    assert total.tolist() == [[2**49 + 2, 0], [0, 2**49 + 2]]
    for variable, value in zip(
        metric.variables, metric.merge(states), strict=True
    ):
        variable.assign(value)
    metric.update_state(masks, np.eye(2)[1 - masks[..., 0]])
    assert float(metric.result()) == pytest.approx(1)


@pytest.mark.ops
def test_full_counts_are_carried_over():
    metric = MeanIoU(num_classes=2, stride=1)
    metric.confusion.assign(np.full((2, 2), mean_iou.CARRY - 1, "int32"))
    masks = np.array([[[[0], [1]]]], "uint8")
    metric.update_state(masks, np.eye(2)[masks[..., 0]])
    low, high = (
        ops.convert_to_numpy(v) for v in (metric.confusion, metric.carried)
    )
    assert low.tolist() == [
        [0, mean_iou.CARRY - 1],
        [mean_iou.CARRY - 1, 0],
    ]
    assert high.tolist() == [[1, 0], [0, 1]]


@pytest.mark.ops
def test_values_that_are_not_classes_and_sample_weights_are_refused(pair):
    masks, logits = pair
    metric = MeanIoU(num_classes=5, stride=1)
    with pytest.raises(ValueError, match="mark pixels as void"):
        metric.update_state(masks, logits, sample_weight=np.ones(6))
    metric.update_state(np.full_like(masks, 7), logits)
    with pytest.raises(ValueError, match=r"210 pixels .* neither 0\.\.4 nor"):
        metric.result()


def _segmenter(backbone):
    model = DeepLabASPP(backbone, 3, output_stride=4, rates=(1, 2))
    model.compile(keras.optimizers.SGD(0.01))
    return model


@pytest.fixture
def batch(rng):
    masks = rng.integers(0, 3, (7, 16, 16, 1)).astype("uint8")
    masks[rng.random(masks.shape) < 0.2] = 255
    return {
        "images": rng.integers(0, 256, (7, 16, 16, 3)).astype("uint8"),
        "segmentation_masks": masks,
    }


@pytest.mark.ops
def test_fit_and_evaluate_give_what_the_predicted_masks_give(
    plain_backbone, batch
):
    model = _segmenter(plain_backbone)
    history = model.fit(
        batch, batch_size=4, validation_data=batch, verbose=0
    ).history
    assert "miou" not in history
    found = model.evaluate(batch, batch_size=4, verbose=0, return_dict=True)
    masks = model.predict(batch, verbose=0)
    expected = evaluate_segmentation(batch["segmentation_masks"], masks, 3)
    assert found["miou"] == pytest.approx(expected["miou"], abs=1e-6)
    assert history["val_miou"] == [pytest.approx(found["miou"], abs=1e-3)]


def test_two_replicas_train_and_score_as_one_device_does(plain_backbone, batch):
    one = _segmenter(plain_backbone)
    strategy = training.strategy("mirrored", devices=["CPU:0", "CPU:1"])
    with strategy.scope():
        several = _segmenter(plain_backbone.rebuild())
    history = several.fit(
        batch, batch_size=4, validation_data=batch, verbose=0
    ).history
    one.set_weights(several.get_weights())
    expected, found = (
        model.evaluate(batch, batch_size=4, verbose=0, return_dict=True)
        for model in (one, several)
    )
    assert found["miou"] == pytest.approx(expected["miou"], abs=1e-6)
    assert history["val_miou"] == [pytest.approx(found["miou"], abs=1e-6)]


def test_a_mean_over_one_class_says_so():
    metric = MeanIoU(num_classes=2, stride=1)
    metric.update_state([[[[0], [255]]]], np.eye(2)[[[[0, 1]]]])
    with pytest.warns(UserWarning, match="of 2, only class 0"):
        assert float(metric.result()) == 1.0
