"""Measure the similarity from which two images count as copies.

Copies made by ourselves must be found. Other pairs must not: random images of
the same class, or the most similar images of a set known to be new.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from keras_jft.evaluation.duplicates.search import Duplicates


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """A threshold with its precision and recall, and the whole curve.

    Attributes:
        threshold: The lowest threshold that reaches the requested precision.
        precision: Precision at that threshold.
        recall: Recall at that threshold.
        thresholds: `(n,)` every similarity that occurs, in decreasing order.
        precisions: `(n,)` precision at each of them.
        recalls: `(n,)` recall at each of them.
    """

    threshold: float
    precision: float
    recall: float
    thresholds: np.ndarray
    precisions: np.ndarray
    recalls: np.ndarray


def calibrate(
    copies: ArrayLike, others: ArrayLike, precision: float = 0.95
) -> Calibration:
    """Return the lowest threshold that reaches a precision.

    The precision holds for copies and others in the proportion given here.

    Args:
        copies: `(n,)` similarities of images and their copies.
        others: `(m,)` similarities of images that are not copies.
        precision: The required share of copies among the pairs found.

    Returns:
        A `Calibration`.

    Raises:
        ValueError: If a sample is empty or not finite, `precision` is not a
            fraction, or no threshold reaches it.

    Example:

    >>> found = calibrate([0.9, 0.8, 0.6], [0.7, 0.1], precision=1.0)
    >>> found.threshold, found.recall
    (0.8, 0.6666666666666666)
    """
    copies, others = (np.asarray(s, "float64") for s in (copies, others))
    both = np.concatenate([copies.ravel(), others.ravel()])
    if not (copies.size and others.size and np.isfinite(both).all()):
        raise ValueError(
            "`copies` and `others` must be finite similarities, at least one "
            f"of each. Received: {copies.size} and {others.size}."
        )
    if not 0 < precision <= 1:
        raise ValueError(
            f"`precision` must be in (0, 1]. Received: {precision}."
        )
    thresholds = np.unique(both)[::-1]
    found = _at_least(copies, thresholds)
    wrong = _at_least(others, thresholds)
    precisions, recalls = found / (found + wrong), found / copies.size
    (enough,) = np.nonzero(precisions >= precision)
    if not len(enough):
        raise ValueError(
            f"No threshold reaches precision {precision}. The highest is "
            f"{precisions.max():.3f}: copies are not more similar than other "
            "pairs. Embed with another backbone."
        )
    at = enough[-1]
    return Calibration(
        threshold=float(thresholds[at]),
        precision=float(precisions[at]),
        recall=float(recalls[at]),
        thresholds=thresholds,
        precisions=precisions,
        recalls=recalls,
    )


def same_class_pairs(
    labels: ArrayLike, num_pairs: int, rng: np.random.Generator
) -> np.ndarray:
    """Return random pairs of different images of the same class.

    Args:
        labels: `(n,)` one label per image.
        num_pairs: Number of pairs; an image may be in several.
        rng: A NumPy generator.

    Returns:
        `(num_pairs, 2)` positions.

    Raises:
        ValueError: If no class has two images.
    """
    labels = np.asarray(labels)
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(
        labels[order], return_index=True, return_counts=True
    )
    starts, counts = starts[counts > 1], counts[counts > 1]
    if not len(counts):
        raise ValueError(
            "`labels` must have a class with two images. Received "
            f"{len(labels)} images of as many classes. Give more images."
        )
    share = counts / counts.sum()
    classes = rng.choice(len(counts), num_pairs, p=share)
    one = rng.integers(0, counts[classes])
    step = rng.integers(1, counts[classes])
    other = (one + step) % counts[classes]
    return order[starts[classes][:, None] + np.stack([one, other], axis=1)]


def counts(
    duplicates: Duplicates, thresholds: Iterable[float]
) -> dict[float, int]:
    """Return the number of duplicates at each of several thresholds.

    Args:
        duplicates: The result of `find`.
        thresholds: Similarities.

    Returns:
        `{threshold: count}`.
    """
    found = _at_least(duplicates.similarity, np.asarray(thresholds))
    return dict(zip(thresholds, found.tolist(), strict=True))


def _at_least(sample, thresholds):
    """Return how many values of a sample reach each threshold."""
    return len(sample) - np.searchsorted(np.sort(sample), thresholds)
