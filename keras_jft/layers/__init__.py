"""Layers that Keras does not have, or runs slowly."""

from keras_jft.layers.batch_normalization import (
    BATCH_NORMALIZATION_MODES,
    FusedBatchNormalization,
)
from keras_jft.layers.convolution import Conv2D
from keras_jft.layers.image_scaling import ImageScaling
from keras_jft.layers.sharded_dense import ShardedDense

__all__ = [
    "BATCH_NORMALIZATION_MODES",
    "Conv2D",
    "FusedBatchNormalization",
    "ImageScaling",
    "ShardedDense",
]
