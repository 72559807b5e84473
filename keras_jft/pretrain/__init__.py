"""From a feature pyramid to many labels."""

from keras_jft.pretrain.classifier import MultiLabelClassifier
from keras_jft.pretrain.losses import MultiLabelLoss, sigmoid_cross_entropy
from keras_jft.pretrain.trainer import (
    RECIPES,
    Config,
    backbone,
    classifier,
    recipe,
    run,
)

__all__ = [
    "RECIPES",
    "Config",
    "MultiLabelClassifier",
    "MultiLabelLoss",
    "backbone",
    "classifier",
    "recipe",
    "run",
    "sigmoid_cross_entropy",
]
