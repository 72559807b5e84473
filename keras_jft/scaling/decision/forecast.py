"""Turn a law into a decision: collect, do not collect, or run more first.

Equation numbers are those of `docs/forecasts.md`.
"""

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_jft.scaling.decision.next_runs import NextRuns, plan
from keras_jft.scaling.law.families import LAWS
from keras_jft.scaling.law.fitting import (
    SIZES_TO_DECIDE,
    fit,
    fit_evidence,
    gather,
)
from keras_jft.scaling.law.law import JUMP, LEVEL, Law
from keras_jft.scaling.law.prior import learned
from keras_jft.scaling.rows import units
from keras_jft.scaling.rows.table import Rows, RowsLike
from keras_jft.text import number_of

COLLECT = "collect"
DO_NOT_COLLECT = "do not collect"
NOT_ENOUGH_EVIDENCE = "not enough evidence"
# Chances with which the interval is above or below what is asked for.
NEEDED = (1 + LEVEL) / 2, (1 - LEVEL) / 2
SMALL_WORTH = 0.1  # On a scale of 100, perhaps meant as a fraction.


class Doubt(NamedTuple):
    """A reason not to trust a forecast.

    Attributes:
        text: The reason as a sentence.
        withholds: Whether it rules out any verdict: the law does not describe
            the runs, or the question goes beyond what the law can answer.
        about_verdict: Whether it is about the verdict that the interval gives,
            and so may pass with more runs, or if another gain is asked for.
    """

    text: str
    withholds: bool = False
    about_verdict: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """The expected gain from `factor` times the largest size, and the verdict.

    Printing it shows the whole decision sheet. Gains are improvements: positive
    is better even if lower scores are. The printed text shows the signed change
    of the score instead.

    Attributes:
        law: The law that the forecast is based on.
        factor: How many times the largest size it is for.
        worth: The smallest gain worth its cost, in the unit of the score.
        score: The expected score at that size.
        low: Low end of the 95% prediction interval of one run at that size.
        high: High end of that interval.
        gain: Expected improvement over the fitted score at the largest size.
        gain_low: Low end of the gain's 95% prediction interval.
        gain_high: High end of that interval.
        chance: Probability that the gain of one run exceeds `worth`: above
            97.5%, or below 2.5%, if its interval does not hold `worth`.
        hours: Device-hours of one run at that size; nan if unknown.
        hours_per_point: Device-hours per percent point of gain (per unit of
            the score if that has no upper bound); nan without a gain or a cost.
        verdict: `"collect"`, `"do not collect"` or `"not enough evidence"`.
        doubts: Reasons not to trust the forecast. If one of them withholds,
            the verdict is `"not enough evidence"`.
        next_runs: If there is not enough evidence, the `NextRuns` that would
            narrow the gain's interval most, in order; else empty.
    """

    law: Law
    factor: float
    worth: float
    score: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float
    chance: float
    hours: float
    hours_per_point: float
    verdict: str
    doubts: tuple[Doubt, ...]
    next_runs: tuple[NextRuns, ...]

    @property
    def headline(self) -> str:
        """The gain and its interval in one line."""
        unit, lower = self.law.unit, self.law.direction == "min"
        sign = self.law.sign
        change = unit.text(sign * self.gain, "+")
        ends = [unit.text(sign * g) for g in (self.gain_low, self.gain_high)]
        low, high = reversed(ends) if lower else ends
        return (
            f"{self.factor:g}x more: {change} [{low}, {high}] {unit.name}"
            f"{' (lower is better)' if lower else ''}"
        )

    def __str__(self):
        lines = [
            self.headline,
            f"Verdict: {self.verdict} (a {self._enough} is worth it)",
            *(f"Why: {reason}" for reason in self.reasons),
            *self.basis,
            *(f"- {caveat}" for caveat in self.caveats),
        ]
        if self.next_runs:
            lines.append("Next runs, most informative first:")
            lines += [f"- {run}" for run in self.advice]
        return "\n".join(lines)

    @property
    def scores(self) -> tuple[float, float, float, float]:
        """The score now, then, and both ends of the 95% interval of then.

        Now is the curve at the largest size, then what the gain makes of it.
        `low` to `high` is wider: where the curve is now is not certain either.
        """
        law = self.law
        now = float(law.predict(law.evidence.sizes[-1]))
        then, *ends = (
            float(np.clip(now + law.sign * gain, *law.bounds))
            for gain in (self.gain, self.gain_low, self.gain_high)
        )
        return now, then, min(ends), max(ends)

    @property
    def _enough(self):
        gain = "gain above" if self.law.sign > 0 else "fall by more than"
        return f"{gain} {self.law.unit.exact(self.worth)}"

    @property
    def basis(self) -> tuple[str, ...]:
        """Lines on the probability, score, cost, runs and laws behind it."""
        data, text = self.law.evidence, self.law.unit.text
        sizes = ", ".join(map(units.sized, data.sizes))
        now, then, low, high = map(text, self.scores)
        doubted = any(doubt.withholds for doubt in self.doubts)
        lines = [
            f"Probability of a {self._enough}: {self.chance:.0%}"
            f"{', if the law held' if doubted else ''}",
            f"Score at {data.x_name}="
            f"{units.sized(self.factor * data.sizes[-1])}: "
            f"{then} [{low}, {high}], 95% prediction interval of one run, from "
            f"{now} on the curve at {units.sized(data.sizes[-1])}",
            f"Cost: {self.cost}" if self.cost else "",
            f"Based on: {number_of(len(data.x), 'run')} of {data.y_name} at "
            f"{number_of(len(data.sizes), 'size')} ({sizes})",
            f"Laws, by probability: {_probabilities(self.law)}",
        ]
        return tuple(filter(None, lines))

    @property
    def cost(self) -> str:
        """Device-hours per run and per point of gain; empty if unknown."""
        if not np.isfinite(self.hours):
            return ""
        name = self.law.unit.name
        each = (
            f", {self.hours_per_point:.3g} per "
            f"{'point' if name == 'points' else f'unit of {name}'}"
            if np.isfinite(self.hours_per_point)
            else ""
        )
        return f"{self.hours:.3g} device-hours per run{each}"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences that say why the evidence is not enough, if it is not."""
        if self.verdict != NOT_ENOUGH_EVIDENCE:
            return ()
        return tuple(d.text for d in self.doubts if d.withholds) or (
            f"The interval leaves open whether there is a {self._enough}: a "
            f"verdict needs a chance {needed_chances()}.",
        )

    @property
    def caveats(self) -> tuple[str, ...]:
        """Sentences with the doubts that do not withhold the verdict."""
        return tuple(doubt.text for doubt in self.doubts if not doubt.withholds)

    @property
    def advice(self) -> tuple[str, ...]:
        """The next runs as sentences, most informative first."""
        return tuple(map(self._next, self.next_runs))

    def _next(self, runs):
        size, count, half_width, hours = runs
        cost = f" ({hours:.2g} device-hours)" if np.isfinite(hours) else ""
        return (
            f"{count} at {self.law.evidence.x_name}={units.sized(size)}{cost}, "
            "after which the gain is known to "
            f"±{self.law.unit.text(half_width)} {self.law.unit.name}"
        )


def forecast(
    law: Law, factor: float = 10, worth: float | None = None
) -> Forecast:
    """Forecast the gain from more data, and decide whether to collect it.

    The verdict is "collect" if the whole 95% prediction interval of the gain
    is above `worth`, "do not collect" if all of it is below, else "not enough
    evidence" (equation 22). It is also "not enough evidence" if a doubt
    withholds the verdict: there are fewer than four sizes, `factor` exceeds
    their range, the score falls after a peak or jumps at the largest size, the
    curve has reached the end of the scale, all scores are equal, no gain can be
    as large as `worth`, or the verdict would be another from these runs alone,
    without what other curves do, or from an interval that is wider by what the
    curve misses of them.

    Args:
        law: A `Law`, from `fit`.
        factor: How many times the largest size, more than 1.
        worth: The smallest gain that is worth its cost, in the unit of the
            score, at least 0: if scores are fractions, 0.02 is 2 percent
            points. None: any gain.

    Returns:
        A `Forecast`; print it.

    Raises:
        ValueError: If an argument is not as described above.

    Example:
        >>> from keras_jft.scaling import fit
        >>> scores = {300: 0.19, 1_000: 0.31, 3_000: 0.40, 10_000: 0.52}
        >>> rows = [{"num_examples": n, "top1": scores[n]} for n in scores]
        >>> law = fit(rows, x="num_examples", y="top1")
        >>> sheet = forecast(law, factor=10)
        >>> print(sheet.headline)
        10x more: +13.5 [1.6, 25.9] points
        >>> sheet.verdict
        'collect'
    """
    if not isinstance(law, Law):
        raise ValueError(
            "`law` must be a single law from `fit`, which returns several with "
            f"`by=`. Received: {type(law).__name__}. Choose one of them."
        )
    worth = _checked_worth(law, worth)
    gain, gain_low, gain_high = law.gain_at(factor)
    there = factor * law.evidence.sizes[-1]
    low, high = law.prediction_interval(there)
    hours = law.evidence.hours_at(there)
    # What speaks against any verdict, then the verdict (equation 22), then what
    # speaks against that one.
    doubts = (
        *_of_the_runs(law),
        *_of_the_answer(law, factor, worth),
    )
    verdict = NOT_ENOUGH_EVIDENCE
    if not any(doubt.withholds for doubt in doubts):
        verdict = _verdict(law.gain_at(factor), worth)
    if verdict != NOT_ENOUGH_EVIDENCE:
        against = tuple(_against(law, factor, worth, verdict))
        doubts += against
        if against:
            verdict = NOT_ENOUGH_EVIDENCE
    return Forecast(
        law=law,
        factor=factor,
        worth=worth,
        score=float(law.predict(there)),
        low=float(low),
        high=float(high),
        gain=gain,
        gain_low=gain_low,
        gain_high=gain_high,
        chance=law.chance(factor, worth),
        hours=hours,
        hours_per_point=(
            hours / (gain * law.unit.factor) if gain > 0 else float("nan")
        ),
        verdict=verdict,
        doubts=doubts,
        next_runs=plan(law, factor) if verdict == NOT_ENOUGH_EVIDENCE else (),
    )


def forecasts(
    rows: RowsLike,
    x: str = "num_examples",
    y: str | None = None,
    by: str | Sequence[str] | None = None,
    *,
    bounds: tuple[float, float] | None = None,
    direction: str | None = None,
    **options: Any,
) -> dict[tuple, Forecast | str]:
    """Return the forecast of each curve of a study.

    Args:
        rows: Rows, a list of dicts, a DataFrame or `Rows`.
        x: The column of sizes.
        y: The column of scores. None: `score` or the main metric of the
            task.
        by: Columns that tell curves apart; None: those of `task`, `mode`
            and `arm` that the rows have.
        bounds: Lowest and highest possible score. None infers them from the
            scores of all modes of a task together, as `fit` does.
        direction: `"max"` or `"min"`, as for `fit`.
        **options: `factor` and `worth`, as for `forecast`.

    Returns:
        `{name: Forecast}`; each name is a tuple of the values of `by`. A curve
        with too few sizes, or without a successful run, is given as a
        string that says why, instead of a `Forecast`.

    Raises:
        ValueError: As for `fit` and `forecast`, except for too few sizes.

    Example:
        >>> scores = {300: 0.32, 1_000: 0.38, 3_000: 0.5, 10_000: 0.6}
        >>> rows = [
        ...     {"mode": "frozen", "num_examples": n, "score": scores[n]}
        ...     for n in scores
        ... ]
        >>> rows.append({"mode": "tuned", "num_examples": 300, "score": 0.4})
        >>> found = forecasts(rows)
        >>> print(found["frozen",].headline)
        10x more: +6.7 [0.0, 20.3] points
        >>> found["tuned",]
        '1 size, a forecast needs 4'
    """
    rows = Rows(rows)
    rows.check_columns(x=x, **({} if y is None else {"y": y}))
    by = rows.curve_columns(by)
    curves = rows.curves(by or None)
    direction = _direction(rows, curves.values(), x, y, direction)
    bounds_of = {
        panel: part.scores(y, bounds, direction).bounds
        for panel, part in rows.succeeded().panels(by).items()
    }
    return {
        name or (): _forecast_of(
            curve, x, y, bounds_of.get(_panel(by, name)), direction, options
        )
        for name, curve in curves.items()
    }


def _direction(rows, curves, x, y, direction):
    """Return the direction of all curves, judging each task by its column."""
    columns = {}
    for curve in curves:
        if not curve.failed.all():
            data = gather(curve, x, curve.succeeded().score(y))
            columns.setdefault(data.y_name, []).append((data.x, data.y))
    found = {
        units.direction_of(name, parts, direction, rows.metrics)
        for name, parts in columns.items()
    }
    return found.pop() if found else direction


def _panel(by, name):
    """Return the name of a curve's panel: all columns but the mode."""
    values = zip(by, name or (), strict=True)
    return tuple(value for column, value in values if column != "mode")


