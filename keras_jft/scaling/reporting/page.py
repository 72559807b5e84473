"""The decision page of a study, for the person who holds the budget.

`report` builds it as a list of blocks, which `keras_jft.html_page` writes as
HTML and as Markdown. The helpers below it follow the page from top to bottom:
the decision on each curve and the alternatives to more data; figures and tables
of scores, beside those of the paper; the fitted laws and the caveats; and how
the rows were made.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from keras_jft import files
from keras_jft.html_page import (
    Bullets,
    Card,
    Cards,
    Code,
    Heading,
    Picture,
    Pictures,
    Table,
    Text,
    check_path,
    svg_of,
    to_markdown,
    write,
)
from keras_jft.scaling.decision import prices as prices_lib
from keras_jft.scaling.decision.alternatives import Alternative
from keras_jft.scaling.decision.forecast import (
    COLLECT,
    DO_NOT_COLLECT,
    NOT_ENOUGH_EVIDENCE,
    forecasts,
)
from keras_jft.scaling.decision.prices import Prices
from keras_jft.scaling.law.families import LAWS
from keras_jft.scaling.law.fitting import SIZES_TO_DECIDE
from keras_jft.scaling.paper.tables import paper_table
from keras_jft.scaling.reporting.explorer import (
    explorer,
    gain_from_curve,
    sentence,
)
from keras_jft.scaling.reporting.figures import plot_data_size
from keras_jft.scaling.reporting.tables import means
from keras_jft.scaling.rows import units
from keras_jft.scaling.rows.table import SECONDS, Rows, RowsLike
from keras_jft.typing import PathLike

CAVEATS = (
    "Each interval is a 95% prediction interval of one new run. It includes "
    "the noise of seeds, the uncertainty that the sizes leave about the curve, "
    "and the choice of law. It assumes that additional images are like the "
    "present ones and that nothing else changes. For simulated curves that "
    "bend beyond all sizes, it holds 80 to 87% of runs.",
    "Sun et al. 2017 say about their own numbers (Disclaimer, Large scale "
    "learning) that schedules and hyper-parameters are those of training with "
    "1M images, so the impact of data is underestimated at every size. If "
    "these runs use the same settings at all sizes, that is true of them too: "
    "tuned at each size, more data may be worth more.",
)
TIMED = (
    "Device-hours are those of training on the machine that made the rows. "
    "They do not include the cost of the images and their labels."
)
ON_THE_CLOCK = (
    "The rows give the wall-clock time of each run, not device_seconds: "
    "pre-training that was done earlier, or for another run, is not counted, "
    "so more data costs more than this page says."
)
TONES = {COLLECT: "yes", DO_NOT_COLLECT: "no", NOT_ENOUGH_EVIDENCE: "open"}
# Words that a page may need, each explained on those that use it.
WORDS = {
    "prediction interval": "the range that holds 95% of single new runs.",
    "device-hours": "hours of training times the number of devices.",
    "standard deviation": "how far a run typically is from the mean.",
    "random initialization": "trained on the task alone, without pre-training.",
    "initial weights alone": "what every pre-training started from, as it is.",
    "log-linear": "a law in which each tenfold of data adds the same gain.",
    "power law": "a law in which gains shrink steadily, towards a limit.",
    "M4": "a law that may start slowly, and rises towards a limit.",
    "broken power law": "a power law that changes its slope once.",
}
# Columns of a row that say how it was made, and their names on the page.
MADE_BY = {
    "cpu": "Processor",
    "cores": "Cores",
    "accelerator": "Accelerator",
    "backend": "Keras backend",
}


def report(
    rows: RowsLike,
    path: PathLike,
    *,
    x: str = "num_examples",
    y: str | None = None,
    by: str | Sequence[str] | None = None,
    factor: float = 10,
    worth: float | None = None,
    bounds: tuple[float, float] | None = None,
    direction: str | None = None,
    alternatives: Sequence[Alternative] = (),
    prices: Prices | None = None,
    price: Mapping[str, Any] | None = None,
    paper_tables: Sequence[int] = (),
    near_duplicates: Mapping[str, PathLike] | None = None,
    title: str | None = None,
    command: str | None = None,
) -> tuple[Path, Path]:
    """Write the decision page of a study, as HTML and as Markdown.

    The page starts with the decision on each curve: verdict, scores, interval,
    probability, cost and the next runs, in a sentence each. Below it the reader
    can move the question: how much data, what gain is worth it, what an image
    and a device-hour cost. Figures, scores, laws, caveats and how the rows were
    made follow. The HTML is a single self-contained file, which needs no
    network, and says the same without JavaScript; the Markdown beside it says
    it without figures.

    Args:
        rows: Rows, a list of dicts, a DataFrame or `Rows`.
        path: Where to write the page, `*.html`.
        x: The column of sizes.
        y: The column of scores. None: `score` or the main metric of the
            task.
        by: Columns that tell curves apart; None: those of `task`, `mode`
            and `arm` that the rows have.
        factor: How many times the largest size the forecast is for.
        worth: The smallest gain worth its cost, in the unit of the score.
        bounds: Lowest and highest possible score, as for `fit`.
        direction: `"max"` or `"min"`, as for `fit`.
        alternatives: The result of `jft.scaling.alternatives`, to show beside
            the decision.
        prices: The result of `jft.scaling.prices`, to show with them.
        price: Arguments of `jft.scaling.prices` from which the page says what a
            gain costs on each curve, such as `{"image": 0.02}`.
        paper_tables: Numbers of the paper's tables to show with the means of
            the rows beside them, as `paper_table` does.
        near_duplicates: `{name: file}`: pictures to show, SVG, of images
            measured on and the pre-training images that they repeat.
        title: The title of the page.
        command: The command that made the rows, to show on the page.

    Returns:
        The paths of both files.

    Raises:
        ValueError: As for `forecasts`, or if `path` does not name HTML.

    Example:
        >>> import tempfile
        >>> scores = {300: 0.32, 1_000: 0.38, 3_000: 0.5, 10_000: 0.6}
        >>> rows = [{"num_examples": n, "score": scores[n]} for n in scores]
        >>> page, text = report(rows, f"{tempfile.mkdtemp()}/report.html")
        >>> print("evidence" in page.read_text(), text.name)
        True report.md
    """
    check_path(path)
    _check_texts(title=title, command=command)
    if not isinstance(alternatives, (list, tuple)) or not all(
        isinstance(found, Alternative) for found in alternatives
    ):
        raise ValueError(
            "`alternatives` must be a list that `jft.scaling.alternatives` "
            f"returned. Received: {alternatives!r}."
        )
    if not isinstance(prices, (Prices, type(None))):
        raise ValueError(
            "`prices` must be what `jft.scaling.prices` returned. Received: "
            f"{prices!r}."
        )
    options: dict[str, Any] = {"x": x, "y": y, "bounds": bounds}
    rows = Rows(rows)
    by = rows.curve_columns(by)
    found = forecasts(
        rows,
        by=by,
        factor=factor,
        worth=worth,
        direction=direction,
        **options,
    )
    done = rows.succeeded()
    panels = {
        units.titled(_called(name)): part
        for name, part in done.panels(by).items()
    }
    modes = sorted(done.table["mode"].unique()) if "mode" in by else None
    blocks = [
        *([Text(_in_short(found))] if len(found) > 1 else []),
        Heading("The decision"),
        Cards(tuple(_card(*curve, price) for curve in found.items())),
        *_explorer(found),
        *_against(alternatives, prices),
        Heading("Figures"),
        Pictures(
            tuple(
                _picture(*panel, modes=modes, factor=factor, **options)
                for panel in panels.items()
            )
        ),
        Heading("Scores"),
        *(_scores(*panel, by, **options) for panel in panels.items()),
        *_beside_the_paper(paper_tables, rows),
        *_laws(found),
        Heading("Caveats"),
        Bullets(_common_caveats(done)),
        Heading("For these curves", level=3),
        _caveats(found),
        *_pairs(near_duplicates),
        Heading("How the numbers were made"),
        *_made_by(rows, command),
    ]
    blocks += _explained(blocks)
    return write(path, title or f"What would {factor:g}x more buy?", blocks)


def _pairs(near_duplicates):
    """Yield pictures of near-duplicates, if there are any."""
    if not near_duplicates:
        return
    yield Heading("Near-duplicates")
    yield Text(
        "Each test image is above the pre-training image that is most like "
        "it. Shown are the pairs nearest to the threshold; those with a red "
        "number are above it and count as near-duplicates. How many there are "
        'is under "What the rows say".'
    )
    yield Pictures(
        tuple(
            Picture(files.read_bytes(file), units.titled(name))
            for name, file in near_duplicates.items()
        )
    )


def _check_texts(**given):
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise ValueError(
                f"`{name}` must be a string or None. Received: "
                f"{name}={value!r}. `shlex.join` joins a list of words."
            )


def _called(name):
    """Return the name of a curve, from the values of its columns."""
    words = [str(value).replace("_", " ") for value in name]
    return ", ".join(words) or "all runs"


# === The decision ===


def _in_short(found):
    """Return a sentence per verdict that names its curves, strongest first."""
    names = {}
    for name, sheet in found.items():
        verdict = NOT_ENOUGH_EVIDENCE
        if not isinstance(sheet, str):
            verdict = sheet.verdict
        names.setdefault(verdict, []).append(_called(name))
    order = (COLLECT, DO_NOT_COLLECT, NOT_ENOUGH_EVIDENCE)
    return " ".join(
        f"{verdict.capitalize()}: {'; '.join(names[verdict])}."
        for verdict in order
        if verdict in names
    )


def _card(name, sheet, price=None):
    """Return the `Card` of a curve.

    Args:
        name: A tuple, the values of the columns that tell curves apart.
        sheet: A `Forecast`, or a string that says why there is none.
        price: Arguments of `prices`, if there are any.
    """
    tone = TONES[NOT_ENOUGH_EVIDENCE]
    if isinstance(sheet, str):
        return Card(_called(name), NOT_ENOUGH_EVIDENCE, sheet, (), tone)
    lines = [_unquoted(reason) for reason in sheet.reasons]
    lines.append(gain_from_curve(sheet))
    if sheet.cost:
        lines.append(f"Cost: {sheet.cost}")
    lines += filter(None, [prices_lib.sentence(sheet, price)])
    if sheet.next_runs:
        lines.append(f"Next runs: {_next_runs(sheet)}")
    tone = TONES[sheet.verdict]
    said = sentence(sheet)
    return Card(_called(name), sheet.verdict, said, tuple(lines), tone)


def _unquoted(text):
    """Return a message without the quotes of names in Python's arguments."""
    return text.replace("`", "")


