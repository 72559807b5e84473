"""In what unit scores are, and how scores and sizes are written."""

import numpy as np

APART = 20  # Scores of one unit, some above 1, are not so many times apart.
CLOSE = 2  # The highest percentages of a study are seldom below it.


def natural_bounds(scores):
    """Lowest and highest score: of fractions if all are at most 1, or percent.

    Args:
        scores: Scores, an array.

    Returns:
        `(0, 1)` or `(0, 100)`.
    """
    return (0.0, 1.0) if np.max(scores) <= 1 else (0.0, 100.0)


def bounds_of(scores, bounds=None, name="score"):
    """Lowest and highest score there can be, after checks.

    Args:
        scores: All scores that are of one unit, finite numbers.
        bounds: What the user says of them, or None to go by the scores.
        name: The column of scores.

    Returns:
        Two floats.

    Raises:
        ValueError: If scores lie outside, `bounds` is no range, or it cannot
            be told whether scores are fractions or percent.

    Example:
        >>> bounds_of([0.2, 0.9]), bounds_of([3.0, 30.0])
        ((0.0, 1.0), (0.0, 100.0))
    """
    scores = np.asarray(scores, np.float64)
    if bounds is None:
        _check_one_unit(scores, name)
        bounds = natural_bounds(scores)
    low, high = map(float, bounds)
    if not -np.inf < low < high < np.inf:
        raise ValueError(
            "The range of a metric must be two finite numbers, the lower one "
            f"first. Received: {(low, high)}."
        )
    if scores.min() < low or scores.max() > high:
        raise ValueError(
            f"`{name}` must lie within the bounds {(low, high)}. Received: "
            f"scores from {scores.min()} to {scores.max()}. Give the metric's "
            "own range (`bounds=(low, high)`)."
        )
    return low, high


def _check_one_unit(scores, name):
    below, above = scores[scores <= 1], scores[scores > 1]
    if not (len(below) and len(above)):
        return
    low, high = below.max(), above.min()
    mixed = low > 0 and APART * low < high
    if mixed or above.max() <= CLOSE:
        raise ValueError(
            f"`{name}` must be all fractions or all percent. Received both, as "
            f"it looks: {low:g} and {high:g}. Mend them, or give the metric's "
            "own range (`bounds=(low, high)`)."
        )


def points(bounds):
    """Factor from scores to points: 100 for fractions, else 1.

    Args:
        bounds: Lowest and highest score there can be.
    """
    return 100 if max(map(abs, bounds)) <= 1 else 1


def mean_and_spread(score):
    """`"41.3 ±0.8"`.

    Args:
        score: `{"mean": .., "std": ..}`, with nan as the deviation of one run.
    """
    spread = f" ±{score['std']:.1f}" if score["std"] >= 0 else ""
    return f"{score['mean']:.1f}{spread}"


def sized(size):
    """A size in full: `"30,000"`, or `"0.03"` or `"1.5"` of what has parts.

    Args:
        size: The size, a number.
    """
    return f"{size:,.0f}" if float(size).is_integer() else f"{size:g}"


def titled(text):
    """`text` with a capital at its start, and the rest as it is.

    Args:
        text: A string.
    """
    return text[:1].upper() + text[1:]
