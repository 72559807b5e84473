import numpy as np
import pytest
from scipy import stats

from keras_jft.scaling import LAWS, fit, trend

SIZES = np.array([300, 1_000, 3_000, 10_000])


def rows_of(sizes, scores, **columns):
    """One row a size and seed; `scores` is (sizes, seeds)."""
    return [
        {"num_examples": int(size), "seed": seed, "top1": score, **columns}
        for size, row in zip(sizes, np.atleast_2d(scores), strict=True)
        for seed, score in enumerate(np.atleast_1d(row))
    ]


def line(sizes):
    return 0.1 + 0.12 * np.log10(sizes)


def draw(rng, sizes, deviation, noise, seeds=3):
    """Scores (sizes, seeds) about the line."""
    shared = rng.normal(0, deviation, (len(sizes), 1))
    own = rng.normal(0, noise, (len(sizes), seeds))
    return line(sizes)[:, None] + shared + own


def of(rows, **arguments):
    return fit(rows, x="num_examples", y="top1", **arguments)


@pytest.mark.parametrize("name", LAWS)
def test_a_law_recovers_its_own_parameters_from_noisy_points(name, rng):
    truth = {"log_linear": {"intercept": 0.1, "slope": 0.12}}[name]
    sizes = np.geomspace(100, 1e6, 40)
    law = of(rows_of(sizes, draw(rng, sizes, 0.0, 0.01)))
    assert law.name == name
    for parameter, value in truth.items():
        assert law.parameters[parameter] == pytest.approx(value, abs=0.01)


def test_the_line_is_least_squares_over_all_runs(rng):
    # Also where sizes have different numbers of seeds.
    scores = draw(rng, SIZES, 0.02, 0.02)
    rows = rows_of(SIZES, scores)[:-2]
    law = of(rows)
    x = np.log10([row["num_examples"] for row in rows])
    expected = stats.linregress(x, [row["top1"] for row in rows])
    assert law.parameters == pytest.approx(
        {"intercept": expected.intercept, "slope": expected.slope}
    )
    at = np.array([500.0, 20_000.0])
    np.testing.assert_allclose(
        law.predict(at), expected.intercept + expected.slope * np.log10(at)
    )


def test_with_one_run_a_size_the_intervals_are_those_of_the_textbook(rng):
    sizes = np.geomspace(300, 30_000, 6).round()
    scores = draw(rng, sizes, 0.0, 0.02, seeds=1)
    law = of(rows_of(sizes, scores))
    x, y = np.log10(sizes), scores[:, 0]
    slope, intercept = np.polyfit(x, y, 1)
    variance = ((y - intercept - slope * x) ** 2).sum() / (len(x) - 2)
    at = np.log10(200_000)
    leverage = 1 / len(x) + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
    t = stats.t.ppf(0.975, len(x) - 2)
    for interval, extra in (
        (law.confidence_interval, 0),
        (law.prediction_interval, 1),
    ):
        half = t * np.sqrt(variance * (leverage + extra))
        low, high = interval(200_000)
        middle = intercept + slope * at
        assert (low, high) == pytest.approx((middle - half, middle + half))


def test_the_line_is_known_as_well_as_the_size_means_are(rng):
    # With as many seeds at each size, an analysis of the means is exact.
    scores = draw(rng, SIZES, 0.02, 0.01, seeds=5)
    whole = of(rows_of(SIZES, scores))
    means = of(rows_of(SIZES, scores.mean(axis=1, keepdims=True)))
    at = np.array([300.0, 3_000.0, 1e5])
    np.testing.assert_allclose(
        whole.confidence_interval(at), means.confidence_interval(at)
    )


