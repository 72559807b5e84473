"""From which similarity on two images are copies, measured.

Copies that we made ourselves are what must be found; random images, of the
same class or the nearest of another set, are what must not.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """A threshold with what it costs, and the curve that it lies on.

    Attributes:
        threshold: The lowest that reaches the wanted precision.
        precision: At that threshold.
        recall: At that threshold.
        thresholds: `(n,)` falling, every similarity that occurs.
        precisions: `(n,)` at each of them.
        recalls: `(n,)` at each of them.
    """

    threshold: float
    precision: float
    recall: float
    thresholds: np.ndarray
    precisions: np.ndarray
    recalls: np.ndarray


def calibrate(copies, others, precision=0.95):
    """The lowest threshold with a precision, of two samples of similarities.

    Precision is about as many copies and others as are given.

    Args:
        copies: `(n,)` similarities of images and their copies.
        others: `(m,)` similarities of images that are no copies.
        precision: The wanted share of copies among what is found.

    Returns:
        A `Calibration`.

    Raises:
        ValueError: A sample is empty or not finite, `precision` is no
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
            "`copies` and `others` must be finite similarities, one at least. "
            f"Received: {copies.size} and {others.size}."
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
            f"No threshold reaches precision {precision}. The most is "
            f"{precisions.max():.3f}: copies are no more alike than others. "
            "Embed by another backbone."
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


def same_class_pairs(labels, num_pairs, rng):
    """Random pairs of different images of one class.

    Args:
        labels: `(n,)` one label an image.
        num_pairs: Number of pairs; an image may be in several.
        rng: A NumPy generator.

    Returns:
        `(num_pairs, 2)` positions.

    Raises:
        ValueError: No class has two images.
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


def counts(duplicates, thresholds):
    """How many queries are duplicates at each of several thresholds.

    Args:
        duplicates: What `find` gave.
        thresholds: Similarities.

    Returns:
        `{threshold: count}`.
    """
    found = _at_least(duplicates.similarity, np.asarray(thresholds))
    return dict(zip(thresholds, found.tolist(), strict=True))


def _at_least(sample, thresholds):
    """How many of a sample reach each threshold."""
    return len(sample) - np.searchsorted(np.sort(sample), thresholds)
