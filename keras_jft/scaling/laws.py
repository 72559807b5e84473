"""The laws, and the fit of one to the rows of a study."""

import numpy as np
from scipy import stats

from keras_jft.scaling import evidence
from keras_jft.scaling.law import Law


class LogLinear(Law):
    """`score = intercept + slope * log10(x)`: the law of the paper.

    The slope is what ten times more adds. Ordinary least squares over all runs.

    References:
        Sun et al. 2017, "Revisiting Unreasonable Effectiveness of Data in Deep
        Learning Era", Figure 4.
    """

    name = "log_linear"
    names = ("intercept", "slope")

    @classmethod
    def fit(cls, data, bounds):
        """The law of an `Evidence`."""
        theta, *_ = np.linalg.lstsq(_powers(data.x), data.y)
        return cls(evidence=data, bounds=bounds, theta=theta)

    def curve(self, x):
        """Scores at sizes `x`, not clipped."""
        return _powers(x) @ self.theta

    def gradient(self, x):
        """`(..., 2)` derivatives of `curve` by the parameters."""
        return _powers(x)


LAWS = {"log_linear": LogLinear}
# One more than the parameters of the simplest law: something must be left over
# to say how well it fits.
FEWEST_SIZES = 3


def fit(rows, x, y, by=None, bounds=None):
    """Fits a law to the rows of a study.

    Rows of failed runs and of random initialization (`num_examples` 0) are
    left out; the law's `evidence.left_out` counts them.

    Args:
        rows: Rows, a list of dicts or a DataFrame, of one task and mode.
        x: The column of sizes, such as `"num_examples"`.
        y: The column of scores, such as `"top1"`.
        by: Column or columns that tell curves apart, such as
            `["task", "mode"]`, or None for a single curve.
        bounds: Lowest and highest score there can be. None means (0, 1) if
            every score is at most 1, else (0, 100).

    Returns:
        A `Law`; with `by`, a dict of them by the values of those columns.

    Raises:
        ValueError: If rows of several curves are mixed, there are fewer than 3
            sizes, or a size or a score is not a usable number.

    Example:
        >>> rows = [
        ...     {"num_examples": n, "seed": seed, "top1": top1 + 0.01 * seed}
        ...     for n, top1 in [(100, 0.1), (1_000, 0.2), (10_000, 0.3)]
        ...     for seed in (0, 1)
        ... ]
        >>> law = fit(rows, x="num_examples", y="top1")
        >>> print(f"{law.predict(100_000):.3f}")
        0.405
        >>> print(f"{law.images_for(0.5).value:,.0f}")
        891,251
    """
    laws = {
        name: _fit_one(evidence.gather(part, x, y), bounds)
        for name, part in evidence.curves(rows, by).items()
    }
    return laws[None] if by is None else laws


def trend(rows, x, y):
    """Spearman's correlation of `x` and `y` over the rows of one curve.

    Args:
        rows: Rows, a list of dicts or a DataFrame, of one task and mode.
        x: The column of sizes.
        y: The column of scores.

    Returns:
        A number in [-1, 1]; 1 if the score rises with every step of size.

    Raises:
        ValueError: As `fit` does, but two sizes are enough.

    Example:
        >>> scores = {100: 0.1, 300: 0.3, 1_000: 0.2}
        >>> rows = [{"num_examples": n, "top1": scores[n]} for n in scores]
        >>> print(f"{trend(rows, x='num_examples', y='top1'):.1f}")
        0.5
    """
    (part,) = evidence.curves(rows).values()
    data = evidence.gather(part, x, y)
    _check_sizes(data, needed=2)
    return float(stats.spearmanr(data.x, data.y).statistic)


def natural_bounds(scores):
    """Lowest and highest score: of fractions if all are at most 1, or percent.

    Args:
        scores: Scores, an array.

    Returns:
        `(0, 1)` or `(0, 100)`.
    """
    return (0.0, 1.0) if np.max(scores) <= 1 else (0.0, 100.0)


def _fit_one(data, bounds):
    _check_sizes(data, needed=FEWEST_SIZES)
    low, high = natural_bounds(data.y) if bounds is None else bounds
    if data.y.min() < low or data.y.max() > high:
        raise ValueError(
            f"`{data.y_name}` must lie within the bounds {(low, high)}. "
            f"Received: scores from {data.y.min()} to {data.y.max()}. Pass "
            "the metric's own range as `bounds=(low, high)`."
        )
    return LAWS["log_linear"].fit(data, (float(low), float(high)))


def _check_sizes(data, needed):
    if len(data.sizes) < needed:
        raise ValueError(
            f"A law needs >= {needed} sizes: seeds of one size do not show how "
            f"the curve goes on. Received {data.x_name}="
            f"{data.sizes.tolist()}. Left out: {data.left_out or 'nothing'}."
        )


def _powers(x):
    """`(..., 2)`: ones and the decimal logarithm of `x`."""
    power = np.log10(x)
    return np.stack([np.ones_like(power), power], axis=-1)
