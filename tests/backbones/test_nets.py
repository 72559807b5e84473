"""Nets as plain data: what comes back, and what is refused unread."""

import copy
import functools
import json
import os
import shutil
import subprocess
import sys
import zipfile

import families
import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import backbones, training, transfer
from keras_jft.backbones import nets
from keras_jft.pretrain import MultiLabelClassifier
from keras_jft.training.checkpoints import archive


def _description(family="applications MobileNetV3"):
    return families.backbone(family).get_config()["net"]


def _layer(name="Conv2D", **changes):
    return {
        "module": "keras.layers",
        "class_name": name,
        "config": {"filters": 4, "kernel_size": 1},
        "registered_name": None,
        **changes,
    }


HOSTILE = {
    "a lambda": _layer("Lambda"),
    "a saved model": _layer("TFSMLayer"),
    "a layer of JAX": _layer("JaxLayer"),
    "a module of torch": _layer("TorchModuleWrapper"),
    "a file of words": _layer("StringLookup"),
    "any class of Python": _layer("system", module="os"),
    "a listed name elsewhere": _layer(module="evil"),
    "a registered class behind a listed name": _layer(registered_name="a>b"),
    "a function": _layer("function", module="builtins", config="os.system"),
    "bytes of a program": _layer("__lambda__", config="4wAAAA=="),
    "an unlisted net of KerasHub": _layer(
        "GemmaBackbone",
        module="keras_hub.src.models.gemma.gemma_backbone",
        registered_name="keras_hub>GemmaBackbone",
    ),
    "a net of KerasHub under another name": _layer(
        "ViTBackbone", module="keras_hub.models", registered_name="a>b"
    ),
    "a class of ours that is no layer": _layer(
        "Model", module="keras_jft.training", registered_name="keras_jft>Model"
    ),
    "how to compile": _layer(compile_config={"optimizer": "sgd"}),
    "how to build": _layer(build_config={"input_shape": [None, 4]}),
    "a list": [1],
    "nothing": None,
    "text": "os.system",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_description_that_holds_anything_unlisted_is_refused(case):
    hostile = HOSTILE[case]
    description = _small()
    if isinstance(hostile, dict):
        description["config"]["layers"].append(hostile)
        cases = [hostile, description]
    else:
        cases = [hostile]
    for each in cases:
        with pytest.raises(ValueError, match="refused, since .*trust"):
            nets.build(each)


def _small():
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 1, name="conv")(images)
    return nets.describe(keras.Model(images, x))


def test_what_hides_inside_of_a_listed_layer_is_found():
    description = _small()
    (conv,) = [
        layer
        for layer in description["config"]["layers"]
        if layer["class_name"] == "Conv2D"
    ]
    conv["config"]["activation"] = HOSTILE["a function"]
    with pytest.raises(ValueError, match="builtins.function"):
        nets.build(description)
    deep = {}
    conv["config"]["activation"] = deep
    for _ in range(500):
        deep["x"] = deep = {}
    with pytest.raises(ValueError, match="nested too deeply"):
        nets.build(description)


def test_a_compiled_net_is_described_without_what_it_was_compiled_with():
    images = keras.Input((8, 8, 3))
    net = keras.Model(images, keras.layers.Conv2D(4, 1)(images))
    net.compile("sgd", loss=lambda y, x: x)
    assert "compile_config" not in json.dumps(nets.describe(net))


@pytest.fixture(scope="module")
def saved_of(tmp_path_factory):
    """Gives a net of a family and its file, which no test changes."""

    @functools.cache
    def saved_of(family):
        net = families.backbone(family)
        for weight in net.weights:
            weight.assign(weight + 0.1 * keras.random.normal(weight.shape))
        transfer.freeze(net, "conv5")
        path = tmp_path_factory.mktemp("saved") / "net.npz"
        backbones.save(net, path)
        return net, path

    return saved_of


@pytest.fixture(
    params=["applications MobileNetV3", "KerasHub ViT", "KerasHub DINOv2"]
)
def saved(request, saved_of):
    """Some of these."""
    return saved_of(request.param)


def test_an_adapted_net_comes_back_from_a_file(saved, rng):
    net, path = saved
    loaded = backbones.load(path)
    images = families.images(rng, net)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(loaded(images)), ops.convert_to_numpy(net(images))
    )
    assert loaded.get_config() == net.get_config()
    larger = backbones.load(path, image_shape=(64, 64, 3))
    assert larger.image_shape == (64, 64, 3)


def _rewritten(path, change):
    arrays, about = archive.read(path)
    arrays, about = dict(arrays), copy.deepcopy(about)
    change(arrays, about["config"])
    archive.write(path, arrays, about)


