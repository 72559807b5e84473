"""What would ten times more image data buy? Pre-train, transfer, measure, fit.

Import it as `import keras_jft as jft`. The folders are the stages, in order:
`data`, `backbones`, `pretrain`, `transfer`, `evaluation`, `scaling`; below
them lie `layers`, `metrics` and `training`. Each is imported when it is first
used: importing the package alone takes no time, and `scaling` needs no Keras
to forecast.
"""

import typing

from keras_jft import startup
from keras_jft.version import __version__

startup.prepare()

__all__ = [
    "Classifier",
    "DeepLabASPP",
    "DeepLabV3Plus",
    "FasterRCNN",
    "MultiLabelClassifier",
    "PoseEstimator",
    "ResNet",
    "RetinaNet",
    "YOLOV8",
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

if typing.TYPE_CHECKING:
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
        YOLOV8,
        Classifier,
        DeepLabASPP,
        DeepLabV3Plus,
        FasterRCNN,
        PoseEstimator,
        RetinaNet,
    )
else:
    __getattr__, __dir__ = startup.on_demand(__name__)
