import numpy as np
import pytest
from made_up_curves import SIZES, draw, line, of, rows_of
from scipy import stats

from keras_jft.scaling import LAWS, trend

MANY = np.geomspace(100, 10_000, 12).round()
# Curves of each law, with the parameters that a fit is to find.
TRUTHS = {
    "log_linear": (line, {"intercept": 0.1, "slope": 0.12}),
    "power": (
        lambda x: 0.9 - 2.4 * x**-0.3,
        {"limit": 0.9, "coefficient": 2.4, "exponent": 0.3},
    ),
    "broken_power": (
        lambda x: 0.95 - 1.2 * x**-0.1 * (1 + (x / 900) ** 4) ** -0.15,
        {"limit": 0.95, "before": 0.1, "after": 0.7, "break": 900},
    ),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_a_law_recovers_its_own_parameters_from_noisy_points(name, rng):
    curve, parameters = TRUTHS[name]
    scores = draw(rng, curve(MANY), 0, 0.0005, seeds=8)
    law = of(rows_of(MANY, scores), laws=[name])
    for parameter, value in parameters.items():
        assert law.parameters[parameter] == pytest.approx(value, rel=0.15)
    # A break in four of its parameters leaves the end open by a few points.
    off = 0.03 if name == "broken_power" else 0.01
    assert law.predict(1e5) == pytest.approx(curve(1e5), abs=off)
    low, high = law.confidence_interval(1e5)
    assert low < curve(1e5) < high < low + 4 * off


def test_m4_recovers_its_own_curve_from_noisy_points(rng):
    # Its numbers trade off against each other; what they say does not.
    m4 = LAWS["m4"]
    curve = 0.9 + 0.7 * m4.basis(np.append(MANY, 1e5) / 100, 0.6, 1.2, 8.0)
    scores = draw(rng, curve[:-1], 0, 0.0005, seeds=8)
    law = of(rows_of(MANY, scores), laws=["m4"])
    low, high = law.confidence_interval(1e5)
    assert low < curve[-1] < high < low + 0.2
    assert law.parameters["start"] == pytest.approx(0.2, abs=0.05)


def test_the_line_is_least_squares_over_all_runs(rng):
    # Also where sizes have different numbers of seeds.
    rows = rows_of(SIZES, draw(rng, line(SIZES), 0.0, 0.02))[:-2]
    law = of(rows, laws="log_linear")
    x = np.log10([row["num_examples"] for row in rows])
    expected = stats.linregress(x, [row["top1"] for row in rows])
    assert law.parameters == pytest.approx(
        {"intercept": expected.intercept, "slope": expected.slope}
    )


def test_every_law_is_weighed_from_two_sizes_on(rng):
    for sizes in (SIZES[:2], SIZES):
        law = of(rows_of(sizes, draw(rng, line(sizes), 0.0, 0.01)))
        weights = [c.probability for c in law.candidates.values()]
        assert set(law.candidates) == set(LAWS)
        assert sum(weights) == pytest.approx(1)
        assert max(weights) < 1


def test_one_size_is_refused_however_many_seeds(rng):
    rows = rows_of(SIZES[:1], draw(rng, line(SIZES[:1]), 0, 0.01, seeds=9))
    with pytest.raises(ValueError, match="needs >= 2 sizes; more seeds"):
        of(rows)
    with pytest.raises(ValueError, match="`laws`.*'cubic'"):
        of(rows, laws=["cubic"])


def test_curves_are_fitted_apart_by_the_columns_named(rng):
    rows = [
        row
        for mode, lift in (("frozen", 0), ("fine_tuned", 0.2))
        for row in rows_of(
            SIZES, draw(rng, line(SIZES) + lift, 0, 0.01), mode=mode, task="t"
        )
    ]
    with pytest.raises(ValueError, match="the same `mode`"):
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
    scores = draw(rng, line(SIZES), 0.0, 0.01)
    assert of(rows_of(SIZES, scores)).bounds == (0, 1)
    percent = of(rows_of(SIZES, 100 * scores))
    assert percent.bounds == (0, 100)
    assert percent.unit.factor == 1
    with pytest.raises(ValueError, match=r"within the bounds \(0.0, 100.0\)"):
        of(rows_of(SIZES, -100 * scores + 200))


def test_the_same_rows_give_the_same_numbers(rng):
    rows = rows_of(MANY, draw(rng, line(MANY), 0.01, 0.01))
    assert of(rows).gain_at(10) == of(rows).gain_at(10)


def test_the_laws_that_describe_the_runs_gain_weight(rng):
    straight = of(rows_of(MANY, draw(rng, line(MANY), 0, 0.002, seeds=5)))
    assert straight.name == "log_linear"
    bent = draw(rng, TRUTHS["broken_power"][0](MANY), 0, 0.001, seeds=5)
    assert of(rows_of(MANY, bent)).candidates["log_linear"].probability < 0.001


def test_the_trend_is_spearmans_correlation(rng):
    scores = draw(rng, line(SIZES), 0.1, 0.1)
    rows = rows_of(SIZES, scores)
    expected = stats.spearmanr(np.repeat(SIZES, 3), scores.ravel()).statistic
    assert trend(rows, "num_examples", "top1") == pytest.approx(expected)
    random = {"num_examples": 0, "seed": 0, "top1": 5.0}
    assert trend([*rows, random], "num_examples", "top1") == pytest.approx(
        expected
    )
    with pytest.raises(ValueError, match=">= 2 sizes"):
        trend(rows[:3], "num_examples", "top1")


def test_constant_scores_have_intervals_in_any_unit():
    fractions, percent = (
        of(rows_of(SIZES, scale * np.full((len(SIZES), 2), 0.4)))
        for scale in (1, 100)
    )
    np.testing.assert_allclose(
        percent.prediction_interval(1e5),
        100 * np.array(fractions.prediction_interval(1e5)),
        rtol=1e-3,
    )


@pytest.mark.parametrize("laws", [[], (), 5, {}])
def test_at_least_one_law_is_named(laws):
    with pytest.raises(ValueError, match="`laws` must be one or more of"):
        of(rows_of(SIZES, line(SIZES)[:, None]), laws=laws)


def test_a_law_may_be_named_alone(rng):
    rows = rows_of(SIZES, draw(rng, line(SIZES), 0, 0.01))
    one = of(rows, laws="log_linear")
    assert list(one.candidates) == ["log_linear"]
    twice = of(rows, laws=["log_linear", "log_linear"])
    assert one.predict(1e5) == twice.predict(1e5)


@pytest.mark.parametrize("by", [[], 5, {"task": 1}])
def test_columns_that_tell_curves_apart_are_names(by, rng):
    with pytest.raises(ValueError, match="`by` must name a column, or be a"):
        of(rows_of(SIZES, draw(rng, line(SIZES), 0, 0.01)), by=by)


def test_curves_that_share_their_noise_learn_it_from_each_others_seeds(rng):
    one = rows_of(SIZES, draw(rng, line(SIZES), 0, 0.01, seeds=1), mode="one")
    ten = rows_of(SIZES, draw(rng, line(SIZES), 0, 0.01, 10), mode="ten")

    def spread(law):
        draws = law.posterior
        low, high = np.quantile(draws.noise + draws.deviation, (0.05, 0.95))
        return low**0.5, high**0.5

    alone, shared = (
        of([*one, *ten], by="mode", shared_noise=noise)
        for noise in (False, True)
    )
    low, high = spread(shared["one"])
    assert low < 0.01 < high
    # 36 seeds tell the standard deviation to within 20% or so.
    assert high / low < 2 < 4 < np.divide(*spread(alone["one"])[::-1])
    # One run per size has no seeds to tell the other curve about.
    assert spread(shared["ten"]) == pytest.approx(spread(alone["ten"]))
