import numpy as np
import pytest
from made_up_curves import SIZES, draw, line, of, rows_of
from scipy import stats

from keras_jft.scaling import alternatives, fit, prices, report
from keras_jft.scaling.decision.prices import Price
from keras_jft.scaling.law.law import Estimate

DEAR = np.array([0.0, 0.2, 0.4, 0.0, 0.2, 0.4])


def noisy(scores, **columns):
    return [
        {"num_examples": 10_000, "wrong": w, "seed": i // 3, "top1": s}
        | columns
        for i, (w, s) in enumerate(zip(DEAR, scores, strict=True))
    ]


def a_line(rng):
    return of(
        rows_of(SIZES, draw(rng, line(SIZES), 0, 0.002)), laws="log_linear"
    )


def test_images_for_a_point_are_those_of_the_line(rng):
    # 12 points per decade: a point is a twelfth of a decade.
    (found,) = prices(a_line(rng)).prices
    assert found.way == "images"
    assert found.amount.value == pytest.approx(
        10_000 * (10 ** (1 / 12) - 1), rel=0.1
    )
    assert found.amount.low < found.amount.value < found.amount.high


def test_a_curve_that_has_ended_sells_no_point(rng):
    ended = 0.8 - 0.5 * (SIZES / 300) ** -2.0
    (found,) = prices(of(rows_of(SIZES, draw(rng, ended, 0, 0.001)))).prices
    assert found.amount.high == np.inf
    assert "inf" not in str(found)


@pytest.mark.parametrize(
    "amount, said",
    [
        ((90_000, 20_000, 300_000), "90,000 images [20,000, 300,000]"),
        ((90_000, 20_000, np.inf), "90,000 images [20,000 or more]"),
        ((np.inf, 20_000, np.inf), "no number of images, or at best 20,000"),
        ((np.inf, np.inf, np.inf), "no number of images"),
    ],
)
def test_a_number_without_an_end_is_told_in_words(amount, said):
    unknown = Estimate(np.nan, np.nan, np.nan)
    assert str(Price("images", Estimate(*amount), unknown)) == said


def test_corrected_labels_for_a_point_follow_from_the_slope(rng):
    scores = 0.6 - 0.1 * DEAR + rng.normal(0, 0.004, 6)
    fit = stats.linregress(DEAR, scores)
    away = stats.t.ppf(0.975, 4) * fit.stderr
    found = prices(
        a_line(rng), noise=noisy(scores), wrong="wrong", labels=2, correction=3
    )
    corrected = found.prices[0]  # The one whose cost is known.
    # A point takes 0.01 / slope of all 20,000 labels.
    assert corrected.amount == pytest.approx(
        [
            20_000 * 0.01 / -fit.slope,
            20_000 * 0.01 / (away - fit.slope),
            20_000 * 0.01 / (-fit.slope - away),
        ]
    )
    assert corrected.cost == pytest.approx([3 * a for a in corrected.amount])


def test_labels_whose_noise_costs_nothing_sell_no_point(rng):
    found = prices(a_line(rng), noise=noisy(0.6 + 0.1 * DEAR), wrong="wrong")
    assert found.prices[1].amount.value == np.inf


def test_the_price_of_images_includes_their_training(rng):
    rows = [
        {**row, "device_seconds": 3.6 * row["num_examples"]}
        for row in rows_of(SIZES, draw(rng, line(SIZES), 0, 0.002))
    ]
    (found,) = prices(of(rows, laws="log_linear"), image=2, hour=500).prices
    # 0.001 hours an image, at 500: half as much again as... 0.5 beside 2.
    assert found.cost.value == pytest.approx(2.5 * found.amount.value, rel=1e-3)


def test_hours_for_a_point_are_those_of_the_alternative(rng):
    rows = [
        {"epochs": e, "seed": s, "top1": top1 + d, "device_seconds": 3600 * e}
        for e, top1 in ((1, 0.50), (3, 0.54))
        for s, d in enumerate((-0.001, 0.001))
    ]
    other = alternatives(rows, {"epochs": 1}, "top1")
    found = prices(a_line(rng), alternatives=other, hour=10).prices[0]
    # Two hours for four points.
    assert found.amount.value == pytest.approx(0.5)
    assert found.cost.value == pytest.approx(5)
    assert found.amount.low < 0.5 < found.amount.high


def test_the_rate_of_exchange_is_a_sentence(rng):
    noise = noisy(0.6 - 0.1 * DEAR + rng.normal(0, 0.004, 6))
    said = str(prices(a_line(rng), noise=noise, wrong="wrong"))
    assert said.startswith("1 point = 2,")
    assert " images [" in said
    assert " corrected labels [" in said


def test_a_score_without_a_scale_needs_a_gain(rng):
    rows = [
        {"num_examples": int(n), "loss": 5 * n**-0.1 + 0.001 * s, "seed": s}
        for n in SIZES
        for s in range(2)
    ]
    law = fit(rows, "num_examples", "loss", direction="min")
    with pytest.raises(ValueError, match="`gain` must be given for loss"):
        prices(law)
    # 5 n^-0.1 falls by 0.1 from 10,000 on.
    there = (10_000**-0.1 - 0.02) ** -10
    found = prices(law, gain=0.1)
    assert found.prices[0].amount.value == pytest.approx(
        there - 10_000, rel=0.1
    )
    assert str(found).startswith("0.1 loss = ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_examples": 300}, "rows of one size"),
        ({"wrong": 0.2}, "which share"),
        ({"wrong": None}, "which share"),
    ],
)
def test_noise_rows_must_tell_the_price_of_labels(change, message, rng):
    rows = noisy(0.6 - 0.1 * DEAR)
    rows = [row | change for row in rows[:1]] + [
        row | (change if "wrong" in change else {}) for row in rows[1:]
    ]
    with pytest.raises(ValueError, match=message):
        prices(a_line(rng), noise=rows, wrong="wrong")


def test_the_page_says_what_a_point_takes(rng, tmp_path):
    rows = rows_of(SIZES, draw(rng, line(SIZES), 0, 0.002))
    given = prices(a_line(rng), gain=0.02)
    _, text = report(rows, tmp_path / "page.html", y="top1", prices=given)
    said = text.read_text()
    assert "Price: 1 point = " in said
    assert f"each way alone: {given.text} = 4," in said
    with pytest.raises(ValueError, match="`prices` must be what"):
        report(rows, tmp_path / "page.html", y="top1", prices=[given])
