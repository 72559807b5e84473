"""The feature pyramid of Faster R-CNN, against Lin et al. 2017 in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.backbones import ResNet
from keras_jft.backbones.backbone import Backbone
from keras_jft.transfer import FasterRCNN
from keras_jft.transfer.heads.faster_rcnn import pyramid

SMALL = {
    "neck": "fpn",
    "rpn_filters": 8,
    "rpn_samples": 16,
    "head_samples": 8,
    "num_proposals": 12,
    "crop_size": 4,
    "neck_filters": 6,
    "head_units": 10,
    "bn_mode": "frozen",
}


def _crop(image, box, size):
    """One region of one map; the first feature is at 0, the last at 1."""
    height, width, _ = image.shape
    x1, y1, x2, y2 = box
    crop = np.zeros((size, size, image.shape[2]))
    for i, j in np.ndindex(size, size):
        y = (y1 + (y2 - y1) * i / (size - 1)) * (height - 1)
        x = (x1 + (x2 - x1) * j / (size - 1)) * (width - 1)
        for row, column in np.ndindex(height, width):
            share = max(0, 1 - abs(y - row)) * max(0, 1 - abs(x - column))
            crop[i, j] += share * image[row, column]
    return crop


def _convolve(image, kernel, bias):
    """A 3x3 convolution with zeros around the image."""
    height, width, _ = image.shape
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    return bias + sum(
        padded[i : i + height, j : j + width] @ kernel[i, j]
        for i, j in np.ndindex(3, 3)
    )


def _level(box, canonical):
    """Equation 1 of the paper, with P2 to P5."""
    side = np.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    k = np.floor(4 + np.log2(max(side, 1e-9) / canonical))
    return int(np.clip(k, 2, 5))


@pytest.fixture
def backbone():
    return ResNet(
        (1, 1, 1, 1),
        width=8,
        block="basic",
        stem="small",
        image_shape=(40, 32, 3),
    )


@pytest.mark.ops
def test_boxes_go_to_the_level_that_equation_1_says(rng):
    low = rng.uniform(0, 300, (500, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 900, (500, 2))], axis=1)
    found = ops.convert_to_numpy(pyramid.level_of(boxes, (4, 8, 16, 32)))
    expected = [_level(box, 224) - 2 for box in boxes]
    assert {*expected} == {0, 1, 2, 3}
    np.testing.assert_array_equal(found, expected)
    sides = np.array([223, 224, 447, 448, 112, 111], "float32")
    edges = np.stack([0 * sides, 0 * sides, sides, sides], axis=1)
    found = ops.convert_to_numpy(pyramid.level_of(edges, (4, 8, 16, 32)))
    assert found.tolist() == [1, 2, 2, 3, 1, 0]


@pytest.mark.ops
def test_regions_are_cropped_from_their_own_level(rng):
    maps = [
        rng.normal(size=(2, h, w, 3)).astype("float32")
        for h, w in ((8, 6), (4, 3), (2, 2))
    ]
    low = rng.uniform(0, 0.6, (2, 5, 2))
    boxes = np.concatenate([low, low + rng.uniform(0, 0.4, low.shape)], axis=2)
    boxes = boxes.astype("float32")
    chosen = rng.integers(0, 3, (2, 5)).astype("int32")
    found = pyramid.crop_levels(
        [ops.array(x) for x in maps], ops.array(boxes), ops.array(chosen), 4
    )
    expected = [
        _crop(maps[chosen[b, r]][b], boxes[b, r], 4)
        for b, r in np.ndindex(2, 5)
    ]
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-5)


@pytest.mark.ops
def test_levels_are_sums_of_their_own_features_and_coarser_ones(backbone, rng):
    model = FasterRCNN(backbone, 2, **SMALL)
    net = model.backbone
    images = rng.integers(0, 256, (1, 40, 32, 3)).astype("uint8")
    names = ["p2", "p3", "p4", "p5"]
    levels = keras.Model(
        net.input,
        [
            [net.pyramid_outputs[name.upper()] for name in names],
            [model.get_layer(f"fpn_{name}_conv").output for name in names],
            model.get_layer("fpn_last").output,
        ],
    )
    ours, found, last = keras.tree.map_structure(
        lambda x: ops.convert_to_numpy(x)[0], levels(images)
    )
    above = None
    for name, features, level in list(zip(names, ours, found, strict=True))[
        ::-1
    ]:
        kernel, bias = model.get_layer(f"fpn_{name}_lateral").get_weights()
        x = features @ kernel[0, 0] + bias
        if above is not None:
            above = np.repeat(np.repeat(above, 2, 0), 2, 1)
            x = x + above[: x.shape[0], : x.shape[1]]
        above = x
        weights = model.get_layer(f"fpn_{name}_conv").get_weights()
        np.testing.assert_allclose(level, _convolve(x, *weights), atol=1e-3)
    np.testing.assert_allclose(last, found[-1][::2, ::2], atol=1e-5)


def _prefer_large_boxes_of_one_shape(model):
    """Make anchors of the first shape exp(2) times as large, and objects."""
    for name, places, value in (
        ("rpn_codes", slice(2, 4), 2 / 0.2),
        ("rpn_logits", 1, 10),
    ):
        layer = next(
            layer
            for layer in model.layers
            if layer.name == name and layer.weights
        )
        bias = np.zeros(layer.bias.shape)
        bias[places] = value
        layer.bias.assign(bias)


@pytest.mark.ops
def test_two_layers_predict_from_the_pooled_features_of_each_proposal(
    backbone, rng
):
    model = FasterRCNN(backbone, 2, **SMALL)
    _prefer_large_boxes_of_one_shape(model)
    images = rng.integers(0, 256, (2, 40, 32, 3)).astype("uint8")
    outputs = keras.tree.map_structure(ops.convert_to_numpy, model(images))
    convs = [model.get_layer(f"fpn_p{i}_conv").output for i in range(2, 6)]
    maps = keras.Model(model.backbone.input, convs)(images)
    maps = [ops.convert_to_numpy(x) for x in maps]
    limits = np.array([32, 40, 32, 40])
    # The small stem divides all strides, and 224, by four.
    levels = set()
    for b, r in np.ndindex(2, 12):
        box = outputs["proposals"][b, r]
        level = _level(box, 224 / 4)
        levels.add(level)
        crop = _crop(maps[level - 2][b], np.clip(box / limits, 0, 1), 4)
        x = crop.reshape(2, 2, 2, 2, 6).max(axis=(1, 3)).reshape(-1)
        for i in (1, 2):
            kernel, bias = model.get_layer(f"head_dense_{i}").get_weights()
            x = np.maximum(x @ kernel + bias, 0)
        kernel, bias = model.get_layer("head_logits").get_weights()
        np.testing.assert_allclose(
            outputs["head_logits"][b, r], x @ kernel + bias, atol=1e-3
        )
    assert len(levels) > 1


@pytest.mark.ops
def test_anchors_are_eight_features_large_on_each_level(backbone):
    model = FasterRCNN(backbone, 2, **SMALL)
    sides = [
        model.get_layer(name).sizes.tolist()
        for name in (
            "rpn_anchors",
            *(f"rpn_anchors_{s}" for s in (2, 4, 8, 16)),
        )
    ]
    squares = [level[1] for level in sides]
    assert squares == [[8 * s, 8 * s] for s in (1, 2, 4, 8, 16)]
    count = sum(
        3 * h * w for h, w in ((40, 32), (20, 16), (10, 8), (5, 4), (3, 2))
    )
    assert model.output["rpn_logits"].shape == (None, count, 2)


def test_levels_that_do_not_double_are_refused():
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 4, 4)(images)
    net = Backbone(
        images,
        x,
        pyramid_outputs={"P2": x},
        strides={"P2": 4},
        output_stride=4,
    )
    net.bn_mode = "affine"
    with pytest.raises(ValueError, match=r"two or more levels.*\{'P2': 4\}"):
        FasterRCNN(net, 2, neck="fpn")
