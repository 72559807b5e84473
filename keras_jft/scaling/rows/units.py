"""Units of scores: their bounds, which direction is better, how to print them.

"Points" are percent points throughout.
"""

import itertools
import math
import numbers
import re
from typing import NamedTuple

import numpy as np
from scipy import stats

from keras_jft import checks

DIRECTIONS = ("max", "min")
# Words in a column's name which mean that lower is better: first for scores
# without an upper limit, then for rates.
OPEN_ENDED = re.compile(
    "(?!gloss|floss).*loss(es)?|nll|perplexity|ppl|[rn]?mse|mae|rmsle|mape|bp[bcd]|"
    ".*entropy|xent|kl|divergence|deviance|[fk]id|lpips|epe|mpjpe|distance|"
    "regret|cost|residual"
)
RATES = re.compile(
    ".*errors?|error.*|err|[wctde]er|hter|ece|brier|f[pnd]r|frr|"
    "misclassification|misses"
)
# Words for what is missing to a whole, as in "1 - accuracy".
COMPLEMENTS = re.compile(
    "minus|complement|deficit|gap|drop|miss(ed|ing)?|lower|shortfall"
)
# Phrases in which they mean something else: parts of nets and of bodies, and
# global average precision, as in "GAP@20".
NO_COMPLEMENTS = re.compile(
    r"drop[\W_]*(path|out|block|connect)|gap[\W_]*@|"
    r"lower(?![\W_]*(is[\W_]*)?better)",
    re.IGNORECASE,
)
FROM_THE_WHOLE = re.compile(r"\s*1(00)?(\.0)?\s*%?\s*[-\u2212\u2013]")
# Words which mean that higher is better.
HIGHER_IS_BETTER = re.compile(
    "accuracy|acc|top[0-9]+|m?ap[0-9]*|ar[0-9]*|m?iou|dice|auc|auroc|auprc|f1|"
    "precision|recall|sensitivity|specificity|pck|oks|bleu|rouge|r2|kappa|mcc|"
    "ndcg|mrr|reward|psnr|ssim"
)
# Words that do not change the meaning of those beside them.
NEUTRAL = re.compile(
    "val|valid|validation|test|train|eval|dev|mean|avg|average|best|final|"
    "macro|micro|weighted|balanced|score|at|box|mask|roc|pr|top|without|"
    "duplicates|[0-9]*"
)
# A curve falls if the rank correlation of sizes and scores is at most this, by
# number of sizes: chance alone reaches it in 1 of 20 orders.
FALLS = {4: -1.0, 5: -0.9, 6: -0.82}
FALLS_OF_MANY = -0.79
APART = 20  # Largest ratio expected between scores of a unit around 1.
CLOSE = 2  # The highest percentage in a study is seldom lower than this.


def is_finite(value):
    """Return whether a value is a finite number (a boolean is not one)."""
    if isinstance(value, (bool, np.bool)) or not isinstance(
        value, numbers.Real
    ):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # An integer beyond the largest float.
        return False


def natural_bounds(scores):
    """Return the bounds of scores: fractions if all are at most 1, or percent.

    Args:
        scores: An array of scores.

    Returns:
        `(0, 1)` or `(0, 100)`.
    """
    return (0.0, 1.0) if np.max(scores) <= 1 else (0.0, 100.0)


def direction_of(name, curves, direction=None, metrics=()):
    """Return which direction improves scores, `"max"` or `"min"`.

    Without an explicit `direction`, higher is taken to be better, unless there
    is reason for doubt: the name suggests a loss or an error (even then lower
    need not be better, since a negated loss is often called a loss), or the
    scores fall as the size grows and the name does not clearly say that higher
    is better (`top1` does). In doubt the user must say.

    Args:
        name: The column of scores.
        curves: Pairs of arrays, sizes and scores, one pair per curve.
        direction: The user's choice, or None.
        metrics: Other names for the score: values of `metric` and `task`.

    Raises:
        ValueError: If `direction` is unknown, or None in a case of doubt; or
            if the names of some curves, but not all, say that lower is better.

    Example:
        >>> direction_of("top1", [([1, 2, 3], [0.3, 0.2, 0.1])])
        'max'
    """
    losses = [metric for metric in metrics if _is_loss(metric)]
    if losses and len(losses) < len(metrics):
        raise ValueError(
            "All curves must have the same `direction`. Received: "
            f"{losses}, for which lower is better by their names, beside "
            f"{[m for m in metrics if m not in losses]}. Forecast them "
            "separately."
        )
    if direction is not None:
        checks.one_of("direction", direction, DIRECTIONS)
        return direction
    if _is_loss(name):
        why = "its name is that of a loss or an error"
    elif losses:
        why = f"it is the score of {', '.join(map(repr, losses))}"
    elif not _is_plain(name) and _mostly_fall(curves):
        why = "its scores fall as the size grows"
    else:
        return "max"
    raise ValueError(
        f"Is lower or higher `{name}` better? This is unclear: {why}. Give "
        'direction="min" if lower is better, as for a loss or an error, or '
        'direction="max" if higher is.'
    )


