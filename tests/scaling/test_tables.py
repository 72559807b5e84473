import numpy as np
import pytest

from keras_jft import scaling
from keras_jft.scaling import fit, forecast, table

SIZES = (0, 300, 1_000, 3_000, 10_000)


def rows_of(task, score, mode, sizes=SIZES):
    return [
        {
            "task": task,
            "mode": mode,
            "num_examples": size,
            "seed": seed,
            score: 0.3 + 0.05 * np.log10(max(size, 1)) + 0.02 * seed,
        }
        for size in sizes
        for seed in (0, 1)
    ]


def test_each_task_is_a_block_and_each_mode_a_line():
    frozen = rows_of("classification", "top1", "frozen")
    lines = table(
        frozen
        + rows_of("classification", "top1", "fine_tuned")
        + rows_of("segmentation", "miou", "frozen")
    ).splitlines()
    assert lines[0] == "Classification: top1, points"
    assert lines[1].split() == ["0", "300", "1,000", "3,000", "10,000"]
    # Means of 30 and 32, of 45 and 47; a deviation of sqrt(2).
    assert lines[3].split()[:3] == ["frozen", "31.0", "±1.4"]
    assert lines[3].split()[-2:] == ["51.0", "±1.4"]
    sheet = forecast(fit(frozen, x="num_examples", y="top1"))
    assert lines[5] == f"frozen: {sheet.headline}, {sheet.verdict}"
    assert lines[6] == "Segmentation: miou, points"


def test_too_few_sizes_are_said_and_not_forecast():
    rows = rows_of("segmentation", "miou", "frozen", sizes=(0, 300, 1_000))
    lines = table(rows).splitlines()
    assert lines[-1] == "frozen: 2 sizes, a forecast needs 4"


def test_scores_in_percent_read_as_they_are():
    rows = rows_of("classification", "top1", "frozen")
    percent = [{**row, "top1": 100 * row["top1"]} for row in rows]
    assert table(percent) == table(rows)


def test_rows_without_a_mode_or_of_failed_runs_are_no_obstacle():
    rows = rows_of("classification", "top1", "frozen")
    for row in rows:
        del row["mode"]
    failed = {"task": "classification", "error": "ValueError: no"}
    assert table([*rows, failed]) == table(rows)
    with pytest.raises(ValueError, match="need a column `task`"):
        table([{"num_examples": 1, "top1": 0.5}])


def study_of(**scores):
    return [
        {"mode": mode, "num_examples": 10**i, "score": score}
        for mode, values in scores.items()
        for i, score in enumerate(values, 2)
    ]


def test_the_modes_of_a_task_are_of_one_unit():
    # Alone, the frozen scores would look like fractions.
    rows = study_of(frozen=(0.2, 0.35, 0.6, 0.9), tuned=(2.1, 9, 20, 30))
    found = scaling.forecasts(rows)
    assert {f.law.bounds for f in found.values()} == {(0, 100)}
    assert found["frozen",].score < 2
    rows = study_of(frozen=(0.2, 0.3, 0.4, 0.5), tuned=(20, 30, 40, 50))
    with pytest.raises(ValueError, match="all fractions or all percent"):
        scaling.forecasts(rows)


def test_a_curve_without_a_success_does_not_stop_the_others():
    rows = study_of(frozen=(0.2, 0.3, 0.4, 0.5))
    rows += [
        {"mode": "tuned", "num_examples": n, "error": "ValueError: no"}
        for n in (100, 1_000)
    ]
    found = scaling.forecasts(rows)
    assert found["tuned",] == "no run succeeded"
    assert found["frozen",].gain > 0


def test_scores_of_another_range_are_in_points_too():
    rows = study_of(kappa=(0.2, 0.3, 0.4, 0.5))
    (found,) = scaling.forecasts(rows, bounds=(-1, 1)).values()
    assert found.headline.startswith("10x more: +8.6 [")


def test_a_score_that_falls_with_every_size_is_said_to():
    rows = study_of(loss=(0.9, 0.7, 0.55, 0.45))
    (found,) = scaling.forecasts(rows, direction="max").values()
    assert "The score falls with every size." in found.caveats


def test_curves_that_improve_in_two_ways_are_not_given_one_direction():
    found = [
        {"metric": metric, "num_examples": n, "score": 0.5 + sign * 0.05 * i}
        for metric, sign in (("top1", 1), ("error_rate", -1))
        for i, n in enumerate(SIZES)
    ]
    with pytest.raises(ValueError, match=r"\['error_rate'\].*Forecast them"):
        scaling.forecasts(found, by="metric")