def _forecast_of(curve, x, y, bounds, direction, options):
    """Return a `Forecast`, or a string that says why there is none."""
    if curve.failed.all():
        return "no run succeeded"
    y = curve.succeeded().score(y)
    sizes = len(gather(curve, x, y).sizes)
    if sizes < SIZES_TO_DECIDE:
        words = number_of(sizes, "size")
        return f"{words}, a forecast needs {SIZES_TO_DECIDE}"
    law = fit(curve, x, y, bounds=bounds, direction=direction)
    return forecast(law, **options)


def _verdict(gain, worth):
    """Return what the interval of the gain says (equation 22)."""
    if gain.low > worth:
        return COLLECT
    if gain.high < worth:
        return DO_NOT_COLLECT
    return NOT_ENOUGH_EVIDENCE


def _checked_worth(law, worth):
    """Return `worth` as a float, 0 for None; raise if it cannot be a gain."""
    if worth is None:
        return 0.0
    if (
        isinstance(worth, bool)
        or not isinstance(worth, numbers.Real)
        or not 0 <= worth < np.inf
    ):
        raise ValueError(
            "`worth` must be a finite number, 0 or more, or None. Received: "
            f"worth={worth!r}. It is the smallest gain worth having, and is "
            "positive even if lower scores are better."
        )
    low, high = law.bounds
    if worth >= high - low:
        meant = (
            f" For {worth:g} point{'s' * (worth != 1)} give {worth / 100:g}."
            if law.unit.factor == 100 and worth <= 100
            else ""
        )
        raise ValueError(
            "`worth` must be a gain that fits into the scale of the scores, "
            f"from {low:g} to {high:g}. Received: worth={worth:g}.{meant}"
        )
    return float(worth)


