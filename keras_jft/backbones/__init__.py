"""Images to a pyramid of features; `BACKBONES` lists what there is."""

from keras_jft.backbones.backbone import Backbone
from keras_jft.backbones.files import load, save
from keras_jft.backbones.resnet import ResNet

BACKBONES = {"resnet": ResNet}

__all__ = ["BACKBONES", "Backbone", "ResNet", "load", "save"]
