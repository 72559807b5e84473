"""Predictions as pictures, one module a task."""

from keras_jft.evaluation.pictures.detection import plot_detections

__all__ = ["plot_detections"]
