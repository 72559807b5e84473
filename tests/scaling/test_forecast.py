import doctest
import inspect
import pathlib

import numpy as np
import pytest

from keras_jft.scaling import LAWS, fit, forecast
from keras_jft.scaling.decision import forecast as forecast_lib
from keras_jft.scaling.law.fitting import fit_evidence
from keras_jft.scaling.law.prior import learned

SIZES = (300, 1_000, 3_000, 10_000)


def law_of(scores, sizes=SIZES, seeds=3, noise=0.002, scale=1):
    """A law of scores that seeds move by multiples of `noise`."""
    spread = noise * (np.arange(seeds) - (seeds - 1) / 2)
    rows = [
        {"num_examples": size, "seed": seed, "top1": scale * (score + shift)}
        for size, score in zip(sizes, scores, strict=True)
        for seed, shift in enumerate(spread)
    ]
    return fit(rows, x="num_examples", y="top1")


def steep(**arguments):
    """12 points per decade."""
    sizes = np.array(arguments.get("sizes", SIZES))
    return law_of(0.12 * np.log10(sizes), **arguments)


def bent():
    """Flat, then rising: no line."""
    return law_of([0.3, 0.3, 0.32, 0.5])


def test_the_first_line_is_the_gain_in_points():
    sheet = forecast(steep())
    assert str(sheet).splitlines()[0] == sheet.headline
    gain = sheet.law.gain_at(10)
    assert sheet.headline == (
        f"10x more: +{100 * gain.value:.1f} "
        f"[{100 * gain.low:.1f}, {100 * gain.high:.1f}] points"
    )


def test_percent_and_fractions_print_the_same_points():
    assert forecast(steep()).headline == forecast(steep(scale=100)).headline


def test_the_numbers_are_those_of_the_law():
    law = steep()
    sheet = forecast(law, factor=5)
    assert sheet.score == law.predict(50_000)
    assert (sheet.low, sheet.high) == law.prediction_interval(50_000)
    assert (sheet.gain, sheet.gain_low, sheet.gain_high) == law.gain_at(5)


@pytest.mark.parametrize(
    ("law", "worth", "verdict"),
    [
        (steep, None, "collect"),
        (steep, 0.02, "collect"),
        (steep, 0.12, "not enough evidence"),
        (steep, 0.2, "do not collect"),
        (bent, None, "not enough evidence"),
    ],
)
def test_the_verdict_weighs_the_whole_interval_against_the_worth(
    law, worth, verdict
):
    sheet = forecast(law(), worth=worth)
    assert sheet.verdict == verdict
    assert f"Verdict: {verdict}" in str(sheet)
    assert bool(sheet.next_runs) == (verdict == "not enough evidence")


def test_no_verdict_reaches_farther_than_the_sizes():
    law = steep(sizes=(1_000, 2_000, 4_000, 9_000))
    assert forecast(law, factor=9).verdict == "collect"
    sheet = forecast(law, factor=10)
    assert sheet.verdict == "not enough evidence"
    assert "10x is farther than the sizes reach: they span 9x" in str(sheet)


def test_it_says_what_it_rests_on():
    text = str(forecast(steep()))
    assert "12 runs of top1 at 4 sizes (300, 1,000, 3,000, 10,000)" in text
    assert all(law.title in text for law in LAWS.values())
    assert "0.20 points (standard deviation)" in text
    assert "more than noise" not in text
    assert "One run per size" in str(forecast(steep(seeds=1)))
    falling = law_of([0.3, 0.29, 0.32, 0.35])
    assert "does not rise with every size" in str(forecast(falling))


def test_what_a_run_costs_is_read_off_the_rows():
    # 36 s and 0.036 s an image: at 100,000 images 3,636 s.
    rows = [
        {
            "num_examples": n,
            "seed": seed,
            "top1": 0.12 * np.log10(n) + 0.002 * seed,
            "wall_seconds": 36 + 0.036 * n,
        }
        for n in SIZES
        for seed in (0, 1)
    ]
    sheet = forecast(fit(rows, x="num_examples", y="top1"), worth=0.12)
    assert sheet.hours == pytest.approx(1.01)
    assert sheet.hours_per_point == pytest.approx(1.01 / (100 * sheet.gain))
    assert "1.01 device-hours per run" in str(sheet)
    assert "device-hours)" in str(sheet)
    assert np.isnan(forecast(steep()).hours)


