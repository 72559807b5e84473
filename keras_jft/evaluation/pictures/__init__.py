"""Predictions as pictures, one module a task."""

from keras_jft.evaluation.pictures.segmentation import plot_segmentation

__all__ = ["plot_segmentation"]
