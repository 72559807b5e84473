"""Metrics: predictions and truth in, numbers out. `METRICS` lists them."""

import typing

from keras_jft import startup
from keras_jft.metrics.classification import (
    Classification,
    evaluate_classification,
)
from keras_jft.metrics.detection.detection import Detection, evaluate_detection
from keras_jft.metrics.metric import Metric
from keras_jft.metrics.multi_label.multi_label import (
    MultiLabel,
    evaluate_multi_label,
)
from keras_jft.metrics.pose.keypoint_similarity import (
    keypoint_similarity,
    sigmas_of,
)
from keras_jft.metrics.pose.pose import Pose, evaluate_pose
from keras_jft.metrics.segmentation import Segmentation, evaluate_segmentation

# Everything else is NumPy and does not import Keras.
if typing.TYPE_CHECKING:
    from keras_jft.metrics.multi_label.mean_average_precision import (
        MeanAveragePrecision,
    )
else:
    __getattr__, __dir__ = startup.on_demand(__name__)

# Each is made by `METRIC(num_classes=...)`.
METRICS: dict[str, type[Metric]] = {
    "classification": Classification,
    "detection": Detection,
    "multi_label": MultiLabel,
    "pose": Pose,
    "segmentation": Segmentation,
}

__all__ = [
    "METRICS",
    "Classification",
    "Detection",
    "MeanAveragePrecision",
    "Metric",
    "MultiLabel",
    "Pose",
    "Segmentation",
    "evaluate_classification",
    "evaluate_detection",
    "evaluate_multi_label",
    "evaluate_pose",
    "evaluate_segmentation",
    "keypoint_similarity",
    "sigmas_of",
]
