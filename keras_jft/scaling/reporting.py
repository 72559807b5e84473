"""The decision page: what a person with a budget reads."""

from keras_jft.html_page import (
    Cards,
    Heading,
    Picture,
    Pictures,
    Points,
    Table,
    Text,
    check_path,
    svg_of,
    write,
)
from keras_jft.scaling import answers, cost, evidence, origins, summary, units
from keras_jft.scaling.figure import plot_data_size
from keras_jft.scaling.laws import LAWS
from keras_jft.scaling.marginal import Alternative
from keras_jft.scaling.paper_tables import paper_table

CAVEATS = (
    "An interval is that of one new run, at 95%. It includes the noise of "
    "seeds, what the sizes leave open of the curve, and the choice of law. It "
    "takes for granted that more images are like those there are, and that "
    "nothing else changes. Of simulated curves that bend beyond all sizes, "
    "it holds 80 to 87% (`benchmarks/coverage.py`).",
    "Sun et al. 2017 say of their own numbers (Disclaimer, Large scale "
    "learning): schedules and hyper-parameters are those of training with 1M "
    "images, and so the impact of data is underestimated at every size. Where "
    "these runs share one setting for all sizes, that holds for them too: "
    "tuned at each size, more data may be worth more.",
    "Device-hours are those of training on the machine of the rows. What the "
    "images and their labels cost is not among them.",
)
ON_THE_CLOCK = (
    "The rows say what a run took on the clock, not `device_seconds`: "
    "pre-training that was done before, or for another run, is not counted, "
    "and more data costs more than said here."
)


def report(
    rows,
    path,
    *,
    x="num_examples",
    y=None,
    by=None,
    factor=10,
    worth=None,
    bounds=None,
    direction=None,
    alternatives=(),
    paper_tables=(),
    title=None,
    command=None,
):
    """Writes the decision page of a study, as HTML and as Markdown.

    First the decision on each curve: gain, interval, probability, verdict,
    cost and the next runs; then figures, scores, laws, caveats, and how the
    rows were made. The HTML is one file that needs no other; the Markdown
    beside it says the same without the figures.

    Args:
        rows: Rows, a list of dicts or a DataFrame.
        path: Where the page is written, `*.html`.
        x: The column of sizes.
        y: The column of scores. None means `score` or the main number of the
            task.
        by: Columns that tell curves apart; None means `task`, `mode` and
            `arm`, where they are there.
        factor: How many times the largest size is asked for.
        worth: The smallest gain that is worth its cost, in units of the score.
        bounds: Lowest and highest score there can be, as for `fit`.
        direction: `"max"` or `"min"`, as for `fit`.
        alternatives: What `jft.scaling.alternatives` found, to stand beside
            the decision.
        paper_tables: Numbers of the paper's tables that the means of the rows
            are to stand beside, as `paper_table` has it.
        title: The title of the page.
        command: The command that makes the rows, to be printed.

    Returns:
        The paths of both files.

    Raises:
        ValueError: As `forecasts` does, or if `path` is no `*.html`.

    Example:
        >>> import tempfile
        >>> scores = {300: 0.32, 1_000: 0.38, 3_000: 0.5, 10_000: 0.6}
        >>> rows = [{"num_examples": n, "score": scores[n]} for n in scores]
        >>> page, text = report(rows, f"{tempfile.mkdtemp()}/report.html")
        >>> print("collect" in page.read_text(), text.name)
        True report.md
    """
    check_path(path)
    _check_texts(title=title, command=command)
    if not isinstance(alternatives, (list, tuple)) or not all(
        isinstance(found, Alternative) for found in alternatives
    ):
        raise ValueError(
            "`alternatives` must be a list of what `jft.scaling.alternatives` "
            f"found. Received: {alternatives!r}."
        )
    options = {"x": x, "y": y, "bounds": bounds}
    by = summary.curve_columns(rows, by)
    found = summary.forecasts(
        rows,
        by=by,
        factor=factor,
        worth=worth,
        direction=direction,
        **options,
    )
    table = evidence.succeeded(rows)
    panels = _panels(table, by)
    modes = sorted(table["mode"].unique()) if "mode" in by else None
    blocks = [
        Text(answers.in_short(found)),
        Heading("The decision"),
        Cards(tuple(answers.card(*curve) for curve in found.items())),
        *answers.against(alternatives),
        Heading("Figures"),
        Pictures(
            tuple(
                _picture(*panel, modes=modes, factor=factor, **options)
                for panel in panels
            )
        ),
        Heading("Scores"),
        *(_scores(*panel, by, **options) for panel in panels),
        *_beside_the_paper(paper_tables, rows),
        Heading("Laws"),
        _laws(found),
        Heading("Caveats"),
        Points(_common_caveats(table)),
        Heading("Of these curves", level=3),
        _caveats(found),
        Heading("How the numbers were made"),
        *origins.made_by(rows, command),
    ]
    return write(path, title or f"What would {factor:g}x more buy?", blocks)


