"""Human pose, top down: a person's crop to keypoints, as in G-RMI."""

from keras_jft.transfer.heads.pose.estimator import HEAD, PoseEstimator

__all__ = ["HEAD", "PoseEstimator"]
