import keras
import numpy as np
import pytest

from keras_jft.transfer import DeepLabASPP, DeepLabV3Plus
from keras_jft.transfer.heads.segmenter import rebuilt


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
    with pytest.raises(ValueError, match="which has no .*output_stride"):
        DeepLabASPP(stock, 2)
    with pytest.raises(ValueError, match="the level 'P2'"):
        DeepLabV3Plus(stock, 2)


@pytest.mark.parametrize("head", [DeepLabASPP, DeepLabV3Plus])
@pytest.mark.parametrize("num_classes", [0, 256])
def test_classes_that_masks_cannot_hold_are_refused(
    tiny_backbone, head, num_classes
):
    with pytest.raises(ValueError, match=f"1..255.*num_classes={num_classes}"):
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
