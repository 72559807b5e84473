"""KerasCV's DeepLabV3+ on our backbone, against KerasCV's own model."""

import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import training, transfer
from keras_jft.backbones import ResNet
from keras_jft.transfer import DeepLabV3Plus, MeanIoU

pytestmark = pytest.mark.rewritten


@pytest.fixture(scope="module")
def backbone():
    return ResNet(
        (1, 1, 1, 1),
        width=16,
        block="basic",
        image_shape=(64, 64, 3),
        bn_momentum=0.9,
    )


@pytest.fixture(scope="module")
def model(backbone):
    return DeepLabV3Plus(backbone, 3, rates=(1, 2), projection_filters=7)


@pytest.mark.ops
def test_probabilities_are_those_of_keras_cv(backbone, model, rng):
    import keras_cv

    stock = keras_cv.models.DeepLabV3Plus(
        backbone,
        3,
        projection_filters=7,
        spatial_pyramid_pooling=keras_cv.layers.SpatialPyramidPooling([1, 2]),
    )
    stock.set_weights(model.get_weights())
    images = rng.integers(0, 256, (2, 64, 64, 3)).astype("uint8")
    logits = model(images)
    assert logits.shape == (2, 16, 16, 3)
    enlarge = keras.layers.UpSampling2D(4, interpolation="bilinear")
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.softmax(enlarge(logits))),
        ops.convert_to_numpy(stock(images)),
        atol=1e-5,
    )


@pytest.mark.ops
def test_probabilities_are_those_of_keras_hub(backbone, rng):
    import keras_hub

    model = DeepLabV3Plus(
        backbone,
        3,
        implementation="keras_hub",
        rates=(1, 2),
        projection_filters=7,
    )
    stock = keras_hub.models.DeepLabV3ImageSegmenter(
        keras_hub.models.DeepLabV3Backbone(
            backbone,
            spatial_pyramid_pooling_key="P5",
            low_level_feature_key="P2",
            upsampling_size=8,
            dilation_rates=[1, 2],
            projection_filters=7,
            image_shape=(64, 64, 3),
        ),
        3,
    )
    *weights, last = model.get_weights()
    stock.backbone.set_weights(weights)
    stock.output_conv.set_weights([last])
    images = rng.integers(0, 256, (2, 64, 64, 3)).astype("uint8")
    logits = model(images)
    assert logits.shape == (2, 16, 16, 3)
    enlarge = keras.layers.UpSampling2D(4, interpolation="bilinear")
    np.testing.assert_allclose(
        ops.convert_to_numpy(enlarge(logits)),
        ops.convert_to_numpy(stock(images)),
        atol=1e-5,
    )
    again = DeepLabV3Plus.from_config(model.get_config())
    assert (again.implementation, again.rates) == ("keras_hub", (1, 2))


@pytest.mark.ops
def test_every_argument_survives_saving(model, tmp_path):
    again = DeepLabV3Plus.from_config(model.get_config())
    assert (again.num_classes, again.rates) == (3, (1, 2))
    assert (again.projection_filters, again.name) == (7, model.name)
    assert again.backbone.get_config() == model.backbone.get_config()


def test_a_dilated_backbone_is_rebuilt_with_its_weights(backbone):
    dilated = backbone.rebuild(output_stride=8)
    model = DeepLabV3Plus(dilated, 3)
    assert (model.backbone.output_stride, model.logits_stride) == (32, 4)
    for ours, theirs in zip(
        model.backbone.weights, backbone.weights, strict=True
    ):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_freezing_reaches_the_backbone_inside(backbone):
    model = transfer.freeze(
        DeepLabV3Plus(backbone.rebuild(), 3), before="conv5"
    )
    trained = {v.path.split("/")[0] for v in model.trainable_variables}
    assert not {name for name in trained if name.startswith("conv1")}
    assert {name for name in trained if name.startswith("conv5")}
    stages = {n.split("_")[0] for n in trained if n.startswith("conv")}
    assert stages == {"conv5"}


@pytest.mark.parametrize("size", [(65, 65), (64, 48), (None, None)])
def test_sides_that_do_not_fit_are_refused(backbone, size):
    with pytest.raises(ValueError, match=r"a fixed size.*rebuild\(image_shape"):
        DeepLabV3Plus(backbone.rebuild(image_shape=(*size, 3)), 3)


def test_the_true_size_gives_logits_at_stride_4():
    # Units beyond the first of a stage leave sizes as they are.
    backbone = ResNet((1, 1, 1, 1), image_shape=(512, 512, 3))
    model = DeepLabV3Plus(backbone, 21)
    assert model.output_shape == (None, 128, 128, 21)
    assert isinstance(model.default_metrics()[0], MeanIoU)


def test_without_keras_cv_the_error_says_what_to_install(backbone, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_cv", None)
    with pytest.raises(ImportError, match="keras-cv and tensorflow, or use"):
        DeepLabV3Plus(backbone, 3)


def test_all_weights_are_loaded_from_its_own_file(model, tmp_path):
    """Keras numbers the layers inside of KerasCV's pyramid layer."""
    model.save_weights(tmp_path / "a.weights.h5")
    again = DeepLabV3Plus.from_config(model.get_config())
    table = training.load_weights(again, tmp_path / "a.weights.h5")
    assert not table.only_in_model + table.other_shape
    for ours, theirs in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs)
        )
