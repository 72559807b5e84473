"""Object keypoint similarity (OKS) and the falloffs (sigmas) that it needs.

Shapes: N and M people, K keypoints.

References:
    https://cocodataset.org/#keypoints-eval.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from keras_jft import sides

# Standard deviation among annotators, in units of the square root of a person's
# area. Head and neck are CrowdPose's, the others COCO's.
SIGMAS = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
    "head_top": 0.079,
    "neck": 0.079,
}


def sigmas_of(names: Sequence[str]) -> np.ndarray:
    """Return the falloffs of keypoints by their names.

    Args:
        names: One name per keypoint, such as "left_hip", "LHip" or "neck", in
            any spelling that `keras_jft.sides` reads.

    Returns:
        `(K,)` float64.

    Raises:
        ValueError: If a name is unknown.

    Example:

    >>> sigmas_of(("Neck", "left_hip")).tolist()
    [0.079, 0.107]
    """
    joints = [side.joint for side in sides.read(names)]
    unknown = [
        name
        for name, joint in zip(names, joints, strict=True)
        if joint not in SIGMAS
    ]
    if unknown:
        raise ValueError(
            f"Falloffs are known for {sorted(SIGMAS)}, left and right. "
            f"Received: {unknown}. Give `sigmas`, one per keypoint."
        )
    return np.array([SIGMAS[joint] for joint in joints])


def keypoint_similarity(
    keypoints: ArrayLike, others: ArrayLike, areas: ArrayLike, sigmas: ArrayLike
) -> np.ndarray:
    """Return the similarity, 0 to 1, of each pose with each of another set.

    Args:
        keypoints: `(N, K, 3)` x, y in pixels and visibility. Keypoints with a
            visibility above 0 count.
        others: `(M, K, 2)` x, y in pixels; further columns are not read.
        areas: Areas of the people in square pixels, `(N,)`, or `(N, M)` with
            one per pair.
        sigmas: `(K,)` falloffs.

    Returns:
        `(N, M)`: the mean over keypoints of `exp(-d^2 / (2 area (2 sigma)^2))`
        where d is the distance in pixels; 0 where no keypoint counts.

    Example:

    >>> pose = np.array([[[10.0, 10.0, 2.0], [0.0, 0.0, 0.0]]])
    >>> other = np.array([[[10.0, 13.0], [99.0, 99.0]]])
    >>> keypoint_similarity(pose, other, [4.5], [0.5, 0.5]).round(4).tolist()
    [[0.3679]]
    """
    keypoints, others = np.asarray(keypoints), np.asarray(others)
    areas = np.asarray(areas, "float64")
    if areas.ndim == 1:
        areas = areas[:, None]
    counts = keypoints[:, None, :, 2] > 0
    distances = keypoints[:, None, :, :2] - others[None, :, :, :2]
    squared = (distances.astype("float64") ** 2).sum(-1)
    # As in pycocotools: no division by an area of zero.
    spread = 2 * (areas[..., None] + np.spacing(1))
    spread = spread * (2 * np.asarray(sigmas)) ** 2
    alike = np.exp(-squared / spread) * counts
    return alike.sum(-1) / np.maximum(counts.sum(-1), 1)
