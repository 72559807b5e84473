"""What would ten times more image data buy? Pre-train, transfer, measure, fit.

Import it as `import keras_jft as jft`. The folders are the stages, in order:
`data`, `backbones`, `pretrain`, `transfer`, `evaluation`, `scaling`; below
them lie `layers`, `metrics` and `training`.
"""

# ruff: noqa: E402

from keras_jft import startup

startup.import_keras()  # Before what follows imports it.

from keras_jft import (
    backbones,
    data,
    evaluation,
    layers,
    metrics,
    pretrain,
    scaling,
    training,
    transfer,
)
from keras_jft.backbones import ResNet
from keras_jft.pretrain import MultiLabelClassifier
from keras_jft.transfer import (
    Classifier,
    DeepLabASPP,
    DeepLabV3Plus,
    FasterRCNN,
    PoseEstimator,
    RetinaNet,
)
from keras_jft.version import __version__

__all__ = [
    "Classifier",
    "DeepLabASPP",
    "DeepLabV3Plus",
    "FasterRCNN",
    "MultiLabelClassifier",
    "PoseEstimator",
    "ResNet",
    "RetinaNet",
    "__version__",
    "backbones",
    "data",
    "evaluation",
    "layers",
    "metrics",
    "pretrain",
    "scaling",
    "training",
    "transfer",
]
