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
    law = steep(sizes=(1_000, 3_000, 9_000))
    assert forecast(law, factor=9).verdict == "collect"
    sheet = forecast(law, factor=10)
    assert sheet.verdict == "not enough evidence"
    assert "10x is farther than the sizes reach, 9x" in str(sheet)


def test_it_says_what_it_rests_on():
    text = str(forecast(steep()))
    assert "log_linear" in text
    assert "12 runs at 4 sizes (300, 1,000, 3,000, 10,000)" in text
    assert "4 sizes allow the log-linear law only" in text
    assert "0.20 points (standard deviation)" in text
    assert "more than noise" not in text
    assert "more than noise explains" in str(forecast(bent()))
    assert "One run a size" in str(forecast(steep(seeds=1)))
    many = steep(sizes=(100, 300, 1_000, 3_000, 10_000))
    assert "no other was tried" in str(forecast(many))


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
