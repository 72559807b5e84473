import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import transfer
from keras_jft.backbones import ResNet
from keras_jft.transfer import FasterRCNN


def _arrays(outputs):
    return keras.tree.map_structure(ops.convert_to_numpy, outputs)


def test_resnet101_at_600_by_1024_has_the_published_shapes():
    backbone = ResNet.from_depth(101, image_shape=(600, 1024, 3))
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
    assert model.count_params() == 42_605_504 + rpn + head
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
        np.testing.assert_array_equal(*_arrays((ours, given)))
    names = {path.path for path in conv5.weights}
    assert names == {
        w.path for w in model.backbone.weights if w.path.startswith("conv5")
    }
    # One copy of each weight.
    assert len({id(w) for w in model.weights}) == len(model.weights)
    assert len(model.weights) == len(backbone.weights) + 10


@pytest.mark.ops
def test_freezing_before_conv5_leaves_conv5_and_the_new_layers(detector, batch):
    model = transfer.freeze(detector(), before="conv5")
    model.compile(keras.optimizers.SGD(0.1))
    before = {w.path: ops.convert_to_numpy(w) for w in model.weights}
    model.fit(batch, verbose=0)
    changed = {
        w.path
        for w in model.weights
        if not np.array_equal(before[w.path], ops.convert_to_numpy(w))
    }
    stages = {path.split("/")[0].split("_")[0] for path in changed}
    assert stages == {"conv5", "rpn", "head"}
    assert not [path for path in changed if "moving" in path]
    assert [path for path in changed if path.endswith("gamma")]


@pytest.mark.ops
def test_batch_normalization_may_be_frozen_as_a_whole(detector):
    count = len(detector(bn_mode="frozen").trainable_weights)
    affine = len(detector().trainable_weights)
    norms = sum(
        isinstance(layer, keras.layers.BatchNormalization)
        for layer in detector().backbone.layers
    )
    assert affine - count == 2 * norms


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_classes": 0}, "`num_classes` must be at least 1"),
        ({"head_samples": 1}, "`head_samples` must be at least 4"),
        ({"bn_mode": "off"}, "`bn_mode` must be one of"),
    ],
)
def test_options_out_of_range_are_refused(options, message, tiny_backbone):
    with pytest.raises(ValueError, match=message):
        FasterRCNN(tiny_backbone, **{"num_classes": 3, **options})


@pytest.mark.ops
def test_every_argument_survives_saving(tiny_backbone):
    options = {
        "anchor_base": 20.0,
        "anchor_scales": (1.0, 3.0),
        "anchor_ratios": (0.25, 1.0),
        "rpn_filters": 16,
        "rpn_samples": 10,
        "head_samples": 12,
        "num_proposals": 7,
        "crop_size": 6,
        "max_detections": 5,
        "bn_mode": "batch",
        "name": "other",
    }
    model = FasterRCNN(tiny_backbone, 4, **options)
    again = FasterRCNN.from_config(json.loads(json.dumps(model.get_config())))
    for name, value in {**options, "num_classes": 4}.items():
        assert getattr(again, name) == value