def _check_texts(**given):
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise ValueError(
                f"`{name}` must be a text or None. Received: {name}={value!r}."
                " `shlex.join` makes one of a list of words."
            )


def _panels(table, by):
    """Pairs of a title and the rows of a figure: its curves are modes."""
    apart = [column for column in by if column != "mode"]
    if not apart:
        return [("All runs", table)]
    return [
        (units.titled(answers.called(name)), part)
        for name, part in table.groupby(apart)
    ]


def _picture(title, part, *, x, y, factor, **options):
    ax = plot_data_size(part, x=x, y=y, factor=factor, **options)
    return Picture(
        svg_of(ax.figure),
        f"{title}: {evidence.score_of(part, y)} by {x}. Small points are runs, "
        f"large ones means; dotted and shaded on to {factor:g} times the "
        "largest size.",
    )


def _scores(title, part, by, x, y, bounds):
    y = evidence.score_of(part, y)
    unit = units.unit_of(units.bounds_of(part[y], bounds, y), part[y], y)
    modes = [column for column in by if column == "mode"]
    cells = summary.means(
        part.assign(**{y: part[y] * unit.factor}), modes, x, y, unit.digits
    )
    runs = part.groupby([*modes, x]).size()
    most = (
        f"{runs.min()}"
        if runs.min() == runs.max()
        else (f"{runs.min()} to {runs.max()}")
    )
    in_points = " in points" * (unit.name == "points")
    return Table(
        f"{title}: {y}{in_points}, mean ± standard deviation over {most} "
        f"run(s) of each {x}",
        ("", *cells.columns),
        tuple(
            (str(mode).replace("_", " "), *row)
            for mode, row in zip(cells.index, cells.to_numpy(), strict=True)
        ),
    )


def _beside_the_paper(numbers, rows):
    """Tables of the paper with columns of the rows, and what is wrong there."""
    if not numbers:
        return
    yield Heading("Beside the paper")
    for number in numbers:
        table = paper_table(number, rows)
        cells = table.text()
        yield Table(
            f"Table {number} of Sun et al. 2017, turned: {table.title}",
            ("", *cells.columns),
            tuple(
                (name, *row)
                for name, row in zip(cells.index, cells.to_numpy(), strict=True)
            ),
        )
        if table.faults:
            yield Points(tuple(map(str, table.faults)))


def _laws(found):
    """The laws that are fitted; what the others lack is a caveat."""
    laws = {n: f.law for n, f in found.items() if not isinstance(f, str)}
    return Table(
        "Weight in the forecast; AICc (lower is better); log density of the "
        "largest third of the sizes, foreseen from the others (higher is "
        "better); parameters of least squares",
        ("curve", "law", "weight", "AICc", "held out", "parameters"),
        tuple(
            (answers.called(name), LAWS[one].title, *_fitted(candidate))
            for name, law in laws.items()
            for one, candidate in law.candidates.items()
            if not candidate.more_sizes
        ),
        words=True,
    )


def _fitted(candidate):
    numbers = candidate.parameters.items()
    return (
        f"{candidate.weight:.0%}",
        f"{candidate.aicc:.1f}",
        f"{candidate.held_out:.1f}",
        ", ".join(f"{name} {value:.3g}" for name, value in numbers),
    )


def _common_caveats(table):
    on_the_clock = {*cost.SECONDS} & {*table} == {"wall_seconds"}
    return (*CAVEATS, ON_THE_CLOCK) if on_the_clock else CAVEATS


def _caveats(found):
    """What speaks against trusting forecasts, and against which."""
    curves = {}
    for name, sheet in found.items():
        doubts = (
            [f"{sheet}."]
            if isinstance(sheet, str)
            else [doubt.text for doubt in sheet.doubts]
        )
        for line in doubts:
            curves.setdefault(line, []).append(answers.called(name))
    return Points(
        tuple(
            line if len(names) == len(found) else f"{line} ({'; '.join(names)})"
            for line, names in curves.items()
        )
    )