def _is_loss(name):
    """Return whether a name says that lower is better."""
    missing = NO_COMPLEMENTS.sub(" ", str(name))
    return (
        _is_unlimited(name)
        or _says(name, RATES)
        or _says(missing, COMPLEMENTS)
        or FROM_THE_WHOLE.match(str(name)) is not None
    )


def _is_unlimited(name):
    """Return whether a name is that of a loss without an upper limit.

    What a name ends in says what it is of: `mae_top1` is the accuracy of a
    masked autoencoder. Only a word such as `loss` means a loss anywhere.
    """
    for words in _readings(name):
        while words and not OPEN_ENDED.fullmatch(words[-1]):
            if HIGHER_IS_BETTER.fullmatch(words.pop()):
                words = [word for word in words if "loss" in word]
        if words:
            return True
    return False


def _is_plain(name):
    """Return whether a name only says that higher is better."""
    words = [
        word for word in re.split(r"[^a-z0-9]+", str(name).lower()) if word
    ]
    plain = (
        HIGHER_IS_BETTER.fullmatch(w) or NEUTRAL.fullmatch(w) for w in words
    )
    return _says(name, HIGHER_IS_BETTER) and all(plain)


def _says(name, words):
    """Return whether a column's name has a word that matches a pattern."""
    return any(map(words.fullmatch, itertools.chain(*_readings(name))))


def _readings(name):
    """Return the words of a name, split at capitals and not."""
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", str(name))
    return [re.split(r"[^a-z0-9]+", t.lower()) for t in (text, str(name))]


def _mostly_fall(curves):
    """Return whether more curves fall with size than rise."""
    trends = [_trend(np.asarray(x), np.asarray(y)) for x, y in curves]
    return sum(trends) < 0


def _trend(x, y):
    """Return -1 if mean scores fall with size, 1 if they rise, else 0."""
    sizes = np.unique(x)
    means = [y[x == size].mean() for size in sizes]
    if len(sizes) < min(FALLS) or np.ptp(means) == 0:
        return 0
    trend = float(stats.spearmanr(sizes, means).statistic)
    enough = -FALLS.get(len(sizes), FALLS_OF_MANY) - 1e-9  # Allow rounding.
    return int(trend >= enough) - int(trend <= -enough)


def bounds_of(scores, bounds=None, name="score", direction=None):
    """Return the lowest and highest possible score, after checks.

    Args:
        scores: All scores that share a unit, finite numbers.
        bounds: The user's bounds, or None to infer them from the scores.
            Either end may be infinite.
        name: The column of scores. Losses and distances have no upper bound,
            and no lower one if any of them is negative.
        direction: If this is `"min"`, scores that are not all fractions count
            as percent only if their name is that of a rate.

    Returns:
        Two floats.

    Raises:
        ValueError: If scores lie outside the bounds, `bounds` is not a range,
            or it is unclear whether scores are fractions or percent.

    Example:
        >>> bounds_of([0.2, 0.9]), bounds_of([3.0, 30.0])
        ((0.0, 1.0), (0.0, 100.0))
    """
    scores = np.asarray(scores, np.float64)
    if bounds is None:
        named_so = _is_unlimited(name) and not (
            direction == "max"
            and _says(name, HIGHER_IS_BETTER)
            and 0 <= scores.min() <= scores.max() <= 100
        )
        if named_so or (direction == "min" and not _are_rates(scores, name)):
            bounds = (
                -np.inf if scores.min() < 0 else 0.0,
                np.inf if scores.max() > 0 else 0.0,
            )
        else:
            _check_one_unit(scores, name)
            bounds = natural_bounds(scores)
    numbers_there = isinstance(bounds, (tuple, list, np.ndarray)) and all(
        isinstance(end, numbers.Real) for end in bounds
    )
    if not numbers_there or len(bounds) != 2 or not bounds[0] < bounds[1]:
        raise ValueError(
            "The range of a metric must be two numbers, the lower one first "
            f"(`bounds=(low, high)`). Received: {bounds!r}."
        )
    low, high = map(float, bounds)
    if scores.min() < low or scores.max() > high:
        raise ValueError(
            f"`{name}` must lie within the bounds {(low, high)}. Received: "
            f"scores from {scores.min()} to {scores.max()}. Give the metric's "
            "own range (`bounds=(low, high)`)."
        )
    return low, high


