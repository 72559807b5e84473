import dataclasses

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


@pytest.fixture(scope="module")
def backbone():
    return jft.ResNet(
        (1, 1, 1, 1),
        width=16,
        block="basic",
        stem="small",
        bn_momentum=0.9,
        image_shape=(16, 16, 3),
    )


@pytest.fixture(scope="module")
def trained(backbone):
    """`{mode: model}`, and the weights that the backbone had before."""
    before = _arrays(backbone)
    models = {
        mode: jft.transfer.run(_config(mode=mode, seed=3), backbone, verbose=0)
        for mode in (*jft.transfer.MODES, "probe")
    }
    return models, before


def test_the_backbone_keeps_its_weights(trained, backbone):
    models, before = trained
    for old, new in zip(before, _arrays(backbone), strict=True):
        np.testing.assert_array_equal(old, new)
    for model in models.values():
        assert model.backbone is not backbone
        assert model.num_classes == 20


def test_frozen_trains_conv5_and_the_head_alone(trained):
    model = trained[0]["frozen"]
    stages = {v.path.split("_")[0] for v in model.trainable_variables}
    assert stages == {"conv5", "head"}


def test_a_probe_trains_the_head_alone(trained):
    models, before = trained
    assert {v.path for v in models["probe"].trainable_variables} == {
        "head_logits/kernel",
        "head_logits/bias",
    }
    # The moving statistics stay as well.
    for old, new in zip(before, _arrays(models["probe"].backbone), strict=True):
        np.testing.assert_array_equal(old, new)


def test_fine_tuning_trains_what_was_frozen_before(tiny_backbone):
    tiny_backbone.trainable = False
    model = jft.transfer.build(_config(num_classes=3), tiny_backbone)
    stages = {v.path.split("_")[0] for v in model.trainable_variables}
    assert stages == {"conv1", "conv2", "conv3", "conv4", "conv5", "head"}


@pytest.mark.parametrize("mode", jft.transfer.MODES)
def test_a_reused_model_trains_as_a_fresh_one_does(mode, trained, backbone):
    used = trained[0][mode]
    fresh = _arrays(used)
    config = _config(mode=mode, seed=3)
    other = dataclasses.replace(config, seed=1)
    jft.transfer.run(other, backbone, model=used, verbose=0)
    assert any(
        not np.allclose(one, another, atol=1e-4)
        for one, another in zip(fresh, _arrays(used), strict=True)
    )
    again = jft.transfer.run(config, backbone, model=used, verbose=0)
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