def _probabilities(law):
    """Return the laws with their probabilities, as text."""
    found = {n: c.probability for n, c in law.candidates.items()}
    names = sorted(found, key=lambda name: -found[name])
    return ", ".join(f"{LAWS[name].title} {found[name]:.0%}" for name in names)


# === Doubts ===


def needed_chances():
    """Return the chances of a gain that a verdict needs, as text."""
    high, low = NEEDED
    return f"above {high:.1%} or below {low:.1%}"


def _against(law, factor, worth, verdict):
    """Yield a doubt if the verdict would be another from a rival interval."""
    for gain, why in rivals(law, factor):
        if _verdict(gain, worth) != verdict:
            yield Doubt(why, withholds=True, about_verdict=True)
            return


def rivals(law, factor, alone=None):
    """Yield intervals of the gain from which the verdict must be the same.

    Wider by what the curve misses, if the law does not describe the runs
    (equation 24): what it misses here, it may miss there. And from these runs
    alone (equation 23): what only other curves say is not enough evidence.

    Args:
        law: A `Law`.
        factor: How many times the largest size.
        alone: The result of `from_runs_alone`, if it is there.

    Yields:
        An `Estimate`, and a sentence for when it leads to another verdict.
    """
    if law.misfit:
        gain, off, unit = law.gain_at(factor), law.misfit, _finer(law.unit)
        yield (
            gain._replace(low=gain.low - off, high=gain.high + off),
            f"The curve misses a size mean by {unit.text(off)} {unit.name}, "
            "more than noise explains: as much could change the verdict.",
        )
    gain, unit = (alone or from_runs_alone(law)).gain_at(factor), law.unit
    yield (
        gain,
        "Only what other curves do decides: from these runs alone the gain is "
        f"{unit.text(gain.value, '+')} [{unit.text(gain.low)}, "
        f"{unit.text(gain.high)}] {unit.name}.",
    )