def test_a_new_run_scatters_by_noise_and_by_the_deviation_of_its_size(rng):
    scores = draw(rng, SIZES, 0.01, 0.03, seeds=5)
    law = of(rows_of(SIZES, scores))
    # Of the means: their variance about the line is d + s / 5, so that of a
    # new run, d + s, is larger by 4/5 of s.
    x, means = np.log10(SIZES), scores.mean(axis=1)
    residuals = means - np.polyval(np.polyfit(x, means, 1), x)
    of_means, df = residuals @ residuals / 2, 2
    noise, noise_df = scores.var(axis=1, ddof=1).mean(), 16
    at = 5.0
    leverage = 1 / 4 + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
    parts = of_means * (1 + leverage), noise * 4 / 5
    total_df = sum(parts) ** 2 / (parts[0] ** 2 / df + parts[1] ** 2 / noise_df)
    half = stats.t.ppf(0.975, total_df) * np.sqrt(sum(parts))
    low, high = law.prediction_interval(10**at)
    assert (high - low) / 2 == pytest.approx(half)


def test_repeating_seeds_does_not_pass_for_evidence_of_shape(rng):
    # A bend shared by all seeds: a hundred seeds see it no better than three.
    bend = np.array([0.02, -0.02, -0.02, 0.02])[:, None]
    widths = []
    for seeds in (3, 100):
        scores = draw(rng, SIZES, 0.0, 0.001, seeds) + bend
        low, high = of(rows_of(SIZES, scores)).prediction_interval(1e5)
        widths.append(high - low)
    assert widths[1] > 0.95 * widths[0]


@pytest.mark.parametrize(
    ("deviation", "noise", "seeds"),
    [(0.0, 0.02, 1), (0.0, 0.02, 3), (0.02, 0.02, 3), (0.02, 0.005, 3)],
)
def test_95_percent_intervals_hold_95_percent(deviation, noise, seeds, rng):
    trials, target = 250, 100_000
    held = {"curve": 0, "run": 0, "gain": 0}
    for _ in range(trials):
        scores = draw(rng, SIZES, deviation, noise, seeds)
        law = of(rows_of(SIZES, scores), bounds=(-9, 9))
        truth = line(np.array([target]))
        run = draw(rng, np.array([target]), deviation, noise, 1).item()
        gain = law.gain_at(10)
        low, high = law.confidence_interval(target)
        held["curve"] += low <= truth <= high
        low, high = law.prediction_interval(target)
        held["run"] += low <= run <= high
        held["gain"] += gain.low <= run - line(SIZES[-1]) <= gain.high
    # Four standard errors of a share of 95% in 250 trials. Intervals that take
    # every run for an observation of the law hold 71% in the last case.
    for share in held.values():
        assert share / trials == pytest.approx(0.95, abs=0.055)


def test_the_gain_is_the_slope_in_decades():
    law = of(rows_of(SIZES, line(SIZES)[:, None]))
    assert law.gain_at(10).value == pytest.approx(0.12)
    assert law.gain_at(100).value == pytest.approx(0.24)
    with pytest.raises(ValueError, match="`factor` must be more than 1"):
        law.gain_at(1)


def test_a_gain_cannot_leave_the_bounds_of_the_score():
    scores = np.array([[0.1], [0.4], [0.65], [0.95]])
    law = of(rows_of(SIZES, scores))
    now = law.predict(SIZES[-1])
    assert law.curve(1e6) > 1
    assert law.predict(1e6) == 1
    assert law.gain_at(100).value == pytest.approx(1 - now)
    assert law.gain_at(100).high == pytest.approx(1 - now)
    assert law.prediction_interval(1e6)[1] == 1
    # The line is at the bound already, though the scores are not.
    saturated = of(rows_of(SIZES, np.array([[0.1], [0.5], [0.95], [0.97]])))
    assert saturated.curve(SIZES[-1]) > 1
    assert saturated.gain_at(10).value == 0


def test_the_images_for_a_target_give_the_target(rng):
    law = of(rows_of(SIZES, draw(rng, SIZES, 0.0, 0.004)))
    size, low, high = law.images_for(0.7)
    assert law.predict(size) == pytest.approx(0.7)
    assert law.confidence_interval(low)[1] == pytest.approx(0.7)
    assert law.confidence_interval(high)[0] == pytest.approx(0.7)
    assert low < size < high