def _explorer(found):
    """Yield the block in which the reader moves the question, if any can be."""
    block = explorer({_called(name): sheet for name, sheet in found.items()})
    if block:
        yield block


def _next_runs(sheet):
    unit, half = sheet.law.unit, (sheet.gain_high - sheet.gain_low) / 2
    runs = ", ".join(
        f"{count} at {units.sized(size)}" for size, count, *_ in sheet.next_runs
    )
    hours = sum(n.hours for n in sheet.next_runs)
    cost = f" for {hours:.2g} device-hours" if hours >= 0 else ""
    where = f"{runs} ({sheet.law.evidence.x_name}){cost}, which would"
    return (
        f"{where} narrow the gain from ±{unit.text(half)} to "
        f"±{unit.text(sheet.next_runs[-1].half_width)} {unit.name}"
    )


def _against(alternatives, prices=None):
    """Yield blocks that compare data with its alternatives, if any."""
    if not alternatives and prices is None:
        return
    yield Heading("Data against alternatives")
    if prices is not None:
        yield Text(f"What a gain takes, by each way alone: {prices}.")
    if not alternatives:
        return
    yield Table(
        "Each change alone; gain in the unit of the score, with its 95% "
        "interval over seeds; additional device-hours per run",
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


# === Figures and scores ===


def _picture(title, part, *, x, y, factor, **options):
    ax = plot_data_size(part, x=x, y=y, factor=factor, **options)
    done = part.succeeded()
    trained = done.table[~done.untrained]
    modes = [column for column in ("mode",) if column in trained]
    runs = trained.groupby([*modes, x]).size()
    sizes = runs.groupby(modes).size() if modes else [len(runs)]
    # Only what the figure has.
    caption = f"{title}: {part.score(y)} by {x}."
    if len(runs) and runs.max() > 1:
        caption += " Small markers are runs, large ones means."
    if len(runs) and max(sizes) >= SIZES_TO_DECIDE:
        caption += (
            " The forecast is dotted, its interval shaded, up to "
            f"{factor:g} times the largest size."
        )
    return Picture(svg_of(ax.figure), caption)


def _scores(title, part, by, x, y, bounds):
    scores = part.scores(y, bounds)
    modes = [column for column in by if column == "mode"]
    cells = means(part, modes, x, scores)
    runs = part.table.groupby([*modes, x]).size()
    fewest, most = runs.min(), runs.max()
    counted = f"{fewest} to {most} runs" if fewest < most else f"{most} runs"
    shown = (
        "one run" if most == 1 else f"mean ± standard deviation over {counted}"
    )
    in_points = " in points" * (scores.unit.name == "points")
    return Table(
        f"{title}: {scores.name}{in_points}, {shown} of each size ({x})",
        ("", *cells.columns),
        tuple(
            (str(mode).replace("_", " "), *row)
            for mode, row in zip(cells.index, cells.to_numpy(), strict=True)
        ),
    )


def _beside_the_paper(numbers, rows):
    """Yield tables of the paper beside the rows, and their known errors."""
    if not numbers:
        return
    yield Heading("Beside the paper")
    for number in numbers:
        table = paper_table(number, rows)
        cells = table.text()
        yield Table(
            f"Table {number} of Sun et al. 2017, transposed: {table.title}",
            ("", *cells.columns),
            tuple(
                (name, *row)
                for name, row in zip(cells.index, cells.to_numpy(), strict=True)
            ),
        )
        if table.faults:
            yield Bullets(tuple(map(str, table.faults)))


# === Laws and caveats ===


def _laws(found):
    """Yield a table of the fitted laws, if there are any."""
    laws = {n: f.law for n, f in found.items() if not isinstance(f, str)}
    if not laws:
        return
    yield Heading("Laws")
    yield Table(
        "Probability of each law; least-squares parameters",
        ("curve", "law", "probability", "parameters"),
        tuple(
            (_called(name), LAWS[one].title, *_fitted(candidate))
            for name, law in laws.items()
            for one, candidate in law.candidates.items()
        ),
        words=True,
    )


def _fitted(candidate):
    numbers = candidate.parameters.items()
    return (
        f"{candidate.probability:.0%}",
        ", ".join(f"{name} {value:.3g}" for name, value in numbers),
    )


def _common_caveats(rows):
    clocks = {*SECONDS} & {*rows.table}
    timed = (TIMED,) if clocks else ()
    on_the_clock = (ON_THE_CLOCK,) if clocks == {"wall_seconds"} else ()
    return (*CAVEATS, *timed, *on_the_clock)


def _caveats(found):
    """Return each doubt once, with the curves that it applies to."""
    curves = {}
    for name, sheet in found.items():
        doubts = (
            [f"{sheet}."]
            if isinstance(sheet, str)
            else [_unquoted(doubt.text) for doubt in sheet.doubts]
        )
        for line in doubts:
            curves.setdefault(line, []).append(_called(name))
    return Bullets(
        tuple(
            line if len(names) == len(found) else f"{line} ({'; '.join(names)})"
            for line, names in curves.items()
        )
    )


def _explained(blocks):
    """Yield blocks that explain the words that the others use."""
    text = to_markdown("", blocks)
    used = [
        f"{word}: {meaning}" for word, meaning in WORDS.items() if word in text
    ]
    if used:
        yield Heading("Words on this page")
        yield Bullets(tuple(used))


# === How the numbers were made ===


def _made_by(rows, command=None):
    """Yield blocks on how the rows were made, as far as they say."""
    table = rows.table
    if command:
        yield Code("The command that made the rows", command)
    facts = [("Rows", f"{len(rows):,}"), *_facts(rows)]
    yield Table("What the rows say", ("", "values"), tuple(facts), words=True)
    configs = [c for c in table.get("config", ()) if isinstance(c, dict)]
    if not configs:
        yield Text(
            "The rows have no configs, so there is no record of how they were "
            "made."
        )
        return
    shared, varied = _settings(configs)
    if varied:
        yield Table(
            "Settings that differ among the runs",
            ("setting", "values"),
            tuple((name, ", ".join(v)) for name, v in varied.items()),
            words=True,
        )
    lines = [f"{name} = {value}" for name, value in shared.items()]
    yield Code("Settings that all runs share", "\n".join(lines))


def _facts(rows):
    """Yield pairs of a recorded fact and its values."""
    table = rows.table
    if "error" in table:
        yield "Failed runs", f"{int(rows.failed.sum()):,}"
    if "seed" in table:
        yield "Seeds", _values(table["seed"])
    if "num_duplicates" in table:
        yield (
            "Test images that pre-training may have seen",
            _values(table["num_duplicates"]),
        )
    if "time" in table:
        times = [time for time in table["time"] if isinstance(time, str)]
        if times:
            yield "Made (UTC)", f"{min(times)} to {max(times)}"
    hours = pd.Series(rows.hours)
    if hours.notna().any():
        yield "Device-hours in all", f"{hours.sum():.3g}"
    for column, name in MADE_BY.items():
        if column in table:
            yield name, _values(table[column])
    for column in table:
        package = str(column).removeprefix("version_")
        if package != column:
            yield package, _values(table[column])


def _values(column):
    texts = [
        value if isinstance(value, (str, int, float)) else json.dumps(value)
        for value in column.dropna()
    ]
    values = list(dict.fromkeys(texts))
    if all(isinstance(v, float) and v.is_integer() for v in values):
        values = [int(value) for value in values]
    return ", ".join(map(str, values)) or "none"


def _settings(configs):
    """Split settings into those that all configs share and those that vary.

    Returns:
        `{name: value}` of the shared settings and `{name: values}` of the
        others; names are dotted paths into the config.
    """
    flat = pd.DataFrame([dict(_flat(config)) for config in configs])
    values = {
        str(name): column.fillna("not there").unique().tolist()
        for name, column in flat.items()
    }
    shared = {name: v[0] for name, v in values.items() if len(v) == 1}
    return shared, {name: v for name, v in values.items() if len(v) > 1}


def _flat(config, path=""):
    """Yield pairs of a dotted path and its value as JSON."""
    for name, value in config.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", json.dumps(value)