def _are_rates(scores, name):
    """Return whether scores to be minimized are fractions or percent."""
    if scores.min() < 0 or scores.max() > 100:
        return False
    if scores.max() <= 1:
        return True
    # Some rates can exceed 1, such as a word error rate of 1.25 beside 0.2.
    is_rate = _says(name, RATES) or _says(name, COMPLEMENTS)
    return is_rate and _mixed(scores) is None


def _check_one_unit(scores, name):
    if _mixed(scores):
        low, high = _mixed(scores)
        raise ValueError(
            f"`{name}` must be all fractions or all percent. Received what "
            f"looks like both: {low:g} and {high:g}. Convert one of them, or "
            "give the metric's own range (`bounds=(low, high)`)."
        )


def _mixed(scores):
    """Return a fraction and a percentage that scores seem to mix, or None."""
    below, above = scores[scores <= 1], scores[scores > 1]
    if not (len(below) and len(above)):
        return None
    low, high = below.max(), above.min()
    mixed = low > 0 and APART * low < high
    return (low, high) if mixed or above.max() <= CLOSE else None


def in_percent(scores):
    """Return scores in percent, whether they are that already or fractions.

    Args:
        scores: An array, a Series or a DataFrame; nan stays nan.

    Example:
        >>> in_percent(np.array([0.25, np.nan])), in_percent(np.array([25.0]))
        (array([25., nan]), array([25.]))
    """
    values = np.asarray(scores, np.float64)
    known = values[~np.isnan(values)]
    is_fraction = known.size and natural_bounds(known) == (0, 1)
    return scores * 100 if is_fraction else scores


class Unit(NamedTuple):
    """How to print the scores of one metric.

    Attributes:
        factor: From scores to printed numbers.
        name: Name of the unit: `"points"`, or the column of scores without an
            upper bound.
        digits: Number of digits after the decimal point.
    """

    factor: int
    name: str
    digits: int

    def text(self, score, sign=""):
        """Return a score or a gain as text in this unit.

        Args:
            score: The number.
            sign: `"+"` to print the sign of positive numbers, too.
        """
        # Round first, so that "-0.0" is never printed.
        value = round(float(score) * self.factor, self.digits) + 0.0
        return f"{value:{sign}.{self.digits}f}"

    def exact(self, score):
        """Return a number from the user, not rounded, with the unit's name."""
        return f"{score * self.factor:g} {self.name}"


def unit_of(bounds, scores, name):
    """Return the `Unit` of scores.

    Args:
        bounds: Lowest and highest possible score.
        scores: An array of scores.
        name: The column of scores.

    Example:
        >>> unit_of((0, 1), [0.2, 0.4], "top1").text(0.123, "+")
        '+12.3'
        >>> unit_of((0, np.inf), [3.21, 3.02], "loss").text(0.1234)
        '0.123'
    """
    if np.isfinite(bounds).all():
        # Percent points: 100 of them for fractions.
        return Unit(100 if max(map(abs, bounds)) <= 1 else 1, "points", 1)
    spread = float(np.ptp(scores))
    digits = 2 - math.floor(math.log10(spread)) if spread > 0 else 3
    return Unit(1, name, min(max(digits, 0), 12))


def mean_and_spread(score, digits=1):
    """Return a mean with its standard deviation, such as `"41.3 ±0.8"`.

    Args:
        score: `{"mean": .., "std": ..}`; the deviation of one run is nan and is
            left out.
        digits: Number of digits after the decimal point.
    """
    spread = f" ±{score['std']:.{digits}f}" if score["std"] >= 0 else ""
    return f"{score['mean']:.{digits}f}{spread}"


def sized(size):
    """Return a size in full: `"30,000"`, or `"1.5"` if it is not whole.

    Args:
        size: The size, a number.
    """
    return f"{size:,.0f}" if float(size).is_integer() else f"{size:g}"


def titled(text):
    """Return `text` with its first letter capitalized, the rest unchanged.

    Args:
        text: A string.
    """
    return text[:1].upper() + text[1:]
