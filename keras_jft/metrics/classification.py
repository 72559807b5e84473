"""Top-k accuracy of single-label classification.

Shapes: B images of a batch, N images, C classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_jft.metrics.metric import Metric
from keras_jft.text import number_of


def evaluate_classification(
    labels: ArrayLike, scores: ArrayLike, top: Sequence[int] = (1, 5)
) -> dict[str, Any]:
    """Return top-k accuracies: `{"top1", "top5", "counted", "per_class"}`.

    A prediction is right at k if fewer than k classes rank before the label.
    Equal scores are ranked by class id, the lower first: a model that gives all
    classes the same score does as well as one that always answers class 0. A
    score of nan counts as -infinity.

    Args:
        labels: `(N,)` integer class ids.
        scores: `(N, C)` scores, logits or probabilities.
        top: The k of each accuracy. A k above C is left out.

    Returns:
        `top<k>`, a fraction, for each k; `counted`, the number of images;
        `per_class`, `(C,)` top-1 accuracies, nan for classes without images.

    Raises:
        ValueError: If a shape, a type or an id is not as above.

    Example:
        >>> scores = [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]]
        >>> result = evaluate_classification([0, 1], scores, top=(1, 2))
        >>> result["top1"], result["top2"], result["per_class"].tolist()
        (0.5, 1.0, [1.0, 0.0, nan])
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    _check_shapes(labels, scores)
    metric = Classification(scores.shape[1], top=top)
    return metric.evaluate([(labels, scores)])


class Classification(Metric):
    """Streaming top-k accuracies.

    Args:
        num_classes: Number of classes C.
        top: The k of each accuracy. A k above C is left out.
    """

    score = "top1"
    title = "Top-1 accuracy"

    def __init__(self, num_classes: int, top: Sequence[int] = (1, 5)):
        if not top or any(not isinstance(k, int) or k < 1 for k in top):
            raise ValueError(
                "`top` must be whole numbers above 0, such as (1, 5). "
                f"Received: top={top}"
            )
        self.num_classes = num_classes
        self._images = np.zeros(num_classes, np.int64)  # Images per class.
        self._first = np.zeros(num_classes, np.int64)  # Right at 1.
        # Images of any class that are right at k.
        self._right = {k: 0 for k in top if k <= num_classes}

    def update(self, truth: Any, predictions: Any) -> None:
        """Add labels `(B,)` and scores `(B, C)`."""
        labels, scores = np.asarray(truth), np.asarray(predictions)
        _check_shapes(labels, scores)
        self._check_labels(labels, scores)
        rank = _rank(labels, np.where(np.isnan(scores), -np.inf, scores))
        first = labels[rank == 0]
        self._images += np.bincount(labels, minlength=self.num_classes)
        self._first += np.bincount(first, minlength=self.num_classes)
        for k in self._right:
            self._right[k] += int((rank < k).sum())

    def result(self) -> dict[str, Any]:
        """Return `{"top<k>" for each k, "counted", "per_class"}`."""
        total = int(self._images.sum())
        per_class = np.full(self.num_classes, np.nan)
        present = self._images > 0
        np.divide(self._first, self._images, out=per_class, where=present)
        accuracies = {
            f"top{k}": right / total if total else np.nan
            for k, right in self._right.items()
        }
        return accuracies | {"counted": total, "per_class": per_class}

    def _check_labels(self, labels, scores):
        last = self.num_classes - 1
        if scores.shape[1] != self.num_classes:
            raise ValueError(
                "Expected scores for "
                f"{number_of(self.num_classes, 'class', 'classes')}. Received: "
                f"scores for {number_of(scores.shape[1], 'class', 'classes')}."
            )
        if labels.dtype.kind not in "iu":
            raise ValueError(
                f"Labels must be integers. Received: dtype {labels.dtype}."
            )
        if labels.size and not 0 <= labels.min() <= labels.max() <= last:
            raise ValueError(
                f"Labels must be in 0..{last}. Received: labels from "
                f"{labels.min()} to {labels.max()}."
            )


def _check_shapes(labels, scores):
    if labels.ndim != 1 or scores.ndim != 2 or len(labels) != len(scores):
        raise ValueError(
            "Expected labels (N,) and scores (N, C) with the same N. "
            f"Received: labels {labels.shape}, scores {scores.shape}."
        )


def _rank(labels, scores):
    """Return how many classes rank before the label, `(B,)`."""
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    lower = np.arange(scores.shape[1]) < labels[:, None]
    return ((scores > own) | ((scores == own) & lower)).sum(axis=1)