def test_the_chance_is_that_of_a_gain_above_the_worth():
    law = steep()
    assert forecast(law, worth=0.01).chance > 0.99
    assert forecast(law, worth=0.3).chance < 0.01
    middle = law.gain_at(10).value
    assert forecast(law, worth=middle).chance == pytest.approx(0.5, abs=0.02)
    # Of the gain of one run, as the interval is: what the sheet says of the
    # chance never contradicts the verdict.
    low, high = law.gain_at(10)[1:]
    assert law.chance(10, low - 1e-9) >= 0.975 > law.chance(10, low)
    assert law.chance(10, high) <= 0.025 < law.chance(10, high - 1e-3)
    sheet = forecast(law, worth=0.1)
    assert f"Probability of a gain above 10 points: {sheet.chance:.0%}\n" in (
        str(sheet)
    )


def test_it_counts_what_was_left_out():
    rows = [
        {"num_examples": n, "top1": 0.1 * np.log10(max(n, 1))}
        for n in (0, *SIZES)
    ]
    rows.append({"num_examples": 300, "error": "ValueError: no"})
    text = str(forecast(fit(rows, x="num_examples", y="top1")))
    assert "Left out: 1 row (random initialization)" in text
    assert "Left out: 1 row (failed)" in text


def test_several_laws_are_refused():
    with pytest.raises(ValueError, match="Received: dict. Choose one"):
        forecast({"frozen": steep()})


@pytest.mark.parametrize("worth", [float("nan"), float("inf"), -0.1, "2", True])
def test_a_worth_that_is_no_gain_is_refused(worth):
    with pytest.raises(ValueError, match="`worth` must be a finite number, 0"):
        forecast(steep(), worth=worth)


def test_a_worth_that_the_scale_cannot_hold_is_asked_about():
    # Of fractions, 2 would be 200 points, and 1 all of them.
    with pytest.raises(ValueError, match="For 1 point give 0.01"):
        forecast(steep(), worth=1)
    with pytest.raises(ValueError, match="from 0 to 1.*For 2 points give"):
        forecast(steep(), worth=2)
    with pytest.raises(ValueError, match="from 0 to 100"):
        forecast(steep(scale=100), worth=101)
    assert forecast(steep(scale=100), worth=2).verdict == "collect"
    # Of percent, 0.02 is little: perhaps 2 points were meant.
    sheet = forecast(steep(scale=100), worth=0.02)
    assert any("2 points are worth=2" in line for line in sheet.caveats)
    assert forecast(steep(), worth=0).worth == forecast(steep()).worth == 0


EVEN = tuple(np.geomspace(10, 100_000, 13).round())


# What the sheet may say against itself: runs, what is asked, and the verdict
# that the interval alone would give.
WITHHELD = {
    "farther than the sizes reach": (
        lambda: steep(sizes=(1_000, 2_000, 4_000, 9_000)),
        {},
    ),
    "falls after 3,000, by more than noise": (
        lambda: law_of([0.3, 0.5, 0.6, 0.45], noise=0.01),
        {"worth": 0.5},
    ),
    "jumps at the largest size": (bent, {"worth": 0.69}),
    "2 sizes cannot show that a curve bends": (
        lambda: steep(sizes=(1_000, 10_000)),
        {"worth": 0.3},
    ),
    # 15 points per decade over four of them end above 100 after two more.
    "reached the end of the scale, 100.0": (
        lambda: law_of(
            0.15 * np.log10(EVEN), sizes=EVEN, seeds=5, noise=0.0005
        ),
        {"factor": 1_000},
    ),
    "All runs have the same top1": (
        lambda: law_of([0.3] * 4, noise=0),
        {"worth": 0.2},
    ),
    # 0.5 of what is above 0.7: half a point, or 50 of them?
    "A gain of 50 points is impossible": (
        lambda: law_of([0.34, 0.46, 0.58, 0.7], noise=0.01),
        {"worth": 0.5},
    ),
}