def test_a_target_that_is_there_or_out_of_reach():
    law = of(rows_of(SIZES, line(SIZES)[:, None]))
    assert law.images_for(0.2).value == 300
    falling = of(rows_of(SIZES, line(SIZES)[::-1, None]))
    assert falling.images_for(0.9).value == np.inf
    with pytest.raises(ValueError, match="`target` must be a score within"):
        law.images_for(70)


def test_lack_of_fit_is_the_f_test(rng):
    scores = draw(rng, SIZES, 0.02, 0.01)
    law = of(rows_of(SIZES, scores))
    x = np.repeat(np.log10(SIZES), 3)
    groups = np.repeat(np.arange(4), 3)
    y = scores.ravel()

    def rest(design):
        return np.linalg.lstsq(design, y)[1].item()

    full = rest(np.eye(4)[groups])
    straight = rest(np.stack([np.ones(12), x], axis=1))
    ratio = (straight - full) / 2 / (full / 8)
    assert law.lack_of_fit == pytest.approx(stats.f.sf(ratio, 2, 8))
    assert np.isnan(of(rows_of(SIZES, scores[:, :1])).lack_of_fit)


def test_curves_are_fitted_apart_by_the_columns_named(rng):
    rows = [
        row
        for mode, lift in (("frozen", 0), ("fine_tuned", 0.2))
        for row in rows_of(
            SIZES, draw(rng, SIZES, 0, 0.01) + lift, mode=mode, task="t"
        )
    ]
    with pytest.raises(ValueError, match="holds one `mode`"):
        of(rows)
    laws = of(rows, by=["task", "mode"])
    alone = of([row for row in rows if row["mode"] == "frozen"])
    assert set(laws) == {("t", "frozen"), ("t", "fine_tuned")}
    assert laws["t", "frozen"].parameters == alone.parameters
    assert set(of(rows, by="mode")) == {"frozen", "fine_tuned"}


def test_random_initialization_is_left_out_and_counted():
    rows = rows_of(SIZES, line(SIZES)[:, None])
    law = of([*rows, {"num_examples": 0, "seed": 0, "top1": 0.9}])
    assert law.parameters == pytest.approx(of(rows).parameters)
    assert law.evidence.left_out == {"random initialization": 1}


def test_scores_in_percent_are_told_from_fractions(rng):
    scores = draw(rng, SIZES, 0.0, 0.01)
    assert of(rows_of(SIZES, scores)).bounds == (0, 1)
    percent = of(rows_of(SIZES, 100 * scores))
    assert percent.bounds == (0, 100)
    assert percent.points == 1
    with pytest.raises(ValueError, match=r"within the bounds \(0.0, 100.0\)"):
        of(rows_of(SIZES, -100 * scores + 200))


def test_too_few_sizes_are_refused_however_many_seeds(rng):
    rows = rows_of(SIZES[:2], draw(rng, SIZES[:2], 0, 0.01, seeds=9))
    with pytest.raises(ValueError, match=">= 3 sizes.*300.0, 1000.0"):
        of(rows)


def test_the_trend_is_spearmans_correlation(rng):
    scores = draw(rng, SIZES, 0.1, 0.1)
    rows = rows_of(SIZES, scores)
    expected = stats.spearmanr(np.repeat(SIZES, 3), scores.ravel()).statistic
    assert trend(rows, "num_examples", "top1") == pytest.approx(expected)
    random = {"num_examples": 0, "seed": 0, "top1": 5.0}
    assert trend([*rows, random], "num_examples", "top1") == pytest.approx(
        expected
    )
    with pytest.raises(ValueError, match=">= 2 sizes"):
        trend(rows[:3], "num_examples", "top1")
