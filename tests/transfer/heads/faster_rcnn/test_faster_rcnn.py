import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import transfer
from keras_jft.backbones import adapt
from keras_jft.transfer import FasterRCNN
from keras_jft.transfer.heads.faster_rcnn.stages import crop

# Sooner than a graph where a single step is taken; JAX compiles each operation.
EAGER = keras.backend.backend() == "tensorflow"
SMALL = {
    "rpn_filters": 8,
    "rpn_samples": 8,
    "head_samples": 8,
    "num_proposals": 6,
    "crop_size": 4,
}


def _arrays(outputs):
    return keras.tree.map_structure(ops.convert_to_numpy, outputs)


@pytest.mark.ops
def test_freezing_before_conv5_leaves_conv5_and_the_new_layers(detector, batch):
    model = transfer.freeze(detector(), before="conv5")
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=EAGER)
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
        ({"num_classes": 0}, "`num_classes` must be 1 or more"),
        ({"head_samples": 1}, "`head_samples` must be 4 or more"),
        ({"bn_mode": "off"}, "`bn_mode` must be one of"),
        ({"num_proposals": 0}, "`num_proposals` must be 1 or more"),
        ({"max_detections": 0}, "`max_detections` must be 1 or more"),
        ({"anchor_base": -5}, "`anchor_base` must be 1 or more"),
    ],
)
def test_options_out_of_range_are_refused(options, message, tiny_backbone):
    with pytest.raises(ValueError, match=message):
        FasterRCNN(tiny_backbone, **{"num_classes": 3, **options})


def test_a_net_without_the_levels_that_it_needs_is_refused():
    inputs = keras.Input((32, 32, 3))
    with pytest.raises(ValueError, match="reads the level.* 'P4'"):
        FasterRCNN(keras.Model(inputs, inputs), 3)


def test_another_net_applies_what_follows_p4_to_pooled_regions(rng):
    net = adapt(
        keras.applications.MobileNet(
            (64, 64, 3), alpha=0.25, weights=None, include_top=False
        )
    )
    model = FasterRCNN(net, 2, **SMALL)
    assert "head_max_pool" not in {layer.name for layer in model.layers}
    # The two last blocks of MobileNet, as its paper has them.
    last = model.get_layer("conv5").layers
    kernels = [x.kernel.shape for x in last if hasattr(x, "kernel")]
    assert [tuple(s)[2:] for s in kernels if s[0] == 1][:1] == [(128, 256)]
    images = rng.integers(0, 256, (1, 64, 64, 3)).astype("uint8")
    outputs = model(images)
    net = model.backbone
    features = keras.Model(net.input, net.pyramid_outputs["P4"])(images)
    crops = crop(features, outputs["proposals"] / 64.0, SMALL["crop_size"])
    rest = keras.Model(net.pyramid_outputs["P4"], net.output)
    rest.input_spec = None
    pooled = ops.mean(rest(crops), axis=(1, 2))
    logits = model.get_layer("head_logits")(pooled)
    np.testing.assert_allclose(
        ops.convert_to_numpy(outputs["head_logits"][0]),
        ops.convert_to_numpy(logits),
        atol=1e-4,
    )


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
        "neck": "fpn",
        "neck_filters": 5,
        "head_units": 9,
        "max_detections": 5,
        "bn_mode": "batch",
        "name": "other",
    }
    model = FasterRCNN(tiny_backbone, 4, **options)
    again = FasterRCNN.from_config(json.loads(json.dumps(model.get_config())))
    for name, value in {**options, "num_classes": 4}.items():
        assert getattr(again, name) == value
