"""What every backbone promises. A new one adds a line to `SMALL`.

`test_backbone_families.py` has what adapted nets promise.
"""

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.backbones import BACKBONES, Backbone

# Arguments that make a member small enough to train in a test.
SMALL = {"resnet": {"blocks": (1, 1, 1, 1), "width": 4}}


def _small(name, **kwargs):
    return BACKBONES[name](**SMALL[name], **kwargs)


def test_every_backbone_is_in_a_test():
    assert {*SMALL, "adapted"} == {*BACKBONES}


@pytest.fixture(params=SMALL)
def name(request):
    return request.param


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (2, 64, 96, 3)).astype("uint8")


@pytest.mark.ops
def test_pyramid_levels_halve_the_image(name, images):
    backbone = _small(name)
    assert isinstance(backbone, Backbone)
    pyramid = keras.Model(backbone.input, backbone.pyramid_outputs)(images)
    assert list(pyramid) == ["P2", "P3", "P4", "P5"]
    for level, features in pyramid.items():
        stride = 2 ** int(level[1:])
        assert features.shape[:3] == (2, 64 // stride, 96 // stride)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(pyramid["P5"]),
        ops.convert_to_numpy(backbone(images)),
    )


@pytest.mark.ops
def test_level_inputs_name_the_layers_of_the_levels(name):
    backbone = _small(name)
    for level, layer in backbone.pyramid_level_inputs.items():
        assert (
            backbone.get_layer(layer).output
            is (backbone.pyramid_outputs[level])
        )


@pytest.mark.ops
def test_layer_names_start_with_their_stage(name):
    stages = ["scaling", "conv1", "conv2", "conv3", "conv4", "conv5"]
    layers = _small(name).layers[1:]
    found = [layer.name.split("_")[0] for layer in layers]
    assert list(dict.fromkeys(found)) == stages


@pytest.mark.ops
def test_bytes_and_floats_of_one_image_give_the_same_features(name, images):
    backbone = _small(name)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(backbone(images)),
        ops.convert_to_numpy(backbone(images.astype("float32"))),
    )


@pytest.mark.ops
def test_a_saved_backbone_computes_the_same(name, images, tmp_path):
    backbone = _small(name)
    backbone.save(tmp_path / "backbone.keras")
    loaded = keras.saving.load_model(tmp_path / "backbone.keras")
    assert type(loaded) is BACKBONES[name]
    assert list(loaded.pyramid_outputs) == list(backbone.pyramid_outputs)
    assert loaded.get_config() == backbone.get_config()
    np.testing.assert_array_equal(
        ops.convert_to_numpy(backbone(images)),
        ops.convert_to_numpy(loaded(images)),
    )


@pytest.mark.ops
def test_mixed_bfloat16_is_near_float32(name, images):
    backbone = _small(name)
    narrow = _small(name, dtype="mixed_bfloat16")
    for variable, value in zip(narrow.weights, backbone.weights, strict=True):
        assert keras.backend.standardize_dtype(variable.dtype) == "float32"
        variable.assign(value)
    features = narrow(images)
    assert keras.backend.standardize_dtype(features.dtype) == "bfloat16"
    expected = ops.convert_to_numpy(backbone(images))
    error = ops.convert_to_numpy(ops.cast(features, "float32")) - expected
    assert np.linalg.norm(error) < 0.05 * np.linalg.norm(expected)


def test_a_step_trains_every_weight(name, images):
    backbone = _small(name, image_shape=images.shape[1:])
    model = keras.Sequential(
        [backbone, keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    model.compile("sgd", "mse", run_eagerly=True)
    before = [ops.convert_to_numpy(w) for w in backbone.weights]
    model.train_on_batch(images, np.ones((2, 1)))
    for old, variable in zip(before, backbone.weights, strict=True):
        assert (old != ops.convert_to_numpy(variable)).any(), variable.path


def test_xla_stays_off_where_there_are_only_cpus(name, monkeypatch):
    import tensorflow as tf

    cpus = tf.config.list_physical_devices("CPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: cpus)
    backbone = _small(name)
    backbone.compile("sgd", "mse")
    assert backbone.jit_compile is False


def test_the_heads_of_keras_cv_take_a_backbone(name, images):
    import keras_cv

    detector = keras_cv.models.RetinaNet(
        num_classes=3, bounding_box_format="xyxy", backbone=_small(name)
    )
    boxes = detector({"images": images.astype("float32")})
    assert boxes["box"].shape[-1] == 4
    assert boxes["classification"].shape[-1] == 3

    segmenter = keras_cv.models.DeepLabV3Plus(
        num_classes=5,
        backbone=_small(name, image_shape=(64, 96, 3)),
        spatial_pyramid_pooling=None,
    )
    assert segmenter(images.astype("float32")).shape == (2, 64, 96, 5)
