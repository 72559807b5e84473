"""Greedy suppression of duplicate detections.

Shapes: N detections.
"""

import numpy as np


def suppress(similarity, scores, threshold):
    """Return the positions that are kept, each the best of those like it.

    From the highest score down, a detection is dropped if it is more similar
    than the threshold to one that was kept.

    Args:
        similarity: `(N, N)`, such as the overlap of boxes.
        scores: `(N,)`.
        threshold: Similarity above which two detections are the same.

    Returns:
        Positions of the detections that are kept, highest score first.

    Example:

    >>> similarity = np.array([[1, 0.7, 0], [0.7, 1, 0.5], [0, 0.5, 1]])
    >>> suppress(similarity, np.array([0.8, 0.9, 0.3]), threshold=0.6)
    [1, 2]
    """
    kept = []
    for candidate in np.argsort(-np.asarray(scores), kind="stable").tolist():
        if all(similarity[candidate, other] <= threshold for other in kept):
            kept.append(candidate)
    return kept