@pytest.mark.parametrize("reason", WITHHELD)
def test_no_verdict_stands_beside_what_contradicts_it(reason):
    law, options = WITHHELD[reason]
    sheet = forecast(law(), **options)
    worth = options.get("worth", 0)
    assert not sheet.gain_low <= worth <= sheet.gain_high
    assert sheet.verdict == "not enough evidence"
    assert any(reason in line for line in sheet.reasons)
    assert not any(reason in line for line in sheet.caveats)
    assert "Why: " in str(sheet)


def jagged():
    """12 points per decade, and half a point up and down, without noise."""
    return law_of(
        0.12 * np.log10(EVEN) + np.resize([0.005, -0.005], len(EVEN)),
        sizes=EVEN,
        noise=0.0005,
    )


TOLERATED = {
    "deviate from": jagged,
    "scatter by": steep,
    "One run per size": lambda: steep(seeds=1),
    "does not rise with every size": lambda: law_of(
        [0.10, 0.14, 0.138, 0.20, 0.26, 0.30, 0.35, 0.40],
        sizes=(100, 200, 220, 500, 1_000, 2_000, 4_000, 9_000),
        noise=0.01,
    ),
    "1 row (failed)": lambda: fit(
        [
            {"n": 300, "error": "OSError: no"},
            *({"n": n, "top1": 0.12 * np.log10(n)} for n in SIZES),
        ],
        x="n",
        y="top1",
    ),
}


@pytest.mark.parametrize("caveat", TOLERATED)
def test_a_caveat_that_leaves_the_law_standing_allows_a_verdict(caveat):
    sheet = forecast(TOLERATED[caveat](), factor=3)
    assert any(caveat in line for line in sheet.caveats)
    assert (sheet.verdict, sheet.reasons) == ("collect", ())


def test_a_misfit_withholds_only_a_verdict_that_it_could_change():
    law = jagged()
    assert law.misfit == pytest.approx(0.005, abs=0.001)
    gain = law.gain_at(3)
    for worth, verdict in (
        (gain.low - 0.007, "collect"),
        (gain.low - 0.003, "not enough evidence"),
        (gain.high + 0.003, "not enough evidence"),
        (gain.high + 0.007, "do not collect"),
    ):
        sheet = forecast(law, 3, worth)
        assert sheet.verdict == verdict
        assert any("deviate from" in line for line in sheet.caveats)
        said = any("misses a size mean by 0.5" in why for why in sheet.reasons)
        assert said == (verdict == "not enough evidence")


def test_a_score_that_falls_with_every_size_has_no_gain():
    sheet = forecast(law_of(0.9 - 0.12 * np.log10(SIZES)))
    assert "The score falls with every size." in sheet.caveats
    assert sheet.verdict == "do not collect"


def test_every_doubt_is_tested_for_what_it_does_to_the_verdict():
    # Beside the tables: a falling score, a small worth of percent, an interval
    # that is cut off and a verdict that would be another by a rival interval.
    doubts = inspect.getsource(forecast_lib).count("yield Doubt(")
    assert doubts == len(WITHHELD) + len(TOLERATED) + 4


def test_an_interval_cut_off_at_the_end_of_the_scale_says_so():
    sheet = forecast(law_of([0.50, 0.65, 0.80, 0.93], noise=0.02), factor=3)
    assert sheet.high == 1
    assert any("cut off at 100.0" in line for line in sheet.caveats)


def test_other_curves_alone_decide_nothing():
    law = steep()
    alone = fit_evidence(
        law.evidence,
        law.bounds,
        tuple(law.candidates),
        law.direction,
        learned().without_other_curves(),
    )
    # Between the low ends of the gain, with and without what is learned.
    ends = sorted([law.gain_at(10).low, alone.gain_at(10).low])
    sheet = forecast(law, worth=sum(ends) / 2)
    assert sheet.verdict == "not enough evidence"
    if law.gain_at(10).low > sheet.worth:
        assert "Only what other curves do decides" in sheet.reasons[0]


