import numpy as np
import pytest
from made_up_curves import draw, line, rows_of

from keras_jft.scaling import LAWS, backtest, fit

SIZES = np.array([100, 200, 400, 800, 1_600, 16_000])


def test_it_sees_nothing_of_the_largest_decade(rng):
    scores = draw(rng, line(SIZES), 0, 0.005)
    rows = rows_of(SIZES, scores, task="a")
    found = backtest(rows, x="num_examples", y="top1", laws=["log_linear"])
    seen = fit(rows[:-3], x="num_examples", y="top1", laws=["log_linear"])
    (alone, choice) = found
    assert (alone["law"], choice["law"]) == ("log_linear", "choice")
    assert alone["predicted"] == seen.predict(16_000)
    assert alone["observed"] == pytest.approx(scores[-1].mean())
    assert alone["error"] == pytest.approx(
        alone["predicted"] - scores[-1].mean()
    )
    low, high = seen.prediction_interval(16_000)
    inside = (scores[-1] >= low) & (scores[-1] <= high)
    assert alone["covered"] == pytest.approx(inside.mean())


def test_curves_are_told_apart_and_every_law_is_tried(rng):
    rows = [
        row
        for task in ("a", "b")
        for row in rows_of(SIZES, draw(rng, line(SIZES), 0, 0.01), task=task)
    ]
    found = backtest(rows, x="num_examples", y="top1", by="task")
    assert [(row["curve"], row["law"]) for row in found] == [
        (task, law) for task in ("a", "b") for law in (*LAWS, "choice")
    ]
    with pytest.raises(ValueError, match="needs >= 2 sizes"):
        backtest(rows, x="num_examples", y="top1", by="task", factor=150)


def test_random_initialization_and_failures_are_no_sizes():
    rows = [
        {"num_examples": n, "top1": y}
        for n, y in (
            (100, 0.1),
            (200, 0.2),
            (400, 0.3),
            (1_000, 0.5),
            (10_000, 8),
        )
    ]
    more = [
        {"num_examples": 0, "top1": 0.05},
        {"num_examples": 700, "error": "ValueError"},
    ]
    found = backtest(rows + more, "num_examples", "top1")
    assert {line["law"] for line in found} == {*LAWS, "choice"}
    # All scores are percent, though those that are shown could be fractions.
    assert found == backtest(rows, "num_examples", "top1", bounds=(0, 100))
