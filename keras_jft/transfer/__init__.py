"""Transfer: a backbone in, a model trained for one task out."""

from keras_jft.transfer.freezing import freeze
from keras_jft.transfer.heads import HEADS
from keras_jft.transfer.heads.classification import Classifier
from keras_jft.transfer.heads.deeplab_aspp import DeepLabASPP
from keras_jft.transfer.heads.deeplab_v3_plus import DeepLabV3Plus
from keras_jft.transfer.heads.faster_rcnn import FasterRCNN
from keras_jft.transfer.heads.mean_iou import MeanIoU
from keras_jft.transfer.heads.pose import PoseEstimator
from keras_jft.transfer.heads.retinanet import RetinaNet
from keras_jft.transfer.heads.yolo_v8 import YOLOV8
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
    "PoseEstimator",
    "DeepLabV3Plus",
    "MeanIoU",
    "RetinaNet",
    "YOLOV8",
    "build",
    "freeze",
    "recipe",
    "run",
]