def test_a_verdict_that_is_open_says_why():
    sheet = forecast(steep(), worth=0.12)
    assert sheet.reasons == (
        "The interval leaves open whether there is a gain above 12 points: a "
        "verdict needs a chance above 97.5% or below 2.5%.",
    )


@pytest.mark.parametrize("worth", [None, 0.05, 0.12, 0.2])
def test_an_error_rate_is_the_mirror_image_of_its_accuracy(worth):
    rows = [
        {"n": n, "seed": s, "top1": top1, "error": 1 - top1}
        for n in SIZES
        for s in (0, 1, 2)
        for top1 in [0.12 * np.log10(n) + 0.002 * (s - 1)]
    ]
    score = forecast(fit(rows, x="n", y="top1"), worth=worth)
    error = fit(rows, x="n", y="error", direction="min")
    error = forecast(error, worth=worth)
    assert error.verdict == score.verdict
    # Draws differ, what they are drawn from does not.
    ours = error.gain, error.gain_low, error.gain_high, 1 - error.score
    theirs = score.gain, score.gain_low, score.gain_high, score.score
    np.testing.assert_allclose(ours, theirs, atol=0.01)
    assert abs(error.chance - score.chance) < 0.03
    assert error.low < error.score < error.high
    assert error.headline.startswith("10x more: -1")
    assert error.headline.endswith("] points (lower is better)")
    assert "Probability of a fall by more than" in str(error)


def test_losses_are_forecast_in_their_own_unit():
    # 4 - 0.3 per decade; 2.5 at 100,000.
    rows = [
        {
            "tokens": n,
            "seed": s,
            "loss": 4 - 0.3 * np.log10(n) + 0.002 * (s - 1),
        }
        for n in SIZES
        for s in (0, 1, 2)
    ]
    law = fit(rows, x="tokens", y="loss", direction="min")
    assert law.bounds == (0, np.inf)
    assert law.images_for(2.6).value == pytest.approx(
        10 ** (1.4 / 0.3), rel=0.15
    )
    sheet = forecast(law, worth=0.04)
    assert sheet.verdict == "collect"
    # Four sizes on a line: other curves bend, so it expects a little less.
    assert 2.5 < sheet.score < 2.54
    assert sheet.headline.startswith("10x more: -0.2")
    assert "] loss (lower is better)" in sheet.headline
    assert "(a fall by more than 0.04 loss is worth it)" in str(sheet)
    worse = fit(rows, x="tokens", y="loss", direction="max")
    assert forecast(worse).verdict == "do not collect"


@pytest.mark.parametrize("name", ["error", "val_loss", "score"])
def test_a_forecast_of_what_falls_is_asked_which_way_is_better(name):
    rows = [{"n": n, name: 1 - 0.12 * np.log10(n)} for n in SIZES]
    with pytest.raises(ValueError, match='Give direction="min" if lower'):
        fit(rows, x="n", y=name)


@pytest.mark.parametrize("unit", [1e-30, 1e-9, 1.0])
def test_tiny_scores_are_answered(unit):
    sheet = forecast(steep(scale=unit))
    # Four sizes on a line: other curves bend, so it expects a little less.
    assert 0.09 * unit < sheet.gain < 0.12 * unit
    assert sheet.verdict == "collect"


def test_the_next_runs_say_how_far_they_narrow_the_gain():
    sheet = forecast(steep(), factor=10, worth=0.12)
    assert all("±" in line for line in sheet.advice)
    # New sizes come first.
    new = [run.size not in SIZES for run in sheet.next_runs]
    assert new == sorted(new, reverse=True)


def test_the_example_of_the_page_on_forecasts_runs():
    page = pathlib.Path(__file__).parents[2] / "docs" / "forecasts.md"
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert tried > 10
    assert failed == 0
