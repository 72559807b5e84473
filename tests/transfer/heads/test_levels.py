"""Heads on nets that keep their own stride: what is scaled and upsampled."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import transfer
from keras_jft.backbones import adapt
from keras_jft.transfer.heads.levels import with_named_levels
from keras_jft.transfer.heads.upsampling import Resample

SHAPE = (70, 64, 3)


def _net():
    """A net of the strides 16 and 32."""
    images = keras.Input(SHAPE, name="pixels")
    x = keras.layers.Conv2D(4, 16, 16, padding="same", name="fine")(images)
    y = keras.layers.Conv2D(6, 3, 2, padding="same", name="coarse")(x)
    return adapt(keras.Model(images, y, name="plain"), scaling="tf")


@pytest.mark.ops
@pytest.mark.parametrize(("stride", "wanted"), [(32, 8), (14, 8), (8, 16)])
def test_features_are_resampled_as_numpy_interpolates(stride, wanted, rng):
    features = rng.normal(size=(1, 3, 4, 1)).astype("float32")
    sides = (3 * stride - 5, 4 * stride)
    found = Resample(stride, wanted)(features, np.zeros((1, *sides, 3)))
    at = [np.arange(0, side, wanted) for side in sides]
    rows = [
        np.interp(at[0], stride * np.arange(3), features[0, :, i, 0])
        for i in range(4)
    ]
    expected = [
        np.interp(at[1], stride * np.arange(4), row)
        for row in np.transpose(rows)
    ]
    np.testing.assert_allclose(
        ops.convert_to_numpy(found)[0, ..., 0], expected, atol=1e-5
    )


@pytest.mark.ops
def test_deeplab_scales_its_rates_to_features_that_stay_coarse(rng):
    model = transfer.DeepLabASPP(_net(), 3, output_stride=8, rates=(4, 6, 24))
    rates = [model.get_layer(f"aspp_{r}").dilation_rate for r in (4, 6, 24)]
    assert rates == [(1, 1), (2, 2), (6, 6)]
    assert model.output_shape == (None, 9, 8, 3)
    images = rng.integers(0, 256, (2, *SHAPE)).astype("uint8")
    assert model.predict(images, verbose=0).shape == (2, 70, 64)


@pytest.mark.ops
@pytest.mark.parametrize(("wanted", "layers"), [(32, 0), (16, 1), (8, 2)])
def test_pose_upsamples_by_one_transposed_convolution_per_halving(
    wanted, layers
):
    model = transfer.PoseEstimator(
        _net(), 2, output_stride=wanted, radius=8.0, upsampling_filters=5
    )
    found = [
        layer.filters
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2DTranspose)
    ]
    assert found == [5] * layers
    # Those that end beyond the image are left out.
    assert model.output_shape == (None, -(-70 // wanted), 64 // wanted, 8)
    assert model.logits_stride == wanted


def test_keras_cv_is_given_levels_that_are_outputs_of_layers(tiny_backbone):
    assert with_named_levels(tiny_backbone) is tiny_backbone
    net = _net()
    relu = keras.layers.ReLU()
    relu(keras.layers.ReLU()(net.pyramid_outputs["P4"]))
    net.pyramid_outputs = {
        "P4": net.pyramid_outputs["P4"] + 1.0,
        "P5": net.pyramid_outputs["P5"],
    }
    model = with_named_levels(net)
    assert model.pyramid_level_inputs == {"P4": "level_p4", "P5": "level_p5"}
    assert model.get_layer("level_p5").output.shape == (None, 3, 2, 6)


def test_a_head_names_the_levels_that_a_net_lacks():
    with pytest.raises(ValueError, match=r"without \['P2'\].*`DeepLabASPP`"):
        transfer.DeepLabV3Plus(_net(), 3)
    if keras.backend.backend() == "tensorflow":
        with pytest.raises(ValueError, match=r"without \['P3'\]"):
            transfer.RetinaNet(_net(), 3)
