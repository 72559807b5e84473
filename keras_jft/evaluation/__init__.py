"""Evaluation: measure a model on a data set."""

from keras_jft.evaluation import duplicates, poses
from keras_jft.evaluation.coco_results import read_detections, save_detections
from keras_jft.evaluation.dense_labels import DenseSet, dense_set
from keras_jft.evaluation.during_fit import Evaluate, run_callbacks
from keras_jft.evaluation.evaluator import Config, predictions, run
from keras_jft.evaluation.files import predict_files
from keras_jft.evaluation.pictures import (
    plot_detections,
    plot_poses,
    plot_segmentation,
)

__all__ = [
    "Config",
    "DenseSet",
    "Evaluate",
    "dense_set",
    "duplicates",
    "plot_detections",
    "plot_poses",
    "plot_segmentation",
    "poses",
    "predict_files",
    "predictions",
    "read_detections",
    "run",
    "run_callbacks",
    "save_detections",
]
