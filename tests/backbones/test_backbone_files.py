import json
import os
import pathlib
import pickle
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import backbones, training
from keras_jft.pretrain import MultiLabelClassifier
from keras_jft.training.checkpoints import archive


def _arrays(model):
    return [ops.convert_to_numpy(v) for v in model.weights]


def _assert_same_weights(one, other):
    for a, b in zip(_arrays(one), _arrays(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def kept(tiny, tmp_path_factory):
    """A backbone and its file, which no test changes."""
    backbone = tiny()
    backbone.get_layer("conv2_1_1_conv").trainable = False
    path = tmp_path_factory.mktemp("kept") / "backbone.npz"
    backbones.save(backbone, path)
    return backbone, path


@pytest.fixture
def saved(kept, tmp_path):
    """A copy of that file."""
    return pathlib.Path(shutil.copy(kept[1], tmp_path))


@pytest.mark.ops
def test_a_saved_backbone_comes_back(kept):
    backbone, path = kept
    loaded = backbones.load(path)
    assert loaded.get_config() == backbone.get_config()
    assert not loaded.get_layer("conv2_1_1_conv").trainable
    _assert_same_weights(loaded, backbone)
    assert backbones.load(path, image_shape=(32, 32, 3)).image_shape[0] == 32


def test_a_backbone_comes_out_of_the_checkpoint_of_a_classifier(
    tiny_backbone, tmp_path, rng
):
    model = MultiLabelClassifier(tiny_backbone, 3)
    model.compile("sgd", run_eagerly=True)
    batch = {
        "images": rng.integers(0, 256, (4, 16, 16, 3)).astype("uint8"),
        "labels": rng.integers(0, 3, (4, 2)).astype("int32"),
    }
    checkpoint = training.Checkpoint(tmp_path)
    fit = {"batch_size": 4, "shuffle": False, "verbose": 0}
    model.fit(batch, callbacks=[checkpoint], **fit)
    loaded = backbones.load(tmp_path / "step-0000000001.npz")
    _assert_same_weights(loaded, model.backbone)


def test_only_backbones_of_the_table_are_saved(tiny_backbone, tmp_path):
    model = MultiLabelClassifier(tiny_backbone, 3)
    with pytest.raises(ValueError, match="Received: MultiLabelClassifier"):
        backbones.save(model, tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"a\.h5"):
        backbones.save(tiny_backbone, tmp_path / "a.h5")


LAMBDA = {
    "module": "keras.layers",
    "class_name": "Lambda",
    "config": {"name": "x", "function": {"class_name": "__lambda__"}},
    "registered_name": None,
}
TFSM = {
    "module": "keras.layers",
    "class_name": "TFSMLayer",
    "config": {"filepath": "/tmp/evil"},
}
HOSTILE = {
    "another class": {"backbone": "Lambda"},
    "a class by path": {"backbone": "os.system"},
    "no name": {"backbone": ["resnet"]},
    "a lambda as argument": {"config": {"block": LAMBDA}},
    "a saved model as dtype": {"config": {"dtype": TFSM}},
    "an unknown argument": {"config": {"function": "os.system"}},
    "a layer in a list": {"config": {"frozen": [LAMBDA]}},
    "a path as dtype": {"config": {"dtype": "/etc/passwd"}},
    "too many layers": {"config": {"blocks": [10**9, 1, 1, 1]}},
    "too wide": {"config": {"width": 10**9}},
    "arguments of another type": {"config": {"block": ["basic"]}},
    "an image without sides": {"config": {"image_shape": 3}},
    "a frozen layer that is not": {"config": {"frozen": ["nope"]}},
    "no arguments": {"config": []},
    "no object": {"kind": "something else", "model": [1]},
    "a lambda as backbone": {"kind": "", "model": {"backbone": LAMBDA}},
    "a saved model as backbone": {"kind": "", "model": {"backbone": TFSM}},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_configuration_is_refused(saved, case):
    arrays, about = archive.read(saved)
    change = dict(HOSTILE[case])
    if isinstance(change.get("config"), dict):
        change["config"] = {**about["config"], **change["config"]}
    archive.write(saved, arrays, {**about, **change})
    with pytest.raises(ValueError, match=r"backbone\.npz"):
        backbones.load(saved)


def test_the_file_of_a_whole_model_says_how_it_is_loaded(kept, tmp_path):
    kept[0].save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"keras\.saving\.load_model"):
        backbones.load(tmp_path / "model.keras")


def test_weights_that_do_not_fit_are_reported(saved):
    arrays, about = archive.read(saved)
    without = {k: v for k, v in arrays.items() if k != "model/conv1_bn/gamma"}
    archive.write(saved, without, about)
    with pytest.raises(ValueError, match="conv1_bn/gamma +NOT loaded"):
        backbones.load(saved)
    arrays.pop("model/conv1_conv/kernel")
    archive.write(saved, arrays, about)
    with pytest.raises(ValueError, match="conv1_conv/kernel must be.*not in"):
        backbones.load(saved)


def test_weights_that_are_not_the_backbones_are_refused(saved):
    arrays, about = archive.read(saved)
    more = {**arrays, "model/more/kernel": np.zeros((2, 0), "float32")}
    archive.write(saved, more, about)
    with pytest.raises(ValueError, match=r"does not have: .*more/kernel"):
        backbones.load(saved)


# What the size of a net follows from, far above and just beside the file's.
SIZES = {
    "blocks by the widest array": {"blocks": [100, 100, 100, 100]},
    "one unit more": {"blocks": [1, 1, 1, 2]},
    "one unit less": {"blocks": [1, 0, 1, 1]},
    "a width that an empty array has": {"width": 3000},
    "another block": {"block": "bottleneck"},
    "another stem": {"stem": "imagenet"},
}


@pytest.mark.parametrize("case", SIZES)
def test_a_net_of_another_size_than_the_file_is_never_built(
    saved, case, monkeypatch
):
    arrays, about = archive.read(saved)
    arrays["model/x/y"] = np.zeros((3000, 0), "float32")
    config = {**about["config"], **SIZES[case]}
    archive.write(saved, arrays, {**about, "config": config})

    def build(config):
        raise AssertionError("built")

    monkeypatch.setattr(backbones.ResNet, "from_config", build)
    with pytest.raises(ValueError, match=r"backbone\.npz.*refused"):
        backbones.load(saved)


TYPES = {
    "a flag that is text": {"dilated": "yes"},
    "a flag that is a number": {"dilated": 1},
    "a count that is a flag": {"width": True},
    "a count that is text": {"width": "16"},
    "a count that is a fraction": {"blocks": [1.0, 1, 1, 1]},
    "a momentum that is a flag": {"bn_momentum": False},
    "a momentum that is no number": {"bn_momentum": float("nan")},
    "a momentum that is endless": {"bn_momentum": float("inf")},
    "a name that is a number": {"name": 1},
    "a name of a megabyte": {"name": "x" * 10**6},
    "an image of 10^18 pixels": {"image_shape": [10**9, 10**9, 3]},
    "frozen layers by number": {"frozen": [1]},
    "no blocks": {"blocks": None},
}


@pytest.mark.parametrize("case", TYPES)
def test_an_argument_of_another_type_is_refused(saved, case):
    arrays, about = archive.read(saved)
    config = {**about["config"], **TYPES[case]}
    archive.write(saved, arrays, {**about, "config": config})
    (name,) = TYPES[case]
    refusal = rf"backbone\.npz.*refused: '{name}' has the value"
    with pytest.raises(ValueError, match=refusal):
        backbones.load(saved)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(saved, bad):
    arrays, about = archive.read(saved)
    gamma = arrays["model/conv1_bn/gamma"].copy()
    gamma[-1] = bad
    archive.write(saved, {**arrays, "model/conv1_bn/gamma": gamma}, about)
    with pytest.raises(ValueError, match=r"npz.*conv1_bn/gamma.*NaN or an inf"):
        backbones.load(saved)


class Attack:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def _hostile_files(folder, mark):
    evil = pickle.dumps(Attack(mark))
    (folder / "pickle.npz").write_bytes(evil)
    np.save(folder / "object.npy", np.array([Attack(mark)], object))
    np.savez(folder / "object.npz", x=np.array([Attack(mark)], object))
    with h5py.File(folder / "evil.h5", "w") as file:
        file["pickle"] = np.void(evil)
    (folder / "config.json").write_text(json.dumps(LAMBDA))
    path = str(mark)
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Lambda(lambda x: [os.mkdir(path), x][1]),
        ]
    )
    if mark.exists():  # Building the model calls it.
        mark.rmdir()
    model.save(folder / "lambda.keras")
    with zipfile.ZipFile(folder / "zip.npz", "w") as file:
        file.writestr("../../escape.npy", evil)


def test_no_hostile_file_is_executed(tmp_path, tiny_backbone):
    mark, folder = tmp_path / "executed", tmp_path / "files"
    folder.mkdir()
    _hostile_files(folder, mark)
    paths = sorted(folder.iterdir())
    assert len(paths) == 7
    for path in paths:
        with pytest.raises(ValueError, match=path.name):
            backbones.load(path)
        with pytest.raises(ValueError, match="damaged|fits|are read from"):
            training.load_weights(tiny_backbone, path)
        assert not mark.exists(), path
    pickle.loads((folder / "pickle.npz").read_bytes())
    assert mark.exists()  # The attack is a real one.
