import keras
import numpy as np
import pytest

from keras_jft.transfer import DeepLabASPP, DeepLabV3Plus
from keras_jft.transfer.heads.levels import rebuilt


def test_only_a_backbone_that_differs_is_rebuilt(tiny_backbone):
    same = rebuilt(tiny_backbone, output_stride=8, bn_mode="batch")
    assert same is tiny_backbone
    other = rebuilt(tiny_backbone, output_stride=2, bn_mode="affine")
    assert other is not tiny_backbone
    assert (other.output_stride, other.bn_mode) == (2, "affine")


def test_a_backbone_that_cannot_be_dilated_is_refused_by_name():
    inputs = keras.Input((16, 16, 3))
    stock = keras.Model(inputs, keras.layers.Conv2D(4, 1)(inputs))
    stock.pyramid_outputs = {"P3": stock.output}
    with pytest.raises(ValueError, match="without .*output_stride"):
        DeepLabASPP(stock, 2)
    with pytest.raises(ValueError, match=r"without \['P2', 'P5'\]"):
        DeepLabV3Plus(stock, 2)


@pytest.mark.parametrize("head", [DeepLabASPP, DeepLabV3Plus])
@pytest.mark.parametrize("num_classes", [0, 1, 256])
def test_classes_that_masks_cannot_hold_are_refused(
    tiny_backbone, head, num_classes
):
    with pytest.raises(ValueError, match=f"2..255.*num_classes={num_classes}"):
        head(tiny_backbone, num_classes)


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_masks_that_are_not_whole_numbers_are_refused(tiny_backbone, value):
    model = DeepLabASPP(tiny_backbone, 2)
    masks = np.zeros((2, 16, 16, 1), "float32")
    model.check_targets(masks)
    masks[0, 0, 0] = value
    with pytest.raises(ValueError, match="whole class ids.*float32"):
        model.check_targets(masks)


def test_masks_that_are_void_alone_give_a_warning(tiny_backbone):
    model = DeepLabASPP(tiny_backbone, 2)
    with pytest.warns(UserWarning, match="Every pixel of the masks is 255"):
        model.check_targets(np.full((2, 16, 16, 1), 255, "uint8"))


def test_masks_of_0_and_255_give_a_warning_that_names_the_remedy(
    tiny_backbone,
):
    model = DeepLabASPP(tiny_backbone, 2, output_stride=8)
    model.compile("sgd", run_eagerly=True)
    images = np.zeros((2, 16, 16, 3), "uint8")
    masks = np.zeros((2, 16, 16, 1), "uint8")
    masks[:, 4:9, 4:9] = 255
    with pytest.warns(UserWarning, match="`masks // 255`"):
        model.fit(images, masks, verbose=0)
    model.fit(images, masks // 255, verbose=0)  # No warning.
    masks[0, 0] = 1  # Void besides both classes is as it should be.
    model.check_targets(masks)
    # Of three classes, a batch may show the background alone.
    masks[0, 0] = 0
    DeepLabASPP(tiny_backbone, 3, output_stride=8).check_targets(masks)
