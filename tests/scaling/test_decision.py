import numpy as np
import pytest

from keras_jft.scaling import fit, forecast

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
    """12 points a decade."""
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
        f"10x more: +12.0 [{100 * gain.low:.1f}, {100 * gain.high:.1f}] points"
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
        (steep, 0.05, "collect"),
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
    assert "10x is farther than the sizes reach, 9x" in str(sheet)


def test_it_says_what_it_rests_on():
    text = str(forecast(steep()))
    assert "12 runs of top1 at 4 sizes (300, 1,000, 3,000, 10,000)" in text
    assert "log_linear 100%" in text
    assert "power is not identifiable: 1 more size(s)" in text
    assert "log_linear is taken for granted" in text
    assert "0.20 points (standard deviation)" in text
    assert "more than noise" not in text
    assert "more than noise explains" in str(forecast(bent()))
    assert "One run a size" in str(forecast(steep(seeds=1)))
    many = str(forecast(steep(sizes=(100, 300, 1_000, 3_000, 10_000))))
    assert "power" in many
    assert "taken for granted" not in many
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
    assert sheet.hours_per_point == pytest.approx(1.01 / 12, rel=0.05)
    assert "1.01 device-hours a run" in str(sheet)
    assert "device-hours)" in str(sheet)
    assert np.isnan(forecast(steep()).hours)


def test_the_chance_is_that_of_a_gain_above_the_worth():
    assert forecast(steep(), worth=0.05).chance > 0.99
    assert forecast(steep(), worth=0.2).chance < 0.01
    assert forecast(steep(), worth=0.12).chance == pytest.approx(0.5, abs=0.2)


def test_it_counts_what_was_left_out():
    rows = [
        {"num_examples": n, "top1": 0.1 * np.log10(max(n, 1))}
        for n in (0, *SIZES)
    ]
    rows.append({"num_examples": 300, "error": "ValueError: no"})
    text = str(forecast(fit(rows, x="num_examples", y="top1")))
    assert "Left out: 1 rows (random initialization)" in text
    assert "Left out: 1 rows (failed)" in text


def test_several_laws_or_no_worth_are_refused():
    with pytest.raises(ValueError, match="Received: dict. Choose one"):
        forecast({"frozen": steep()})
    with pytest.raises(ValueError, match="`worth` must be a finite number"):
        forecast(steep(), worth=float("nan"))


def test_runs_that_admit_a_law_promise_no_narrower_interval():
    sheet = forecast(bent(), factor=10)
    # A fifth size admits the power law, and it is one of the next runs.
    assert {run.size for run in sheet.next_runs} - {*SIZES}
    assert sheet.admitted == ("power", "m4")
    assert "±" not in " ".join(sheet.advice)
    assert "They admit power and m4, too: the interval may widen" in str(sheet)
    sizes = (300, 500, 800, 1_200, 2_000, 3_000, 6_000, 10_000)
    law = steep(sizes=sizes, noise=0.01)  # Sizes enough for every law.
    wide = forecast(law, factor=10, worth=law.gain_at(10).value)
    assert wide.admitted == ()
    assert all("±" in line for line in wide.advice)
