"""Mean average precision of many-label predictions, cut at the top k.

Published as "MAP@100", without a formula, for the 14,000 densely labeled
images of FastEval14k. This module has three readings of it:

    A  class-wise. An image is a candidate of the k classes it scores highest;
       a class ranks its candidates and divides by all its positives.
    B  image-wise. An image ranks its k best classes and divides by
       min(positives, k); the mean is over images.
    C  class-wise. A class ranks the k images that score it highest and
       divides by min(positives, k).

Scores are ranked by (-score, index): of equal scores the lower class id, or
the earlier image, comes first. A score of nan counts as -infinity.

Shapes: B images of a batch, N images, L label slots per image, C classes,
K = min(k, C) classes kept.

References:
    Chollet 2017, "Xception", https://arxiv.org/abs/1610.02357, section 4.1
    (top 100 predictions, classes weighted by how common they are; A).
    Abu-El-Haija et al. 2016, "YouTube-8M", https://arxiv.org/abs/1609.08675
    (a class's best n examples; C).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_jft import checks
from keras_jft.metrics.metric import Metric
from keras_jft.text import number_of

VARIANTS = ("A", "B", "C")


def evaluate_multi_label(
    labels: ArrayLike,
    scores: ArrayLike,
    k: int = 100,
    variant: str = "A",
    class_weights: ArrayLike | None = None,
) -> dict[str, Any]:
    """Return mean average precision at k: `{"map", "counted", "per_class"}`.

    Args:
        labels: `(N, L)` integer class ids. -1 is padding, anywhere in a row;
            a repeated id counts once.
        scores: `(N, C)` scores, logits or probabilities.
        k: How many predictions count per image (variant C: per class).
        variant: `"A"`, `"B"` or `"C"`, as this module's docstring has them.
        class_weights: `(C,)` importance of each class, at least 0, or None
            for equal weights.

    Returns:
        `map`, a fraction, nan if nothing counts; `counted`, the number of
        classes (variant B: of images) with positives, over which the mean is
        taken; and, for A and C, `per_class`, `(C,)` average precisions, nan
        for classes without positives.

    Raises:
        ValueError: If a shape, a type, an id or a weight is not as above.

    Example:
        >>> result = evaluate_multi_label(
        ...     labels=[[0, -1], [0, 1]], scores=[[0.9, 0.1], [0.2, 0.8]]
        ... )
        >>> result["map"], result["per_class"].tolist()
        (1.0, [1.0, 1.0])
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    _check_lengths(labels, scores)
    metric = MultiLabel(scores.shape[1], k, variant, class_weights)
    # In blocks of rows, so that temporary arrays do not grow with N.
    return metric.evaluate(
        (labels[start : start + 512], scores[start : start + 512])
        for start in range(0, len(scores), 512)
    )


