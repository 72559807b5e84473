"""Backbones: images in, a pyramid of features out. `BACKBONES` lists them."""

from keras_jft.backbones.adapter import AdaptedBackbone, adapt
from keras_jft.backbones.backbone import Backbone
from keras_jft.backbones.catalog import check_name, create, names
from keras_jft.backbones.files import load, save
from keras_jft.backbones.resnet import ResNet

BACKBONES: dict[str, type[Backbone]] = {
    "adapted": AdaptedBackbone,
    "resnet": ResNet,
}

__all__ = [
    "BACKBONES",
    "AdaptedBackbone",
    "Backbone",
    "ResNet",
    "adapt",
    "check_name",
    "create",
    "load",
    "names",
    "save",
]
