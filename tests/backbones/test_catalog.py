"""Backbones by name."""

import sys

import families
import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import ResNet, backbones
from keras_jft.backbones import AdaptedBackbone


def test_the_names_are_those_of_all_three_sources():
    names = backbones.names()
    assert {
        "resnet18",
        "resnet101",
        "applications/EfficientNetV2B0",
        "applications/ConvNeXtTiny",
        "hub/resnet_50_imagenet",
        "hub/vit_base_patch16_224_imagenet",
        "hub/dinov2_base",
    } <= {*names}
    assert names == sorted(names)
    assert not [name for name in names if "bert" in name or "gemma" in name]


def test_ours_are_made_with_their_options():
    net = backbones.create(
        "resnet18", width=8, image_shape=(32, 32, 3), bn_momentum=0.9
    )
    assert isinstance(net, ResNet)
    assert (net.width, net.image_shape, net.bn_momentum) == (
        8,
        (32, 32, 3),
        0.9,
    )
    assert net.blocks == (2, 2, 2, 2)


def test_a_net_of_keras_applications_is_made_with_its_options():
    net = backbones.create(
        "applications/MobileNetV2",
        alpha=0.35,
        image_shape=(64, 64, 3),
        dtype="mixed_bfloat16",
        bn_momentum=0.9,
    )
    assert isinstance(net, AdaptedBackbone)
    assert (net.scaling, net.image_shape) == ("tf", (64, 64, 3))
    assert net.dtype_policy.name == "mixed_bfloat16"
    assert net.get_layer("bn_Conv1").momentum == 0.9
    assert list(net.strides.values()) == [4, 8, 16, 32]


@pytest.fixture(params=["KerasHub ViT", "KerasHub CSPNet"])
def preset(request, tmp_path):
    """A net of KerasHub with its converter, and the folder of its preset."""
    import keras_hub

    net = families.STOCK[request.param][0]()
    kind = {
        "ViTBackbone": keras_hub.layers.ViTImageConverter,
        "CSPNetBackbone": keras_hub.layers.CSPNetImageConverter,
    }[type(net).__name__]
    converter = kind(scale=[1 / 58, 1 / 57, 1 / 57], offset=[-2.1, -2.0, -1.8])
    net.save_to_preset(str(tmp_path))
    converter.save_to_preset(str(tmp_path))
    return net, converter, f"hub/{tmp_path}"


def test_a_preset_comes_with_its_weights_and_its_scaling(preset, rng):
    net, converter, name = preset
    images = families.images(rng, net)
    expected = ops.convert_to_numpy(net(converter(images)))
    if expected.ndim == 3:  # Of tokens, without the class token.
        expected = expected[:, 1:].reshape(4, 4, 4, -1)
    made = backbones.create(name, weights="imagenet")
    np.testing.assert_allclose(
        ops.convert_to_numpy(made(images)), expected, atol=1e-4
    )
    keras.utils.set_random_seed(1)
    random = backbones.create(name, image_shape=(64, 64, 3))
    assert random.image_shape == (64, 64, 3)
    assert np.abs(made.weights[0] - random.weights[0]).max() > 0


def test_a_net_of_ones_own_comes_out_of_a_file(tmp_path, rng):
    net = families.backbone("KerasHub CSPNet")
    path = str(tmp_path / "own.npz")
    backbones.save(net, path)
    images = families.images(rng, net)
    made = backbones.create(path, weights="imagenet", bn_momentum=0.5)
    np.testing.assert_allclose(
        ops.convert_to_numpy(made(images)),
        ops.convert_to_numpy(net(images)),
        atol=1e-5,
    )
    fresh = backbones.create(path, image_shape=(64, 64, 3))
    assert np.abs(fresh.weights[0] - net.weights[0]).max() > 0
    with pytest.raises(ValueError, match=r"says what its net is.*scaling"):
        backbones.create(path, scaling="tf")


@pytest.mark.parametrize(
    "name, message",
    [
        ("resnet51", "`name` must be one of .*resnet50"),
        (50, "`name` must be one of"),
        ("applications/ResNet51", "no net of that name.*ResNet50V2"),
        ("mobilenetv2", "Did you mean 'applications/MobileNetV2'"),
        ("hub/no_such_preset", "neither a preset of KerasHub nor an existing"),
        ("hub/resnet_18", "Did you mean 'hub/resnet_18_imagenet'"),
        ("hub/./no_such_folder", "folder is relative to /"),
    ],
)
def test_a_name_that_is_not_there_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        backbones.create(name)


def test_an_option_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="could not be made: .*wdth"):
        backbones.create("applications/MobileNetV2", wdth=2)


def no_network(*_, **__):
    raise Exception("URL fetch failure on https://x: None")


def test_a_download_that_fails_says_what_to_do(monkeypatch):
    monkeypatch.setattr(keras.applications, "MobileNetV2", no_network)
    monkeypatch.setattr(keras.applications, "ResNet50", no_network)
    with pytest.raises(OSError, match="downloaded.*, or give `weights=None`"):
        backbones.create("applications/MobileNetV2", weights="imagenet")
    with pytest.raises(OSError, match="downloaded.*, or the path of a file"):
        backbones.create("resnet50", weights="imagenet")


def test_a_preset_that_cannot_be_reached_needs_more_than_no_weights(
    monkeypatch,
):
    import keras_hub

    def unreachable(*_, **__):
        raise OSError("Failed to resolve 'api.kaggle.com'")

    monkeypatch.setattr(
        keras_hub.models.Backbone, "from_preset", unreachable, raising=True
    )
    with pytest.raises(OSError) as raised:
        backbones.create("hub/resnet_18_imagenet")
    assert "folder of a preset" in str(raised.value)
    assert "weights=None" not in str(raised.value)


def test_without_keras_hub_its_nets_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match=r"keras_jft\[hub\]"):
        backbones.create("hub/resnet_50_imagenet")