class MultiLabel(Metric):
    """Streaming mean average precision at k.

    Only the k best classes of each image are kept (variant C: the k best
    images of each class), so that 14,000 images of 18,291 classes take 13 MB.

    Args:
        num_classes: Number of classes C.
        k: How many predictions count per image (variant C: per class).
        variant: `"A"`, `"B"` or `"C"`, as this module's docstring has them.
        class_weights: `(C,)` importance of each class, or None for equal
            weights.
    """

    score = "map"
    title = "Mean average precision"

    def __init__(
        self,
        num_classes: int,
        k: int = 100,
        variant: str = "A",
        class_weights: ArrayLike | None = None,
    ):
        check_arguments(k, variant)
        self.num_classes = num_classes
        self.k = k
        self.variant = variant
        self._weights = check_weights(class_weights, num_classes)
        self._positives = np.zeros(num_classes, np.int64)  # Images per class.
        # One (scores, classes, hits) per batch, each (B, K); variant C: a
        # single one, (C, k).
        self._kept: list = []
        # Variant B: the best possible sum of each image, one (B,) per batch.
        self._ideals: list = []

    def update(self, truth: Any, predictions: Any) -> None:
        """Add label ids `(B, L)`, padded with -1, and scores `(B, C)`."""
        labels, scores = np.asarray(truth), np.asarray(predictions)
        _check_lengths(labels, scores)
        _check_ids(labels, scores, self.num_classes)
        labels, scores = _distinct(labels), _ordered(scores)
        positive = np.zeros(scores.shape, bool)
        images, slots = np.nonzero(labels >= 0)
        positive[images, labels[images, slots]] = True
        self._positives += np.bincount(
            labels[images, slots], minlength=self.num_classes
        )
        if self.variant == "C":
            self._keep_best_images(scores, positive)
            return
        classes = _top(scores, self.k)
        take = (np.arange(len(scores))[:, None], classes)
        self._kept.append((scores[take], classes, positive[take]))
        if self.variant == "B":
            weights = np.where(labels >= 0, self._weights[labels], 0)
            heaviest = -np.sort(-weights, axis=1)[:, : classes.shape[1]]
            self._ideals.append(heaviest.sum(axis=1))

    def result(self) -> dict[str, Any]:
        """Return `{"map", "counted"}` and, for A and C, `per_class`."""
        if self.variant == "B":
            return self._mean_over_images()
        counted = self._positives > 0
        per_class = np.full(self.num_classes, np.nan)
        if self._kept:
            sums, ideals = (
                self._sums_by_class()
                if self.variant == "A"
                else self._sums_of_best_images()
            )
            per_class[counted] = sums[counted] / ideals[counted]
        weights = self._weights[counted]
        return {
            "map": _ratio(weights @ per_class[counted], weights.sum()),
            "counted": int(counted.sum()),
            "per_class": per_class,
        }

    def _keep_best_images(self, scores, positive):
        scores, positive = scores.T, positive.T
        if self._kept:
            old_scores, _, old_hits = self._kept[0]
            if old_scores.shape[1] == self.k:  # An equal later image loses.
                least = old_scores.min(axis=1)
                scores, positive = _above(least, scores, positive)
            scores = np.concatenate([old_scores, scores], axis=1)
            positive = np.concatenate([old_hits, positive], axis=1)
        best = _top(scores, self.k)
        take = (np.arange(len(scores))[:, None], best)
        self._kept = [(scores[take], None, positive[take])]

    def _sums_by_class(self):
        """Return variant A's sums of precision and their divisors, `(C,)`."""
        scores, classes, hits = (
            np.concatenate([part.ravel() for part in parts])
            for parts in zip(*self._kept, strict=True)
        )
        # lexsort is stable: equal scores of a class stay in image order.
        order = np.lexsort((-scores, classes))
        classes, hits = classes[order], hits[order]
        starts = np.searchsorted(classes, np.arange(self.num_classes))
        ranks = np.arange(len(classes)) - starts[classes] + 1
        found = np.concatenate([[0], np.cumsum(hits)])
        precision = (found[1:] - found[starts[classes]]) / ranks
        sums = np.bincount(
            classes, weights=hits * precision, minlength=self.num_classes
        )
        return sums, self._positives

    def _sums_of_best_images(self):
        """Return variant C's sums of precision and their divisors, `(C,)`."""
        scores, _, hits = self._kept[0]
        hits = np.take_along_axis(hits, _descending(scores), axis=1)
        sums = (hits * _precision(hits)).sum(axis=1)
        return sums, np.minimum(self._positives, self.k)

    def _mean_over_images(self):
        if not self._kept:
            return {"map": np.nan, "counted": 0}
        scores, classes, hits = map(
            np.concatenate, zip(*self._kept, strict=True)
        )
        order = _descending(scores)
        hits = np.take_along_axis(hits, order, axis=1)
        gains = hits * self._weights[np.take_along_axis(classes, order, axis=1)]
        sums = (gains * _precision(hits)).sum(axis=1)
        ideals = np.concatenate(self._ideals)
        counted = ideals > 0
        total = (sums[counted] / ideals[counted]).sum()
        return {
            "map": _ratio(total, counted.sum()),
            "counted": int(counted.sum()),
        }