CHANGES = {
    "an unknown argument": lambda arrays, config: config.update(x=1),
    "a missing argument": lambda arrays, config: config.pop("fused"),
    "a scaling that is none": lambda arrays, config: config.update(scaling=1),
    "levels that are no names": lambda arrays, config: config.update(
        levels={"P2": _layer("Lambda")}
    ),
    "frozen layers by name": lambda arrays, config: config.update(
        frozen=["conv"]
    ),
    "a lambda as net": lambda arrays, config: config.update(
        net=_layer("Lambda")
    ),
    "a number of a billion": lambda arrays, config: config["net"].update(
        config={**config["net"]["config"], "size": 10**9}
    ),
}
# The same code refuses these for nets of any family.
CHANGES_OF_WEIGHTS = {
    "another weight": lambda arrays, config: arrays.update(
        {"model/more/kernel": np.zeros((1, 0), "float32")}
    ),
    "fewer weights": lambda arrays, config: arrays.pop(next(iter(arrays))),
    "a weight that is not finite": lambda arrays, config: arrays.update(
        {next(iter(arrays)): next(iter(arrays.values())) * np.nan}
    ),
    "a weight of another shape": lambda arrays, config: arrays.update(
        {next(iter(arrays)): np.zeros((1, 2), "float32")}
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_hostile_file_is_refused(saved, change, tmp_path):
    path = tmp_path / "net.npz"
    shutil.copy(saved[1], path)
    _rewritten(path, CHANGES[change])
    with pytest.raises(ValueError, match=r"net\.npz"):
        backbones.load(path)


@pytest.mark.parametrize("change", CHANGES_OF_WEIGHTS)
def test_a_file_of_other_weights_is_refused(saved_of, change, tmp_path):
    path = tmp_path / "net.npz"
    shutil.copy(saved_of("applications MobileNetV3")[1], path)
    _rewritten(path, CHANGES_OF_WEIGHTS[change])
    with pytest.raises(ValueError, match=r"net\.npz"):
        backbones.load(path)


def test_a_net_that_is_larger_than_its_file_gets_no_memory(
    tmp_path, monkeypatch
):
    net = families.backbone("KerasHub ViT")
    backbones.save(net, tmp_path / "net.npz")

    def widen(arrays, config):
        config["net"]["config"].update(hidden_dim=8192, mlp_dim=8192)

    _rewritten(tmp_path / "net.npz", widen)
    monkeypatch.setattr(
        keras.Variable, "_initialize_with_initializer", _no_memory
    )
    with pytest.raises(ValueError, match="weights, more than the file"):
        backbones.load(tmp_path / "net.npz")


def _no_memory(*_):
    raise AssertionError("memory was taken")


def test_an_adapted_net_comes_out_of_the_checkpoint_of_a_model(tmp_path, rng):
    net = families.backbone("KerasHub ViT")
    model = MultiLabelClassifier(net, 3)
    model.compile("sgd", run_eagerly=True)
    batch = {
        "images": families.images(rng, net),
        "labels": np.arange(4, dtype="int32")[:, None] % 3,
    }
    model.fit(
        batch,
        callbacks=[training.Checkpoint(tmp_path)],
        batch_size=4,
        shuffle=False,
        verbose=0,
    )
    loaded = backbones.load(tmp_path / "step-0000000001.npz")
    for one, other in zip(loaded.weights, net.weights, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(one), ops.convert_to_numpy(other)
        )


def test_a_head_whose_net_was_tampered_with_is_not_loaded(tmp_path):
    path, evil = tmp_path / "head.keras", tmp_path / "evil.keras"
    transfer.Classifier(families.backbone("KerasHub ResNet"), 3).save(path)
    with zipfile.ZipFile(path) as file, zipfile.ZipFile(evil, "w") as copied:
        for info in file.infolist():
            content = file.read(info)
            if info.filename == "config.json":
                config = json.loads(content)
                net = config["config"]["backbone"]["config"]["net"]
                net["config"]["name"] = _layer("Lambda")
                content = json.dumps(config).encode()
            copied.writestr(info, content)
    with pytest.raises((TypeError, ValueError), match="refused"):
        keras.saving.load_model(evil)


@pytest.mark.slow
def test_a_head_of_a_keras_hub_net_loads_in_a_fresh_process(tmp_path, rng):
    model = transfer.Classifier(families.backbone("KerasHub ViT"), 3)
    images = families.images(rng, model.backbone)
    model.save(tmp_path / "head.keras")
    np.save(tmp_path / "images.npy", images)
    code = (
        "import sys, keras, numpy as np, keras_jft\n"
        "assert 'keras_hub' not in sys.modules\n"
        "model = keras.saving.load_model(sys.argv[1] + '/head.keras')\n"
        "images = np.load(sys.argv[1] + '/images.npy')\n"
        "logits = model.predict(images, verbose=0)\n"
        "np.save(sys.argv[1] + '/logits.npy', logits)"
    )
    subprocess.run(
        [sys.executable, "-c", code, tmp_path], check=True, env=os.environ
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "logits.npy"),
        model.predict(images, verbose=0),
        atol=1e-5,
    )
