"""From a law to a decision: collect, do not, or run these first."""

import dataclasses

import numpy as np

from keras_jft.scaling import units
from keras_jft.scaling.law import Law
from keras_jft.scaling.next_runs import NextRuns, plan

COLLECT = "collect"
DO_NOT_COLLECT = "do not collect"
NOT_ENOUGH_EVIDENCE = "not enough evidence"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """What `factor` times the largest size would bring. Prints as a sheet.

    Attributes:
        law: What it rests on.
        factor: How many times more.
        worth: The gain that is worth its cost, in units of the score.
        score: The score there.
        low: Low end of the 95% prediction interval of one run there.
        high: High end of it.
        gain: The score there less the law's at the largest size.
        gain_low: Low end of its 95% prediction interval.
        gain_high: High end of it.
        chance: Probability that the gain exceeds `worth`.
        hours: Device-hours of one run there; nan where no row tells.
        hours_per_point: What a point of the gain costs in device-hours; nan
            where there is no gain or no row tells.
        verdict: `"collect"`, `"do not collect"` or `"not enough evidence"`.
        next_runs: `NextRuns` that would shrink the gain's interval most, in
            that order, where the evidence is not enough; else empty.
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
    next_runs: tuple[NextRuns, ...]

    @property
    def headline(self):
        """The forecast in one line."""
        points = self._points
        return (
            f"{self.factor:g}x more: {points(self.gain):+.1f} "
            f"[{points(self.gain_low):.1f}, {points(self.gain_high):.1f}] "
            "points"
        )

    def __str__(self):
        lines = [
            self.headline,
            f"Verdict: {self.verdict} (a gain above "
            f"{self._points(self.worth):g} points is worth it)",
            *self.basis,
            *(f"- {caveat}" for caveat in self.caveats),
        ]
        if self.next_runs:
            lines.append("Next runs, the most telling first:")
            lines += [f"- {run}" for run in self.advice]
            if self.admitted:
                lines.append(
                    f"They admit {' and '.join(self.admitted)}, too: the "
                    "interval may widen, and be truer."
                )
        return "\n".join(lines)

    @property
    def basis(self):
        """What it rests on: probability, score, cost, runs, laws; lines."""
        data, points = self.law.evidence, self._points
        sizes = ", ".join(map(units.sized, data.sizes))
        lines = [
            "Probability that the curve rises by more than "
            f"{points(self.worth):g} points: {self.chance:.0%}",
            f"Score at {data.x_name}="
            f"{units.sized(self.factor * data.sizes[-1])}: "
            f"{points(self.score):.1f} [{points(self.low):.1f}, "
            f"{points(self.high):.1f}], 95% prediction interval of one run",
            f"Cost: {self.cost}" if self.cost else "",
            f"Rests on: {len(data.x)} runs of {data.y_name} at "
            f"{len(data.sizes)} sizes ({sizes})",
            f"Laws, by weight: {self._weights()}",
        ]
        return tuple(filter(None, lines))

    @property
    def cost(self):
        """Device-hours of a run there and of a point; empty if unknown."""
        if not np.isfinite(self.hours):
            return ""
        each = (
            f", {self.hours_per_point:.3g} a point"
            if np.isfinite(self.hours_per_point)
            else ""
        )
        return f"{self.hours:.3g} device-hours a run{each}"

    @property
    def caveats(self):
        """What speaks against trusting it; sentences."""
        return (*self._taken_for_granted(), *self._doubts())

    @property
    def advice(self):
        """The next runs as sentences, the most telling first."""
        return tuple(map(self._next, self.next_runs))

    @property
    def admitted(self):
        """Names of laws that the sizes of the next runs make identifiable."""
        new = {run.size for run in self.next_runs} - {*self.law.evidence.sizes}
        candidates = self.law.candidates.items()
        return tuple(n for n, c in candidates if 0 < c.more_sizes <= len(new))

    def _weights(self):
        candidates = self.law.candidates
        return ", ".join(
            f"{name} {candidates[name].weight:.0%}" for name in self._fitted()
        )

    def _fitted(self):
        """Names of the laws that are fitted, by weight."""
        candidates = self.law.candidates
        return sorted(
            (name for name, c in candidates.items() if not c.more_sizes),
            key=lambda name: -candidates[name].weight,
        )

    def _taken_for_granted(self):
        """The laws that it takes more sizes for."""
        for name, candidate in self.law.candidates.items():
            if candidate.more_sizes:
                yield (
                    f"{name} is not identifiable: "
                    f"{candidate.more_sizes} more size(s)."
                )
        if len(self._fitted()) == 1:
            yield (
                f"{self._fitted()[0]} is taken for granted; whether the curve "
                "bends otherwise beyond the sizes they cannot say."
            )

    def _doubts(self):
        data, points = self.law.evidence, self._points
        if self.factor > _span(self.law):
            yield (
                f"{self.factor:g}x is farther than the sizes reach, "
                f"{_span(self.law):.3g}x from smallest to largest."
            )
        if np.all(np.diff(data.means) < 0):
            yield (
                "The score falls with every size. Higher must be better: of a "
                "loss or an error, give the negative, and its range."
            )
        elif np.any(np.diff(data.means) < 0):
            yield "The mean score does not rise with every size."
        if data.noise_df:
            yield (
                f"Runs of one size scatter by {points(data.noise**0.5):.2f} "
                "points (standard deviation)."
            )
        else:
            yield "One run a size: noise and bends cannot be told apart."
        if self.law.lack_of_fit < 0.05:
            yield (
                f"The size means lie off {self.law.name} by more than noise "
                f"explains (p = {self.law.lack_of_fit:.2g})."
            )
        for reason, count in data.left_out.items():
            yield f"Left out: {count} rows ({reason})."

    def _next(self, runs):
        size, count, half_width, hours = runs
        cost = f" ({hours:.2g} device-hours)" if np.isfinite(hours) else ""
        if self.admitted:
            return (
                f"{count} at {self.law.evidence.x_name}={units.sized(size)}"
                f"{cost}"
            )
        return (
            f"{count} at {self.law.evidence.x_name}={units.sized(size)}{cost}, "
            "after which the gain is known to "
            f"±{self._points(half_width):.1f} points"
        )

    def _points(self, score):
        return score * self.law.points


def forecast(law, factor=10, worth=None):
    """What `factor` times more would bring, and whether to collect it.

    `collect` if the whole 95% prediction interval of the gain is above
    `worth`, `do not collect` if all of it is below, else `not enough
    evidence`; the last also where `factor` is farther than the sizes reach.

    Args:
        law: A `Law`, from `fit`.
        factor: How many times the largest size, more than 1.
        worth: The smallest gain that is worth its cost, in units of the score.
            None means any gain.

    Returns:
        A `Forecast`; print it.

    Raises:
        ValueError: If an argument is not as above.

    Example:
        >>> from keras_jft.scaling import fit
        >>> scores = {300: 0.19, 1_000: 0.31, 3_000: 0.40, 10_000: 0.52}
        >>> rows = [{"num_examples": n, "top1": scores[n]} for n in scores]
        >>> law = fit(rows, x="num_examples", y="top1")
        >>> sheet = forecast(law, factor=10, worth=0.05)
        >>> print(sheet.headline)
        10x more: +21.4 [17.6, 25.0] points
        >>> sheet.verdict
        'collect'
    """
    if not isinstance(law, Law):
        raise ValueError(
            "`law` must be one law of `fit`; with `by=` it gives several. "
            f"Received: {type(law).__name__}. Choose one of them."
        )
    worth = 0.0 if worth is None else worth
    if not np.isfinite(worth):
        raise ValueError(
            f"`worth` must be a finite number or None. Received: {worth}"
        )
    gain, gain_low, gain_high = law.gain_at(factor)
    there = factor * law.evidence.sizes[-1]
    low, high = law.prediction_interval(there)
    hours = law.evidence.hours_at(there)
    verdict = NOT_ENOUGH_EVIDENCE
    if factor <= _span(law):
        if gain_low > worth:
            verdict = COLLECT
        elif gain_high < worth:
            verdict = DO_NOT_COLLECT
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
            hours / (gain * law.points) if gain > 0 else float("nan")
        ),
        verdict=verdict,
        next_runs=plan(law, factor) if verdict == NOT_ENOUGH_EVIDENCE else (),
    )


def _span(law):
    """How many times the smallest size the largest is."""
    return law.evidence.sizes[-1] / law.evidence.sizes[0]
