import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from keras_jft.transfer.heads.upsampling import upsample

pytestmark = pytest.mark.ops


@pytest.mark.parametrize("size, stride", [((17, 9), 4), ((32, 20), 8)])
def test_feature_i_lies_at_pixel_stride_times_i(size, stride, rng):
    h, w = (-(-side // stride) for side in size)
    features = rng.normal(size=(2, h, w, 3)).astype("float32")
    pixels = ops.convert_to_numpy(upsample(ops.array(features), size, stride))

    rows, columns = np.meshgrid(
        np.arange(size[0]) / stride, np.arange(size[1]) / stride, indexing="ij"
    )
    for b in range(2):
        for c in range(3):
            expected = ndimage.map_coordinates(
                features[b, :, :, c], [rows, columns], order=1, mode="nearest"
            )
            np.testing.assert_allclose(pixels[b, :, :, c], expected, atol=1e-5)


def test_sizes_of_deeplab_keep_their_corners(rng):
    features = rng.normal(size=(1, 65, 65, 2)).astype("float32")
    pixels = ops.convert_to_numpy(upsample(ops.array(features), (513, 513), 8))
    np.testing.assert_allclose(pixels[:, ::8, ::8], features, atol=1e-6)
