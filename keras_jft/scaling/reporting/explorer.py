"""The forecast in a sentence, and the data behind the explorer of the page.

The explorer moves the question: how much more data, what gain is worth it, what
things cost. All that it says is worked out here for a grid of factors;
`explorer.js` looks it up and puts it together as `sentence` does.
"""

import dataclasses
import importlib.resources
import math

import numpy as np

from keras_jft.html_page import Live
from keras_jft.metrics import METRICS
from keras_jft.scaling.decision.forecast import (
    COLLECT,
    DO_NOT_COLLECT,
    NOT_ENOUGH_EVIDENCE,
    forecast,
    from_runs_alone,
    needed_chances,
    rivals,
)
from keras_jft.scaling.rows import units

FACTORS = (1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100)
SHARES = np.linspace(0, 1, 101)  # The quantiles of a gain on the page.
IN_WORDS = {2: "twice", 3: "three times", 5: "five times", 10: "ten times"}
# What the data would do, by verdict: it is sure only where the verdict is.
MODALS = {
    COLLECT: "should",
    DO_NOT_COLLECT: "should",
    NOT_ENOUGH_EVIDENCE: "may",
}
SURE, UNSURE = 0.99, 0.01  # Nearer to 1 or 0 no share of draws is a chance.
SLIDER_STEPS = 50
CHART_SIZES = 60


def sentence(sheet):
    """Return a forecast as a sentence: verdict, change, chance and hours.

    Args:
        sheet: A `Forecast`.
    """
    option = _option(sheet)
    unless = " if the fitted curve holds" if option["withheld"] else ""
    return " ".join(
        filter(
            None,
            (
                f"{units.titled(sheet.verdict)}:",
                f"{option['more']} {MODALS[sheet.verdict]} {option['change']}",
                f"You asked for {_asked(sheet.law, sheet.worth)}; chance "
                f"{_percent(sheet.chance)}{unless}.",
                option["effort"],
            ),
        )
    )


def gain_from_curve(sheet):
    """Return the gain as a line that says what it is measured from.

    Args:
        sheet: A `Forecast`.
    """
    law = sheet.law
    unit, data = law.unit, law.evidence
    gain = unit.text(law.sign * sheet.gain, "+")
    low, high = sorted((law.sign * sheet.gain_low, law.sign * sheet.gain_high))
    now, runs = law.predict(data.sizes[-1]), int(data.counts[-1])
    return (
        f"Change: {gain} {unit.name}, 95% of runs between "
        f"{unit.text(low, '+')} and {unit.text(high, '+')}, from the curve at "
        f"{units.sized(data.sizes[-1])} {things(law)}, {unit.text(now)} (mean "
        f"of {runs} run{'s' * (runs > 1)}: {unit.text(data.means[-1])})"
        f"{'; lower is better' if law.sign < 0 else ''}."
    )


def explorer(found):
    """Return the block that explores the forecasts, or None without any.

    Args:
        found: `{name: Forecast}` by name as the page shows it; strings in place
            of a `Forecast` are left out.
    """
    curves = [
        _curve(name, sheet)
        for name, sheet in found.items()
        if not isinstance(sheet, str)
    ]
    script = importlib.resources.files(__package__) / "explorer.js"
    return (
        Live("explorer", {"curves": curves}, script.read_text(encoding="utf-8"))
        if curves
        else None
    )


def things(law):
    """Return what sizes count: images, or the name of their column."""
    name = law.evidence.x_name
    return "images" if name == "num_examples" else name.replace("_", " ")


# === Words ===


def _option(sheet):
    """Return what the page says of one factor, whatever is asked for."""
    law = sheet.law
    largest = law.evidence.sizes[-1]
    more = IN_WORDS.get(sheet.factor, f"{sheet.factor:g} times")
    doubts = [d.text for d in sheet.doubts if d.withholds]
    hours = sheet.hours if np.isfinite(sheet.hours) else None
    return {
        "factor": float(sheet.factor),
        "more": f"{more} the {things(law)}, {units.sized(largest)} to "
        f"{units.sized(sheet.factor * largest)},",
        "change": _change(sheet),
        "effort": ""
        if hours is None
        else f"About {_hours(hours)} device-hours a run.",
        "hours": hours,
        "added": float((sheet.factor - 1) * largest),
        "withheld": " ".join(doubts).replace("`", ""),
    }


def _change(sheet):
    """Return where the score goes, from the curve at the largest size."""
    now, there, low, high = sheet.scores
    law = sheet.law
    score = f"{law.unit.text(there)} ({law.unit.text(low)} to "
    score += f"{law.unit.text(high)})."
    name, start = _score_name(law), law.unit.text(now)
    if start == law.unit.text(there):
        return f"change {name} little, from {start} to about {score}"
    verb = "lift" if there > now else "lower"
    return f"{verb} {name} from {start} to about {score}"


