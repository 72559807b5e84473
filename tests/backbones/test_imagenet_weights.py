"""Conversion from `keras.applications`: random nets, equal features."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.backbones import ResNet
from keras_jft.backbones.imagenet_weights import _convert_applications


def _randomized(make, rng):
    """A net of `keras.applications` whose every variable matters."""
    model = make(include_top=False, weights=None)
    for variable in model.variables:
        shape, name = variable.shape, variable.path.split("/")[-1]
        if name in ("gamma", "moving_variance"):
            # Sums of up to 50 residuals stay in range.
            variable.assign(rng.uniform(0.3, 0.9, shape))
        elif name != "kernel":
            variable.assign(rng.normal(0, 0.3, shape))
    # The two epsilons differ by 1e-8: only small variances show it.
    small = model.get_layer("conv5_block3_3_bn").moving_variance
    small.assign(np.zeros(small.shape))
    return model


# 101 has units of two digits, as 152 has.
@pytest.mark.parametrize("depth", [50, 101])
def test_imagenet_weights_give_the_features_of_keras_applications(
    depth, rng, monkeypatch
):
    source = _randomized(getattr(keras.applications, f"ResNet{depth}"), rng)
    asked = {}

    def load(**kwargs):
        asked.update(kwargs)
        return source

    monkeypatch.setattr(keras.applications, f"ResNet{depth}", load)
    backbone = ResNet.from_depth(depth, weights="imagenet", bn_momentum=0.9)
    assert asked == {"include_top": False, "weights": "imagenet"}
    assert (backbone.pool_padding, backbone.scaling) == ("symmetric", "caffe")
    assert backbone.bn_momentum == 0.9

    images = rng.integers(0, 256, (1, 64, 64, 3)).astype("uint8")
    preprocessed = keras.applications.resnet.preprocess_input(
        images.astype("float32"), data_format="channels_last"
    )
    expected = ops.convert_to_numpy(source(preprocessed))
    atol = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(
        ops.convert_to_numpy(backbone(images)), expected, rtol=1e-4, atol=atol
    )


@pytest.mark.ops
def test_depths_without_weights_are_refused():
    with pytest.raises(
        ValueError, match="`depth` must be one of .50, 101, 152"
    ):
        ResNet.from_depth(18, weights="imagenet", width=4)


@pytest.mark.ops
@pytest.mark.parametrize(
    "argument", [{"scaling": "jft"}, {"pool_padding": "same"}], ids=str
)
def test_arguments_that_the_weights_do_not_fit_are_refused(argument):
    (name,) = argument
    with pytest.raises(ValueError, match=f"needs {name}=.*Leave `{name}` out"):
        ResNet.from_depth(50, weights="imagenet", width=4, **argument)


@pytest.mark.ops
def test_models_of_different_depth_or_width_are_not_converted():
    source = ResNet((1, 1, 1, 1), 4)
    with pytest.raises(ValueError, match=r"differ in \['conv4_2_1', .*_3'\]"):
        _convert_applications(source, ResNet((1, 1, 2, 1), 4))
    with pytest.raises(ValueError, match="differ in .*'conv1', 'conv2_1_0'"):
        _convert_applications(source, ResNet((1, 1, 1, 1), 8))
