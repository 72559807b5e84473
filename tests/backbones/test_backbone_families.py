"""Every family of nets: its stages, what is pooled, and a head on all of it.

`test_backbone_heads.py` has the other heads.
"""

import cells
import families
import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.backbones.backbone import layers_by_stage
from keras_jft.pretrain import MultiLabelClassifier


@pytest.fixture(scope="module", params=families.FAMILIES)
def net(request):
    """A backbone of each family, for tests that leave it as it is."""
    keras.utils.set_random_seed(0)
    return families.backbone(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_head_that_reaches_all_of_a_net_learns_freezes_and_loads(
    family, tmp_path
):
    cells.check(family, cells.OF_ALL, tmp_path)


def test_labels_come_from_what_a_net_pools_or_the_mean_of_its_map(net, rng):
    model = MultiLabelClassifier(net, 3)
    images = families.images(rng, net, count=2)
    pooled = getattr(net, "pooled_output", None)
    output = net.output if pooled is None else pooled
    features = ops.convert_to_numpy(keras.Model(net.input, output)(images))
    assert np.ptp(features) > 0
    if pooled is None:
        features = features.mean(axis=(1, 2))
    dense = model.get_layer("head_logits")
    kernel, bias = map(ops.convert_to_numpy, (dense.kernel, dense.bias))
    logits = ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(
        logits, features @ kernel + bias, rtol=1e-4, atol=1e-4
    )


def test_stages_are_what_the_gradients_of_levels_say(net):
    """A level has gradients for its own stage and those before, no others."""
    import tensorflow as tf

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
