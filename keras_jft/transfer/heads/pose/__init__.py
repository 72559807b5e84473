"""Top-down human pose: from a crop of one person to keypoints (G-RMI)."""

from keras_jft.transfer.heads.pose.estimator import HEAD, PoseEstimator

__all__ = ["HEAD", "PoseEstimator"]
