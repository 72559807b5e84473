import re

import numpy as np
import pytest
from made_up_curves import SIZES, line, rows_of

from keras_jft import html_page
from keras_jft.scaling import Alternative, forecasts
from keras_jft.scaling.reporting import page

NAN = float("nan")


@pytest.fixture(scope="module")
def found():
    """A steep, a flat and an uncertain curve, and one of two sizes."""
    means = {
        "steep": line(SIZES)[:, None] + [0, 0.002],
        "flat": np.full((4, 2), 0.3) + [0, 0.002],
        "bent": np.array([[0.3], [0.3], [0.32], [0.5]]) + [0, 0.002],
    }
    rows = [
        {**row, "wall_seconds": 3600.0}
        for mode, scores in means.items()
        for row in rows_of(SIZES, scores, mode=mode)
    ]
    rows += rows_of(SIZES[:2], line(SIZES[:2])[:, None], mode="a_short")
    return forecasts(rows, y="top1", worth=0.02)


def test_a_curve_that_stays_where_it_is_changes_little(found):
    (now, _, low, high) = (f"{100 * v:.1f}" for v in found["flat",].scores)
    assert (
        f"should change Top-1 accuracy little, from {now} to about {now} "
        f"({low} to {high})."
    ) in page._card(("flat",), found["flat",]).lead


def test_page_and_terminal_call_laws_the_same(found):
    sheet = found["steep",]
    (line,) = (text for text in sheet.basis if text.startswith("Laws"))
    _, table = page._laws(found)
    said = [f"{law} {p}" for name, law, p, _ in table.rows if name == "steep"]
    assert sorted(said) == sorted(line.partition(": ")[2].split(", "))


def test_verdicts_come_strongest_first(found):
    assert page._in_short(found) == (
        "Collect: steep. Do not collect: flat. Not enough evidence: a short; "
        "bent."
    )


def test_a_card_has_verdict_sentence_change_and_cost(found):
    sheet = found["steep",]
    card = page._card(("steep",), sheet)
    assert (card.title, card.verdict) == ("steep", "collect")
    assert card.tone == "yes"
    # From the curve at 10,000, which the verdict is about.
    now = 100 * sheet.law.predict(10_000)
    there, low, high = (
        f"{now + 100 * gain:.1f}"
        for gain in (sheet.gain, sheet.gain_low, sheet.gain_high)
    )
    assert card.lead.startswith(
        "Collect: ten times the images, 10,000 to 100,000, should lift Top-1 "
        f"accuracy from {now:.1f} to about {there} ({low} to {high}). You "
        "asked for 2 points; chance "
    )
    assert card.lead.endswith("%. About 1 device-hours a run.")
    # The terminal says the same.
    assert (
        f"Score at num_examples=100,000: {there} [{low}, {high}], 95% "
        f"prediction interval of one run, from {now:.1f} on the curve at 10,000"
    ) in str(sheet)
    change, cost, price = card.lines
    assert change.startswith(f"Change: {100 * sheet.gain:+.1f} points, 95% of")
    # The line through the means: 58 at 10,000, and half of what a seed adds.
    assert change.endswith(
        f"from the curve at 10,000 images, {now:.1f} (mean of 2 runs: 58.1)."
    )
    assert price.startswith("Price: 1 point = ")
    # An hour a run whatever its size.
    each = 1 / (100 * sheet.gain)
    assert cost == f"Cost: 1 device-hours per run, {each:.3g} per point"


def test_next_runs_are_summed_up(found):
    sheet = found["bent",]
    card = page._card(("bent",), sheet)
    # Three times two runs of an hour each, those of one size together.
    named = re.findall(r"(\d+) at ([\d,]+)", card.lines[-1])
    assert sum(int(runs) for runs, _ in named) == 6
    sizes = [float(size.replace(",", "")) for _, size in named]
    assert sizes == list(dict.fromkeys(run.size for run in sheet.next_runs))
    assert (
        "(num_examples) for 6 device-hours, which would narrow the gain from ±"
    ) in card.lines[-1]


def test_a_curve_without_a_forecast_says_what_it_lacks(found):
    card = page._card(("a_short",), found["a_short",])
    assert card == html_page.Card(
        "a short",
        "not enough evidence",
        "2 sizes, a forecast needs 4",
        (),
        "open",
    )


def test_runs_without_names_are_all_runs():
    assert page._called(()) == "all runs"


def test_alternatives_say_what_is_not_known():
    given = [
        Alternative("data", 1, 10, 0.07, 0.01, 0.13, 2.0, 0.035, (3, 2)),
        Alternative("noise", 0.2, 0, 0.05, NAN, NAN, 0.0, NAN, (3, 1)),
        Alternative("depth", 1, 2, 0.05, NAN, NAN, NAN, NAN, (3, 1)),
    ]
    _, table = page._against(given)
    assert table.rows == (
        ("data: 1 to 10", "+0.07", "0.01 to 0.13", "+2", "+0.035", "3 and 2"),
        ("noise: 0.2 to 0", "+0.05", "unknown", "+0", "none", "3 and 1"),
        ("depth: 1 to 2", "+0.05", "unknown", "unknown", "unknown", "3 and 1"),
    )
    assert list(page._against([])) == []