def check_arguments(k, variant):
    """Raise `ValueError` unless `k` and `variant` are usable."""
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"`k` must be a whole number above 0. Received: k={k}")
    checks.one_of("variant", variant, VARIANTS)


def check_weights(class_weights, num_classes):
    """Return `(C,)` float64 weights, ones if `class_weights` is None."""
    if class_weights is None:
        return np.ones(num_classes)
    weights = np.asarray(class_weights, np.float64)
    usable = np.isfinite(weights) & (weights >= 0)
    if weights.shape != (num_classes,) or not usable.all():
        raise ValueError(
            "`class_weights` must hold one finite number of at least 0 per "
            f"class, shape ({num_classes},). Received: shape {weights.shape}, "
            f"{int((~usable).sum())} of them negative or not finite."
        )
    return weights


def _check_lengths(labels, scores):
    if labels.ndim != 2 or scores.ndim != 2 or len(labels) != len(scores):
        raise ValueError(
            "Expected label ids (N, L) and scores (N, C) with the same N. "
            f"Received: labels {labels.shape}, scores {scores.shape}."
        )


def _check_ids(labels, scores, num_classes):
    if scores.shape[1] != num_classes:
        raise ValueError(
            "Expected scores for "
            f"{number_of(num_classes, 'class', 'classes')}. Received: scores "
            f"for {number_of(scores.shape[1], 'class', 'classes')}."
        )
    checks.label_ids(labels, num_classes)
    if labels.size and not -1 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(
            f"Label ids must be in 0..{num_classes - 1}, or -1 for padding. "
            f"Received: ids from {labels.min()} to {labels.max()}."
        )


def _distinct(labels):
    """Return the sorted label ids of each row; a repeated id becomes -1."""
    labels = np.sort(labels.astype(np.int64), axis=1)
    repeated = labels[:, 1:] == labels[:, :-1]
    labels[:, 1:][repeated] = -1
    return labels


def _ordered(scores):
    """Return scores as float32 or float64, nan as -infinity."""
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float64)
    undefined = np.isnan(scores)
    if not undefined.any():
        return scores
    return np.where(undefined, scores.dtype.type(-np.inf), scores)


def _top(scores, k):
    """Return the columns of each row's k best scores, `(rows, K)`, sorted."""
    rows, columns = scores.shape
    k = min(k, columns)
    least = np.partition(scores, columns - k, axis=1)[:, columns - k, None]
    row, column = np.divmod(np.flatnonzero(scores >= least), columns)
    if len(row) > rows * k:  # Of scores equal to the k-th, keep the first.
        equal = scores[row, column] == least[row, 0]
        room = k - np.bincount(row[~equal], minlength=rows)
        nth = np.cumsum(equal)
        starts = np.searchsorted(row, np.arange(rows))
        nth -= (nth - equal)[starts][row]
        column = column[~equal | (nth <= room[row])]
    return column.reshape(rows, k)


def _above(least, scores, positive):
    """Return the scores of each row above `least`, in order, and their hits.

    Rows are padded with -infinity to the length of the longest one.
    """
    above = np.flatnonzero(scores > least[:, None])
    row, column = np.divmod(above, scores.shape[1])
    counts = np.bincount(row, minlength=len(scores))
    slot = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    better = np.full((len(scores), counts.max()), -np.inf, scores.dtype)
    hits = np.zeros(better.shape, bool)
    better[row, slot] = scores[row, column]
    hits[row, slot] = positive[row, column]
    return better, hits


def _descending(scores):
    """Return the stable order of each row by falling score."""
    return np.argsort(-scores, axis=1, kind="stable")


def _precision(hits):
    """Return the precision at each rank of sorted hits `(rows, ranks)`."""
    return np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)


def _ratio(numerator, denominator):
    return float(numerator / denominator) if denominator else np.nan
