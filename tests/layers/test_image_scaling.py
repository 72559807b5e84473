"""ImageScaling: against keras.applications and the formula."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.layers import ImageScaling

pytestmark = pytest.mark.rewritten


@pytest.mark.ops
def test_bfloat16_keeps_all_256_pixel_values_apart():
    pixels = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1).repeat(3, -1)
    scaled = ImageScaling("jft", dtype="mixed_bfloat16")(pixels)
    assert keras.backend.standardize_dtype(scaled.dtype) == "bfloat16"
    assert (
        len(np.unique(ops.convert_to_numpy(ops.cast(scaled, "float32")))) == 256
    )


@pytest.mark.ops
def test_bfloat16_rounds_once_and_after_scaling(rng):
    pixels = rng.uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    scaled = ImageScaling("jft", dtype="mixed_bfloat16")(pixels)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(scaled, "float32")),
        pixels / 127.5 - 1,
        # Half a unit in the last place of what is below 1.
        atol=2.0**-9,
    )


@pytest.mark.ops
@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_the_modes_are_those_of_keras_applications(mode, rng):
    images = rng.integers(0, 256, (2, 4, 5, 3)).astype("uint8")
    expected = keras.applications.imagenet_utils.preprocess_input(
        images.astype("float32"), data_format="channels_last", mode=mode
    )
    scaled = ops.convert_to_numpy(ImageScaling(mode)(images))
    np.testing.assert_allclose(scaled, expected, atol=1e-4)


@pytest.mark.ops
def test_a_pair_scales_and_shifts_each_channel(rng):
    images = rng.integers(0, 256, (2, 4, 5, 3)).astype("uint8")
    layer = ImageScaling((1 / 255, [0.0, -1.0, 2.0]))
    again = ImageScaling.from_config(layer.get_config())
    for each in (layer, again):
        np.testing.assert_allclose(
            ops.convert_to_numpy(each(images)),
            images / 255 + np.array([0, -1, 2]),
            atol=1e-6,
        )
    plain = ops.convert_to_numpy(ImageScaling("none")(images))
    np.testing.assert_array_equal(plain, images)


@pytest.mark.ops
@pytest.mark.parametrize(
    "scaling",
    ["imagenet", None, 1.0, (1.0,), (1.0, "0"), (1.0, (0.0, 0.0)), (True, 0.0)]
    + [(float("nan"), 0.0), ((1.0, 1.0, (1.0, 1.0, 1.0)), 0.0)],
)
def test_unknown_scaling_is_refused(scaling):
    with pytest.raises(ValueError, match="`scaling` must be one of .*caffe"):
        ImageScaling(scaling)
