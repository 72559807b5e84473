"""The cost of a gain: in images, corrected labels or device-hours.

Equation numbers are those of `docs/forecasts.md`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from keras_jft import checks
from keras_jft.scaling.decision.alternatives import Alternative
from keras_jft.scaling.decision.forecast import Forecast
from keras_jft.scaling.law.law import LEVEL, Estimate, Law
from keras_jft.scaling.rows import units
from keras_jft.scaling.rows.table import Rows, RowsLike

DIGITS = 2  # Of an amount in text: its interval is wider than the next.


class Price(NamedTuple):
    """The cost of a gain achieved in one way alone.

    Attributes:
        way: Such as "images" or "corrected labels".
        amount: An `Estimate` of how many; infinite if they may never do.
        cost: An `Estimate` of what they cost; nan if no price was given.
    """

    way: str
    amount: Estimate
    cost: Estimate

    def __str__(self):
        text = _ranged(self.amount, f" {self.way}")
        if np.isfinite(self.cost.value):
            text += f", which cost {_ranged(self.cost)}"
        return text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prices:
    """The price of one gain by each way. Prints as the rate of exchange.

    Attributes:
        gain: The gain, in the unit of the score.
        text: The gain with its unit.
        prices: A `Price` for each way, the cheapest first if costs are known.
    """

    gain: float
    text: str
    prices: tuple[Price, ...]

    def __str__(self):
        return f"{self.text} = " + " = ".join(map(str, self.prices))


def prices(
    law: Law,
    *,
    gain: float | None = None,
    noise: RowsLike | None = None,
    wrong: str = "wrong_labels",
    labels: float = 1.0,
    alternatives: Sequence[Alternative] = (),
    image: float | None = None,
    label: float | None = None,
    correction: float | None = None,
    hour: float | None = None,
) -> Prices:
    """Return what a gain costs by each way alone, with 95% intervals.

    Args:
        law: A `Law`, from `fit`: what more images bring.
        gain: The gain to be priced, in the unit of the score. None: one
            percent point; a score without an upper bound has none.
        noise: Rows of runs that differ in how many labels are wrong, at one
            size and with the same column of scores as the law; None leaves
            corrections out. The score is taken to fall along a line with the
            share of wrong labels (equation 32).
        wrong: The column with that share, from 0 to 1, or a dotted path into
            `config`, such as `"pretrain.options.wrong_labels"`.
        labels: Mean number of labels per image.
        alternatives: The result of `jft.scaling.alternatives`: what else
            device-hours could buy.
        image: Price of one more image, without its labels if `label` is given.
        label: Price of one label; an image has `labels` of them.
        correction: Price of checking and correcting one wrong label.
        hour: Price of a device-hour. More images also take more of them.

    Returns:
        `Prices`; print it.

    Raises:
        ValueError: If a number is negative, noise rows are of several sizes or
            all have the same share of wrong labels, or no row tells how many of
            what has a price a gain takes.

    Example:
        >>> rows = [
        ...     {"num_examples": n, "seed": s, "top1": top1 + 0.002 * s}
        ...     for n, top1 in [(300, 0.3), (1e3, 0.4), (3e3, 0.5), (1e4, 0.6)]
        ...     for s in (0, 1)
        ... ]
        >>> noisy = [
        ...     {"num_examples": 1e4, "wrong": w, "top1": 0.6 - 0.2 * w + d}
        ...     for w in (0, 0.2, 0.4)
        ...     for d in (-0.001, 0.001)
        ... ]
        >>> law = jft.scaling.fit(rows, x="num_examples", y="top1")
        >>> found = prices(law, noise=noisy, wrong="wrong", correction=0.05)
        >>> corrected, images = found.prices
        >>> print(f"{corrected.amount.value:.0f}", corrected.way)
        500 corrected labels
        >>> images.amount.low < images.amount.value < images.amount.high
        True
    """
    given = {
        "image": image,
        "label": label,
        "correction": correction,
        "hour": hour,
    }
    for name, value in given.items():
        if value is not None:
            checks.number(name, value, 0)
    checks.number("labels", labels, 0, above=True)
    if correction is not None and noise is None:
        raise ValueError(
            "A correction has a price, but no rows say how many corrections a "
            "gain takes. Give `noise`, runs at one size that differ in how "
            f"many labels are wrong. Received: correction={correction}."
        )
    timed = np.isfinite(law.evidence.hours).any() or alternatives
    if hour is not None and not timed:
        raise ValueError(
            "A device-hour has a price, but no row says how many a run takes, "
            f"in `device_seconds` or `wall_seconds`. Received: hour={hour}."
        )
    gain = _checked_gain(law, gain)
    if label is not None:
        image = (image or 0.0) + label * labels
    found = [_of_images(law, gain, image, hour)]
    if noise is not None:
        corrected = _corrections(law, gain, Rows(noise), wrong, labels)
        found.append(_priced("corrected labels", corrected, correction))
    found += [_of_hours(a, gain, hour) for a in alternatives]
    known = [price for price in found if not np.isnan(price.cost.value)]
    rest = [price for price in found if np.isnan(price.cost.value)]
    return Prices(
        gain=gain,
        text=_text(law, gain),
        prices=(*sorted(known, key=lambda p: p.cost.value), *rest),
    )


def sentence(
    sheet: Forecast, given: Mapping[str, Any] | None = None
) -> str | None:
    """Return what a gain costs on a curve, as a sentence for its sheet.

    Args:
        sheet: The `Forecast` of the curve.
        given: Arguments of `prices`; None: no prices are known.

    Returns:
        The sentence; None if no price was asked for and the law does not hold,
        or its score has no percent points.
    """
    holds = not any(doubt.withholds for doubt in sheet.doubts)
    points = sheet.law.unit.name == "points"
    if given is None and not (holds and points):
        return None
    gain = None if points else sheet.worth
    if gain == 0:
        return (
            f"Price: {sheet.law.evidence.y_name} has no percent points; say "
            "what gain is worth it to see its price."
        )
    found = prices(sheet.law, **{"gain": gain, **(given or {})})
    return f"Price{'' if holds else ', if the law held'}: {found}"


def _checked_gain(law, gain):
    """Return the gain, one percent point for None."""
    if gain is not None:
        checks.number("gain", gain, 0, above=True)
        return float(gain)
    if law.unit.name != "points":
        raise ValueError(
            f"`gain` must be given for {law.evidence.y_name}, which has no "
            "upper bound and so no percent points. Received: gain=None."
        )
    return 1 / law.unit.factor


def _text(law, gain):
    name = law.unit.name
    value = gain * law.unit.factor
    return f"{value:g} {'point' if name == 'points' and value == 1 else name}"


def _of_images(law, gain, image, hour):
    """Return the `Price` of the gain in images, training included."""
    data = law.evidence
    largest = float(data.sizes[-1])
    reached = law.images_to_gain(gain)
    more = Estimate(*(size - largest for size in reached))
    way = "images" if data.x_name == "num_examples" else data.x_name
    if image is None and hour is None:
        return _priced(way, more, None)
    costs = [(image or 0) * count for count in more]
    if hour is not None:
        now = data.hours_at(largest)
        costs = [
            cost + hour * (data.hours_at(size) - now)
            if np.isfinite(size)
            else np.inf
            for cost, size in zip(costs, reached, strict=True)
        ]
    return Price(way, more, Estimate(*costs))


def _corrections(law, gain, rows, wrong, labels):
    """Return an `Estimate` of corrected labels for a gain (equation 32)."""
    x, y = law.evidence.x_name, law.evidence.y_name
    done = rows.succeeded()
    for column in (x, y):
        done.check_columns(column)
        done.check_numbers(column)
    sizes = done.table[x].unique()
    if len(sizes) != 1:
        raise ValueError(
            "`noise` must be rows of one size, such as the largest. Received "
            f"{x}={sorted(sizes.tolist())}."
        )
    share = np.array(done.settings(wrong), np.float64)
    if np.isnan(share).any() or len(set(share)) < 2 or len(share) < 3:
        raise ValueError(
            f"`{wrong}` must say which share of the labels is wrong in each "
            "of three or more `noise` rows, with two or more different "
            f"shares. Received: {share.tolist()}."
        )
    line = stats.linregress(
        share, law.sign * done.table[y].to_numpy(np.float64)
    )
    # What one share of the labels is worth; all of them are 1.
    away = stats.t.ppf((1 + LEVEL) / 2, len(share) - 2) * line.stderr
    every = float(sizes[0]) * labels
    slopes = -line.slope, -line.slope + away, -line.slope - away
    return Estimate(*(gain / s * every if s > 0 else np.inf for s in slopes))


def _of_hours(alternative, gain, hour):
    """Return the `Price` of a change that takes device-hours."""
    a = alternative
    amounts = [
        a.hours * gain / g if g > 0 else np.nan if np.isnan(g) else np.inf
        for g in (a.gain, a.high, a.low)
    ]
    way = f"device-hours per run ({a.name}: {a.start} to {a.end})"
    return _priced(way, Estimate(*amounts), hour)


def _priced(way, amount, each):
    each = np.nan if each is None else each
    return Price(way, amount, Estimate(*(each * count for count in amount)))


def _ranged(estimate, way=""):
    """Return an estimate with its interval, as text."""
    value, low, high = map(_rounded, estimate)
    if np.isinf(estimate.low):
        return f"no number of{way}"
    if np.isinf(estimate.value):
        return f"no number of{way}, or at best {low}"
    ends = f"[{low} or more]" if np.isinf(estimate.high) else f"[{low}, {high}]"
    return f"{value}{way} {ends}"


def _rounded(count):
    """Return a number with two digits and zeros, as text."""
    if not np.isfinite(count):
        return "unknown" if np.isnan(count) else ""
    if count >= 10**DIGITS:
        return units.sized(float(f"{count:.{DIGITS}g}"))
    return f"{count:.{DIGITS}g}"
