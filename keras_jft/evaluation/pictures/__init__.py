"""Pictures of predictions, one module per task."""

from keras_jft.evaluation.pictures.detection import plot_detections
from keras_jft.evaluation.pictures.pose import plot_poses
from keras_jft.evaluation.pictures.segmentation import plot_segmentation

__all__ = ["plot_detections", "plot_poses", "plot_segmentation"]
