"""From a backbone to a task."""

from keras_jft.transfer.freezing import freeze
from keras_jft.transfer.heads import HEADS
from keras_jft.transfer.heads.classification import Classifier
from keras_jft.transfer.heads.deeplab_aspp import DeepLabASPP
from keras_jft.transfer.heads.faster_rcnn import FasterRCNN
from keras_jft.transfer.heads.retinanet import RetinaNet
from keras_jft.transfer.recipes import RECIPES, recipe
from keras_jft.transfer.trainer import MODES, Config, build, run

__all__ = [
    "HEADS",
    "MODES",
    "RECIPES",
    "Classifier",
    "Config",
    "DeepLabASPP",
    "FasterRCNN",
    "RetinaNet",
    "build",
    "freeze",
    "recipe",
    "run",
]
