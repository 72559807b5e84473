"""Transforms of an example: pixels, boxes, masks and keypoints together.

A transform is a callable `(example, rng)` that returns an example; `TRANSFORMS`
in `presets.py` are sequences of transforms by name.
"""

from keras_jft.data.transforms.geometric import (
    CenterCrop,
    Pad,
    PadTo,
    RandomCrop,
    RandomFlip,
    Resize,
    ResizedCrop,
    ResizeShortest,
)
from keras_jft.data.transforms.inception_crop import CentralCrop, InceptionCrop
from keras_jft.data.transforms.person_crop import CropPerson
from keras_jft.data.transforms.rand_augment import RandAugment

__all__ = [
    "CenterCrop",
    "CentralCrop",
    "CropPerson",
    "InceptionCrop",
    "Pad",
    "PadTo",
    "RandAugment",
    "RandomCrop",
    "RandomFlip",
    "Resize",
    "ResizeShortest",
    "ResizedCrop",
]