def from_runs_alone(law):
    """Return the law of the same runs without what other curves have taught.

    Args:
        law: A `Law`.
    """
    return fit_evidence(
        law.evidence,
        law.bounds,
        tuple(law.candidates),
        law.direction,
        learned().without_other_curves(),
    )


def _finer(unit):
    """Return the `Unit` with one more digit, for what is small."""
    return unit._replace(digits=unit.digits + 1)


def _of_the_runs(law):
    """Yield doubts that the runs raise, whatever the question."""
    data = law.evidence
    better, worse = ("rise", "falls") if law.sign > 0 else ("fall", "rises")
    steps = law.sign * np.diff(data.means)
    if np.ptp(data.y) == 0:
        yield Doubt(
            f"All runs have the same {data.y_name}, {data.y[0]:g}, so they "
            "show no curve. Is it the right column?",
            withholds=True,
        )
    elif np.all(steps < 0):
        yield Doubt(f"The score {worse} with every size.")
    elif law.turns_after is not None:
        yield Doubt(
            f"The score {worse} after {units.sized(law.turns_after)}, by more "
            "than noise explains. No law here knows what comes next.",
            withholds=True,
        )
    elif np.any(steps < 0):
        yield Doubt(f"The mean score does not {better} with every size.")
    if law.jumps:
        yield Doubt(
            f"The score jumps at the largest size, {JUMP} times as steep as "
            "before: where it levels off is not seen yet.",
            withholds=True,
        )
    if len(data.sizes) < SIZES_TO_DECIDE:
        yield Doubt(
            f"{number_of(len(data.sizes), 'size')} cannot show that a curve "
            "bends: what "
            "decides is what other curves do.",
            withholds=True,
        )
    if data.noise_df:
        scatter = _finer(law.unit)
        yield Doubt(
            f"Runs of one size scatter by {scatter.text(data.noise**0.5)} "
            f"{scatter.name} (standard deviation)."
        )
    else:
        yield Doubt("One run per size: noise and bends cannot be told apart.")
    if law.misfit:
        yield Doubt(
            f"The size means deviate from {LAWS[law.name].title} by more than "
            f"noise explains (p = {law.lack_of_fit:.2g})."
        )
    for reason, count in data.left_out.items():
        yield Doubt(f"Left out: {number_of(count, 'row')} ({reason}).")