def _score_name(law):
    """Return the name of the scores: of a known metric, or of the column."""
    name = law.evidence.y_name
    titles = {m.title for m in METRICS.values() if m.score == name}
    if len(titles) > 1:  # Of boxes or of keypoints: a law does not say.
        return name.upper()
    return titles.pop() if titles else name.replace("_", " ")


def _asked(law, worth):
    """Return the gain that is worth its cost, in words."""
    if not worth:
        return "any gain" if law.sign > 0 else "any fall"
    amount = law.unit.exact(worth)
    if law.unit.name != "points":  # The sentence has named the score before.
        amount = amount.removesuffix(f" {law.unit.name}")
    return f"a fall of {amount}" if law.sign < 0 else amount


def _percent(chance):
    """Return a chance that is a share of draws, which never is quite 0 or 1."""
    if chance > SURE:
        return "above 99%"
    # Halves go up, as in JavaScript.
    return "below 1%" if chance < UNSURE else f"{int(100 * chance + 0.5)}%"


def _hours(hours):
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


# === Data ===


def _curve(name, sheet):
    """Return the JSON data of one curve; scores are as they are printed."""
    law, scale = sheet.law, sheet.law.unit.factor
    left = _left(law)
    alone = from_runs_alone(law)
    factors = sorted({*FACTORS, float(sheet.factor)})
    options = [_explored(law, alone, factor, left) for factor in factors]
    # The slider of the worth goes up to the largest gain, or twice what is
    # asked for.
    most = max(
        2 * scale * sheet.worth,
        *(option["gain"][2] for option in options),
        *(abs(option["gain"][0]) for option in options),
    )
    most = most or 1.0
    return {
        "name": name,
        "things": things(law),
        "unit": law.unit.name,
        "sign": law.sign,
        "asked": {
            "at": factors.index(float(sheet.factor)),
            "worth": scale * sheet.worth,
            "chance": sheet.chance,
        },
        "any": _asked(law, 0),
        "left": scale * left if np.isfinite(left) else None,
        "most": most,
        "step": 10.0 ** math.floor(math.log10(most / SLIDER_STEPS)),
        "modals": MODALS,
        "needed": needed_chances(),
        "now": scale * float(law.predict(law.evidence.sizes[-1])),
        "options": options,
        "chart": _chart(law, factors[-1]),
    }


def _left(law):
    """Return the distance from the best mean score to the end of the scale."""
    end = law.bounds[1] if law.sign > 0 else law.bounds[0]
    return float(np.min(np.abs(end - law.evidence.means)))


def _explored(law, alone, factor, left):
    """Return the `_option` of a factor, with its gain and how likely it is.

    Whether the verdict would be another from a rival interval, and whether a
    gain is possible, depends on what is asked for, so `explorer.js` finds it
    from `rivals` and `left`.
    """
    scale = law.unit.factor
    gain = law.gain_at(factor)
    # A worth amid the gains, for which neither is in question.
    sheet = forecast(law, factor, min(max(gain.value, 0), left))
    doubts = [d for d in sheet.doubts if not d.about_verdict]
    sheet = dataclasses.replace(sheet, doubts=tuple(doubts))
    gains = np.quantile(law.gains(factor)[1], SHARES)
    _, *scores = sheet.scores
    return {
        **_option(sheet),
        "gain": [scale * part for part in gain],
        "rivals": [
            {"gain": [scale * part for part in rival], "why": why}
            for rival, why in rivals(law, factor, alone)
        ],
        "scores": [scale * score for score in scores],
        "gains": [float(f"{scale * part:.4g}") for part in gains],
    }


def _chart(law, factor):
    """Return the lines and points that the explorer draws."""
    data, scale = law.evidence, law.unit.factor
    sizes = np.geomspace(data.sizes[0], factor * data.sizes[-1], CHART_SIZES)
    low, high = law.prediction_interval(sizes)
    lines = {"curve": law.predict(sizes), "low": low, "high": high}
    percent = law.bounds in ((0, 1), (0, 100))
    count = "Images" if data.x_name == "num_examples" else data.x_name
    return {
        "x": f"{count} (log scale)",
        "y": f"{_score_name(law)} (%)" if percent else _score_name(law),
        "sizes": sizes.tolist(),
        **{name: (scale * line).tolist() for name, line in lines.items()},
        "runs": [data.x.tolist(), (scale * data.y).tolist()],
        "means": [data.sizes.tolist(), (scale * data.means).tolist()],
    }
