import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.backbones import ResNet
from keras_jft.transfer import FasterRCNN


def test_a_resnet_at_600_by_1024_has_the_published_shapes():
    # Units beyond the first of a stage leave sizes and the head as they are.
    backbone = ResNet((1, 1, 1, 1), image_shape=(600, 1024, 3))
    model = FasterRCNN(backbone, 80)
    shapes = {
        key: tensor.shape
        for key, tensor in model.output.items()
        if not isinstance(tensor, dict)
    }
    anchors = 38 * 64 * 12
    assert shapes["rpn_logits"] == (None, anchors, 2)
    assert shapes["rpn_codes"] == (None, anchors, 4)
    assert shapes["head_logits"][2:] == (81,)
    assert shapes["head_codes"][2:] == (80, 4)
    rpn = 9 * 1024 * 512 + 512 + 512 * 12 * 6 + 12 * 6
    head = 2048 * 81 + 81 + 2048 * 320 + 320
    assert model.count_params() == backbone.count_params() + rpn + head
    assert model.backbone.output_stride == 16
    sizes = model.get_layer("rpn_anchors").sizes
    np.testing.assert_allclose(
        np.prod(sizes, axis=1) ** 0.5, [64, 128, 256, 512] * 3, rtol=1e-6
    )


@pytest.mark.parametrize(
    "stem, output_stride", [("imagenet", 32), ("imagenet", 16), ("small", 8)]
)
def test_conv5_is_the_backbone_s_at_stride_and_rate_1(stem, output_stride):
    backbone = ResNet(
        (1, 1, 1, 2), width=16, stem=stem, output_stride=output_stride
    )
    model = FasterRCNN(backbone, 3)
    assert model.backbone.output_stride == (16 if stem == "imagenet" else 4)
    conv5 = model.get_layer("conv5")
    for layer in conv5.layers:
        if isinstance(layer, keras.layers.Conv2D):
            assert layer.strides == layer.dilation_rate == (1, 1)
    assert conv5.compute_output_shape((2, 7, 7, 256))[1:3] == (7, 7)
    for ours, given in zip(
        model.backbone.weights, backbone.weights, strict=True
    ):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (ours, given)))
    names = {path.path for path in conv5.weights}
    assert names == {
        w.path for w in model.backbone.weights if w.path.startswith("conv5")
    }
    # One copy of each weight.
    assert len({id(w) for w in model.weights}) == len(model.weights)
    assert len(model.weights) == len(backbone.weights) + 10
