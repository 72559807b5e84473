import numpy as np
import pytest
from keras import ops

import keras_jft as jft


def _config(**changes):
    return jft.transfer.Config(
        **{
            "options": {"task": "classification", "image_size": 16},
            "num_examples": 64,
            "image_size": (16, 16),
            "dtype": "float32",
            "epochs": 1,
            **changes,
        }
    )


def _arrays(model):
    return [ops.convert_to_numpy(v) for v in model.weights]


def test_the_backbone_keeps_its_weights(tiny_backbone):
    before = _arrays(tiny_backbone)
    model = jft.transfer.run(_config(), tiny_backbone, verbose=0)
    for old, new in zip(before, _arrays(tiny_backbone), strict=True):
        np.testing.assert_array_equal(old, new)
    assert model.backbone is not tiny_backbone
    assert model.num_classes == 20


def test_frozen_trains_conv5_and_the_head_alone(tiny_backbone):
    model = jft.transfer.run(_config(mode="frozen"), tiny_backbone, verbose=0)
    stages = {v.path.split("_")[0] for v in model.trainable_variables}
    assert stages == {"conv5", "head"}


def test_a_probe_trains_the_head_alone(tiny_backbone):
    model = jft.transfer.run(_config(mode="probe"), tiny_backbone, verbose=0)
    assert {v.path for v in model.trainable_variables} == {
        "head_logits/kernel",
        "head_logits/bias",
    }
    # The moving statistics stay as well.
    for old, new in zip(
        _arrays(tiny_backbone), _arrays(model.backbone), strict=True
    ):
        np.testing.assert_array_equal(old, new)


def test_fine_tuning_trains_what_was_frozen_before(tiny_backbone):
    tiny_backbone.trainable = False
    model = jft.transfer.build(_config(num_classes=3), tiny_backbone)
    stages = {v.path.split("_")[0] for v in model.trainable_variables}
    assert stages == {"conv1", "conv2", "conv3", "conv4", "conv5", "head"}


@pytest.mark.parametrize("mode", jft.transfer.MODES)
def test_a_reused_model_trains_as_a_fresh_one_does(mode, tiny_backbone):
    config = _config(mode=mode, seed=3)
    fresh = _arrays(jft.transfer.run(config, tiny_backbone, verbose=0))
    used = jft.transfer.run(
        _config(mode=mode, seed=1), tiny_backbone, verbose=0
    )
    again = jft.transfer.run(config, tiny_backbone, model=used, verbose=0)
    assert again is used
    for one, other in zip(fresh, _arrays(again), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_bad_configs_are_refused(tiny_backbone):
    with pytest.raises(ValueError, match="`head` must be one of"):
        _config(head="classifier")
    with pytest.raises(ValueError, match="`mode` must be one of"):
        _config(mode="finetuned")
    with pytest.raises(TypeError):
        _config(learning_rates=0.1)
    config = _config(head="deeplab_aspp")
    with pytest.raises(ValueError, match="has no class names"):
        jft.transfer.run(config, tiny_backbone, verbose=0)
