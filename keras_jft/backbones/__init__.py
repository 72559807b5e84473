"""Backbones: images in, a pyramid of features out. `BACKBONES` lists them."""

from keras_jft.backbones.backbone import Backbone
from keras_jft.backbones.files import load, save
from keras_jft.backbones.resnet import ResNet

BACKBONES = {"resnet": ResNet}

__all__ = ["BACKBONES", "Backbone", "ResNet", "load", "save"]
