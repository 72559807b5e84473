"""What forecasts answer, as the part of a page that is read first."""

from keras_jft.html_page import Card, Heading, Table
from keras_jft.scaling import units
from keras_jft.scaling.decision import (
    COLLECT,
    DO_NOT_COLLECT,
    NOT_ENOUGH_EVIDENCE,
)


def called(name):
    """What a curve is called, by the values of its columns."""
    words = [str(value).replace("_", " ") for value in name]
    return ", ".join(words) or "all runs"


def in_short(found):
    """The verdicts in one line each, the strongest first."""
    names = {}
    for name, sheet in found.items():
        verdict = NOT_ENOUGH_EVIDENCE
        if not isinstance(sheet, str):
            verdict = sheet.verdict
        names.setdefault(verdict, []).append(called(name))
    order = (COLLECT, DO_NOT_COLLECT, NOT_ENOUGH_EVIDENCE)
    return " ".join(
        f"{verdict.capitalize()}: {'; '.join(names[verdict])}."
        for verdict in order
        if verdict in names
    )


def card(name, sheet):
    """The `Card` of a curve, from a `Forecast` or why there is none."""
    if isinstance(sheet, str):
        return Card(called(name), NOT_ENOUGH_EVIDENCE, sheet, ())
    chance, score, *_ = sheet.basis
    lines = [*sheet.reasons, chance, score]
    if sheet.cost:
        lines.append(f"Cost: {sheet.cost}")
    if sheet.next_runs:
        lines.append(f"Next runs: {_next_runs(sheet)}")
    return Card(called(name), sheet.verdict, sheet.headline, tuple(lines))


def _next_runs(sheet):
    unit, half = sheet.law.unit, (sheet.gain_high - sheet.gain_low) / 2
    runs = ", ".join(
        f"{count} at {units.sized(size)}" for size, count, *_ in sheet.next_runs
    )
    hours = sum(n.hours for n in sheet.next_runs)
    cost = f" for {hours:.2g} device-hours" if hours >= 0 else ""
    where = f"{runs} ({sheet.law.evidence.x_name}){cost}, which would"
    if sheet.admitted:
        return (
            f"{where} admit {' and '.join(sheet.admitted)}, too: the interval "
            "may widen, and be truer"
        )
    return (
        f"{where} narrow the gain from ±{unit.text(half)} to "
        f"±{unit.text(sheet.next_runs[-1].half_width)} {unit.name}"
    )


def against(alternatives):
    """Blocks that set data against its alternatives; none without them."""
    if not alternatives:
        return
    yield Heading("Data against alternatives")
    yield Table(
        "Each change alone; gain in units of the score, with its 95% interval "
        "over seeds; device-hours that a run takes more",
        ("change", "gain", "interval", "hours", "gain per hour", "runs"),
        tuple(
            (
                f"{a.name}: {a.start} to {a.end}",
                f"{a.gain:+.3g}",
                f"{a.low:.3g} to {a.high:.3g}"
                if a.low <= a.high
                else "unknown",
                _or_unknown(f"{a.hours:+.3g}"),
                _or_unknown(
                    f"{a.per_hour:+.3g}", "none" if a.hours <= 0 else "unknown"
                ),
                " and ".join(map(str, a.runs)),
            )
            for a in alternatives
        ),
    )


def _or_unknown(text, otherwise="unknown"):
    return otherwise if "nan" in text else text
