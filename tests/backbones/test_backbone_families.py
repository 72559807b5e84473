"""Every family of nets under heads: part of the table in docs/backbones.md.

`benchmarks/backbone_matrix.py` checks all of it.
"""

import cells
import families
import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.backbones.backbone import layers_by_stage

# Heads that are tried on every family, and families on which every head is:
# one of ours, a plain one, one of depthwise convolutions, one of KerasHub and
# one of tokens.
OF_ALL = ("multi-label", "DeepLabASPP")
SPREAD = (
    "jft ResNet",
    "applications ResNetV2",
    "applications MobileNetV3",
    "KerasHub CSPNet",
    "KerasHub ViT",
)
CELLS = [
    (family, head)
    for family in families.FAMILIES
    for head in cells.HEADS
    if head in OF_ALL or family in SPREAD
]
IMPOSSIBLE = ("KerasHub ViT", "FasterRCNN")
CELLS.remove(IMPOSSIBLE)


@pytest.fixture(params=families.FAMILIES)
def family(request):
    return request.param


@pytest.mark.parametrize(("of_family", "head"), CELLS)
def test_a_head_learns_freezes_and_loads_on_a_family(of_family, head, tmp_path):
    cells.check(of_family, head, tmp_path)


def test_what_a_family_cannot_have_says_what_it_can(tmp_path):
    with pytest.raises(ValueError, match='needs more than P4.*neck="fpn"'):
        cells.check(*IMPOSSIBLE, tmp_path)


def test_stages_are_what_the_gradients_of_levels_say(family):
    """A level has gradients for its own stage and those before, no others."""
    import tensorflow as tf

    net = families.backbone(family)
    stages = layers_by_stage(net)
    ends = keras.Model(net.input, dict(net.stage_outputs))
    shape = (2, *net.input.shape[1:])
    images = np.random.default_rng(0).uniform(0, 255, shape)
    weights = {
        stage: [w for layer in layers for w in layer.trainable_weights]
        for stage, layers in stages.items()
    }
    with tf.GradientTape(persistent=True) as tape:
        outputs = ends(images.astype("float32"))
        sums = {stage: ops.sum(x) for stage, x in outputs.items()}
    for i, end in enumerate(stages):
        for j, stage in enumerate(stages):
            values = [w.value for w in weights[stage]]
            found = tape.gradient(sums[end], values)
            is_used = [gradient is not None for gradient in found]
            if j > i:
                assert not any(is_used), (end, stage)
            elif values:
                assert sum(is_used) > len(values) / 2, (end, stage)
