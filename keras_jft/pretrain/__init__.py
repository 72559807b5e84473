"""Pre-training on many labels: the classifier, its losses and its recipes."""

from keras_jft.pretrain.classifier import MultiLabelClassifier
from keras_jft.pretrain.losses import (
    AsymmetricLoss,
    MultiLabelLoss,
    SoftmaxLoss,
    asymmetric_loss,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
)
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
    "AsymmetricLoss",
    "Config",
    "MultiLabelClassifier",
    "MultiLabelLoss",
    "SoftmaxLoss",
    "asymmetric_loss",
    "backbone",
    "classifier",
    "recipe",
    "run",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
]
