"""Every curve has a forecast, and none that is surer than its runs allow."""

import numpy as np
import pytest

from keras_jft.scaling import fit, forecast

KINDS = {
    "an exact law": lambda x: 0.9 - 2.0 * x**-0.3,
    "a line": lambda x: 0.1 + 0.1 * np.log10(x),
    "falling": lambda x: 0.9 - 0.1 * np.log10(x),
    "constant": lambda x: np.full(len(x), 0.4),
    "a plateau": lambda x: np.minimum(0.1 * np.log10(x), 0.25),
    "at the end of the scale": lambda x: np.full(len(x), 1.0),
    "late": lambda x: 0.1 + 0.5 / (1 + (3e4 / x) ** 3),
    "peaked": lambda x: 0.6 - 0.05 * np.log10(x / 3e3) ** 2,
}


def law_of(sizes, scores, seeds=1, noise=0.0, **options):
    rng = np.random.default_rng(0)
    rows = [
        {"n": size, "seed": seed, "y": score + noise * rng.standard_normal()}
        for size, score in zip(sizes, scores, strict=True)
        for seed in range(seeds)
    ]
    options.setdefault("direction", "max")
    return fit(rows, x="n", y="y", **options)


def check(law):
    """Answer every question, with intervals that are not points."""
    sheet = forecast(law)
    numbers = [sheet.gain, sheet.gain_low, sheet.gain_high, sheet.score]
    assert np.isfinite(numbers).all()
    assert sheet.low < sheet.high
    assert sheet.gain_low < sheet.gain_high
    assert str(sheet)
    return sheet


@pytest.mark.parametrize("count", range(2, 21))
def test_any_number_of_sizes_has_a_forecast(count):
    sizes = np.geomspace(100, 10_000, count)
    check(law_of(sizes, KINDS["an exact law"](sizes)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "seeds"), [(2, 2), (4, 1), (8, 3), (4, 20)])
def test_any_curve_has_a_forecast(kind, count, seeds):
    sizes = np.geomspace(100, 100_000, count)
    check(law_of(sizes, KINDS[kind](sizes), seeds, bounds=(0, 1)))


@pytest.mark.parametrize("unit", [1e-90, 1e-6, 1e6, 1e90])
@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (0, np.inf)])
def test_the_unit_of_scores_changes_no_forecast(unit, bounds):
    sizes = np.geomspace(100, 10_000, 5)
    scores = 4 - 0.3 * np.log10(sizes)
    law, other = (
        law_of(sizes, scale * scores, bounds=bounds, direction="min")
        for scale in (1, unit)
    )
    np.testing.assert_allclose(
        np.array(other.gain_at(10)) / unit, law.gain_at(10), rtol=1e-6
    )


@pytest.mark.parametrize("unit", [1e-9, 1e12])
def test_the_unit_of_sizes_changes_no_forecast(unit):
    sizes = np.geomspace(100, 10_000, 5)
    scores = KINDS["an exact law"](sizes)
    law, other = (law_of(scale * sizes, scores) for scale in (1, unit))
    np.testing.assert_allclose(other.gain_at(10), law.gain_at(10), atol=0.005)


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_fall_after_a_peak_is_said_and_withholds_the_verdict(seeds):
    sizes = np.geomspace(100, 100_000, 9).round()
    scores = 0.6 - 0.2 * np.log10(sizes / 3e3) ** 2
    law = law_of(sizes, scores, seeds, noise=0.003)
    peak = sizes[np.abs(np.log(sizes / 3e3)).argmin()]
    assert law.turns_after == pytest.approx(peak)
    sheet = forecast(law, factor=10)
    assert sheet.verdict == "not enough evidence"
    assert "falls after 3,162, by more than noise" in sheet.reasons[0]


def test_a_dip_within_the_noise_is_not_a_fall():
    sizes = np.geomspace(100, 100_000, 9)
    scores = KINDS["an exact law"](sizes)
    scores[-1] = scores[-2] - 0.002
    assert law_of(sizes, scores, 3, noise=0.005).turns_after is None


def test_a_loss_that_rises_again_is_a_fall_of_the_curve():
    sizes = np.geomspace(100, 100_000, 9)
    loss = 2 + 0.5 * np.log10(sizes / 3e3) ** 2
    law = law_of(sizes, loss, 3, noise=0.01, direction="min")
    assert law.turns_after == pytest.approx(sizes[4])
    assert "rises after" in forecast(law).reasons[0]


def test_a_jump_at_the_largest_size_withholds_the_verdict():
    sizes = np.array([300, 1_000, 3_000, 10_000, 30_000])
    law = law_of(sizes, [0.3, 0.305, 0.31, 0.32, 0.5], 3, noise=0.002)
    assert law.jumps
    sheet = forecast(law)
    assert sheet.verdict == "not enough evidence"
    assert any("jumps at the largest size" in line for line in sheet.reasons)
    steady = law_of(sizes, 0.1 * np.log10(sizes), 3, noise=0.002)
    assert not steady.jumps


def test_intervals_widen_with_the_distance_of_the_forecast():
    sizes = np.geomspace(100, 10_000, 6)
    law = law_of(sizes, KINDS["an exact law"](sizes), 3, noise=0.005)
    low, high = law.prediction_interval([1e4, 3e4, 1e5, 1e6])
    assert (np.diff(high - low) > 0).all()


def test_more_sizes_of_one_run_narrow_an_interval_only_so_far():
    # Wrong by a smooth bend: four hundred sizes do not vouch for a law.
    widths = []
    for count in (20, 400):
        sizes = np.geomspace(100, 100_000, count)
        scores = KINDS["an exact law"](sizes)
        scores += 0.01 * np.sin(2 * np.log10(sizes))
        low, high = law_of(sizes, scores, noise=0.001).prediction_interval(1e6)
        widths.append(high - low)
    assert widths[1] > 0.4 * widths[0]