def _of_the_answer(law, factor, worth):
    """Yield doubts that the question raises."""
    there = factor * law.evidence.sizes[-1]
    ends = law.prediction_interval(there)
    text, (low, high) = law.unit.text, law.bounds
    if factor > _span(law):
        yield Doubt(
            f"{factor:g}x is farther than the sizes reach: they span "
            f"{_span(law):.3g}x from smallest to largest.",
            withholds=True,
        )
    if law.reaches_bound(there):
        end = low if law.predict(there) <= low else high
        yield Doubt(
            f"At {law.evidence.x_name}={units.sized(there)} the curve has "
            f"reached the end of the scale, {text(end)}, where it says nothing "
            "more about the score.",
            withholds=True,
        )
    elif ends[0] <= low or ends[1] >= high:
        end = low if ends[0] <= low else high
        yield Doubt(
            f"The interval is cut off at {text(end)}, the end of the scale."
        )
    left = _left_to_gain(law)
    if worth > left:
        yield Doubt(
            f"A gain of {law.unit.exact(worth)} is impossible: from the best "
            f"size to the end of the scale there are {law.unit.exact(left)}. "
            "Is `worth` in the unit of the scores?",
            withholds=True,
        )
    if 0 < worth < SMALL_WORTH and law.bounds == (0, 100):
        yield Doubt(
            f"The scores are percent: worth={worth:g} is {worth:g} points, and "
            f"{100 * worth:g} points are worth={100 * worth:g}."
        )


def _left_to_gain(law):
    """Return the distance from the best mean score to the end of the scale."""
    low, high = law.bounds
    means = law.evidence.means
    return high - means.max() if law.sign > 0 else means.min() - low


def _span(law):
    """Return the ratio of the largest size to the smallest."""
    return law.evidence.sizes[-1] / law.evidence.sizes[0]
