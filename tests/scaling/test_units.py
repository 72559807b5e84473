"""Scores are fractions or percent, or the user says what they are."""

import re

import numpy as np
import pandas as pd
import pytest

from keras_jft.scaling.rows import units


def test_fractions_and_percent_are_told_apart():
    assert units.bounds_of([0.0, 0.4, 1.0]) == (0, 1)
    assert units.bounds_of([0.4, 3.0, 30.0]) == (0, 100)
    assert units.bounds_of([0.0, 30.0]) == (0, 100)


@pytest.mark.parametrize("scores", [[0.3, 50.0], [0.2, 0.5, 1.02]])
def test_what_may_be_either_is_refused(scores):
    with pytest.raises(ValueError, match="all fractions or all percent"):
        units.bounds_of(scores, name="top1")
    assert units.bounds_of(scores, (0, 100)) == (0, 100)


@pytest.mark.parametrize("bounds", [(1, 0), (0, 0), (float("nan"),) * 2])
def test_a_range_is_two_numbers_that_rise(bounds):
    with pytest.raises(ValueError, match="two numbers, the lower one first"):
        units.bounds_of([0.5], bounds)


def test_losses_have_no_highest_value():
    infinity = float("inf")
    assert units.bounds_of([3.2, 0.4], name="val_loss") == (0, infinity)
    assert units.bounds_of([3.2, -0.4], name="nll") == (-infinity, infinity)
    assert units.bounds_of([-3.2, -0.4], name="loss") == (-infinity, 0)
    assert units.bounds_of([0.3, 0.2], name="error_rate") == (0, 1)
    assert units.bounds_of([5, 7], (0, infinity), "elo") == (0, infinity)


RISING = ([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4])
# Two of them out of place.
FALLING = ([1, 2, 3, 4, 5], [0.5, 0.4, 0.2, 0.3, 0.1])


@pytest.mark.parametrize(
    "name",
    ["error", "err", "errorRate", "top1_error", "top1error", "val_loss"]
    + ["trainLoss", "Loss", "perplexity", "ppl", "RMSE", "mae", "wer", "CER"]
    + ["fid", "nll", "test/mse", "error_free_accuracy"]
    + [
        "1-accuracy",
        "100 - top1",
        "1_minus_auc",
        "f1_deficit",
        "acc_drop",
        "accDrop",
    ]
    + ["missed_recall", "accuracy (lower=better)", "losses"],
)
def test_names_of_errors_are_asked_which_way_is_better(name):
    for curve in (RISING, FALLING):
        with pytest.raises(
            ValueError, match=f'`{re.escape(name)}`.*direction="min"'
        ):
            units.direction_of(name, [curve])
        for direction in ("min", "max"):
            assert units.direction_of(name, [curve], direction) == direction


@pytest.mark.parametrize(
    "name",
    ["top1", "map", "mAP", "val_accuracy", "accuracy_top_5", "miou", "AP@.5"]
    + ["PCK@0.2", "top1_without_duplicates", "ROC-AUC"],
)
def test_names_of_scores_say_that_higher_is_better(name):
    assert units.direction_of(name, [FALLING]) == "max"


@pytest.mark.parametrize(
    "name",
    ["mae_top1", "pck_lower_body", "GAP@20", "top1_drop_path", "MAE accuracy"],
)
def test_a_word_that_means_something_else_is_no_loss(name):
    assert units.direction_of(name, [RISING]) == "max"
    assert units.bounds_of([0.2, 0.6], None, name) == (0, 1)
    assert units.bounds_of([20.0, 60.0], None, name, "max") == (0, 100)


def test_the_loss_of_an_accuracy_is_a_loss():
    for name in "dice_loss", "loss_top1", "top1_mae", "mae_top1_error":
        with pytest.raises(ValueError, match='direction="min"'):
            units.direction_of(name, [RISING])
    # Whoever says that higher is better means the accuracy.
    assert units.bounds_of([0.2, 0.6], None, "loss_top1", "max") == (0, 1)
    infinity = float("inf")
    least = units.bounds_of([0.6, 0.2], None, "dice_loss", "min")
    assert least == (0, infinity)
    negative = units.bounds_of([-0.6, -0.2], None, "dice_loss", "max")
    assert negative == (-infinity, 0)


def test_a_word_beside_an_accuracy_does_not_stop_the_question():
    assert units.direction_of("accuracy_of_doom", [RISING]) == "max"
    with pytest.raises(ValueError, match="scores fall as the size grows"):
        units.direction_of("accuracy_of_doom", [FALLING])
    for name in "lossless_psnr", "gloss_accuracy":
        assert units.direction_of(name, [RISING]) == "max"


def test_a_fall_that_chance_explains_is_not_asked_about():
    # Of four sizes, 4 of 24 orders come close to falling: one does.
    almost = ([1, 2, 3, 4], [0.4, 0.2, 0.3, 0.1])
    assert units.direction_of("score", [almost]) == "max"
    with pytest.raises(ValueError, match="scores fall"):
        units.direction_of("score", [([1, 2, 3, 4], [0.4, 0.3, 0.2, 0.1])])


def test_a_metric_that_another_column_names_is_asked_about():
    for metric in "error_rate", "wer":
        with pytest.raises(ValueError, match=f"the score of '{metric}'"):
            units.direction_of("score", [RISING], None, [metric])
        assert units.direction_of("score", [RISING], "min", [metric]) == "min"
        for direction in None, "min", "max":
            with pytest.raises(
                ValueError, match=rf"\['{metric}'\].*separately"
            ):
                units.direction_of("score", [RISING], direction, ["a", metric])


def test_where_lower_is_better_scores_above_1_need_not_be_percent():
    infinity = float("inf")
    for scores, name, bounds in (
        ([2.0, 1.1], "Verlust", (0, infinity)),
        ([1.25, 0.21], "wer", (0, infinity)),
        ([0.4, 0.2], "wer", (0, 1)),
        ([31.0, 24.0], "error", (0, 100)),
        ([-2.0, 3.0], "Verlust", (-infinity, infinity)),
    ):
        assert units.bounds_of(scores, None, name, "min") == bounds


def test_a_name_that_says_nothing_is_asked_where_scores_fall():
    assert units.direction_of("score", [RISING]) == "max"
    assert units.direction_of("score", [RISING, FALLING]) == "max"
    flat, few = ([1, 2, 3], [0.3, 0.3, 0.3]), ([1, 2], [0.2, 0.1])
    assert units.direction_of("score", [flat, few]) == "max"
    with pytest.raises(ValueError, match="scores fall as the size grows"):
        units.direction_of("score", [FALLING, flat])
    with pytest.raises(ValueError, match=r"one of \['max', 'min'\]"):
        units.direction_of("score", [RISING], "up")


def test_open_ended_scores_have_digits_by_how_far_they_are_apart():
    # Three digits of the range of all scores.
    for scores, written in (
        ([3.21, 3.02], "0.123"),
        ([310.0, 120.0], "0"),
        ([2e-5, 1e-5], "0.1234000"),
        ([3.0, 3.0], "0.123"),
    ):
        unit = units.unit_of((0, float("inf")), scores, "loss")
        assert (unit.text(0.1234), unit.factor) == (written, 1)
    assert (
        units.unit_of((0, 1), [0.1, 0.2], "top1").text(-0.0001, "+") == "+0.0"
    )


def test_scores_out_of_range_are_refused():
    for scores, bounds in (([-0.1], None), ([101.0], None), ([0.5], (0.6, 1))):
        with pytest.raises(ValueError, match="`kappa` must lie within"):
            units.bounds_of(scores, bounds, "kappa")


def test_a_point_is_a_hundredth_of_whatever_ends_at_one():
    for bounds, factor in (
        ((0, 1), 100),
        ((-1, 1), 100),
        ((0, 100), 1),
        ((-5, 0), 1),
    ):
        assert units.unit_of(bounds, [0], "kappa").factor == factor


def test_scores_in_percent_stay_and_fractions_become_percent():
    fractions = np.array([[0.25, np.nan], [1.0, 0.5]])
    np.testing.assert_array_equal(
        units.in_percent(fractions), [[25, np.nan], [100, 50]]
    )
    percent = pd.Series([0.25, np.nan, 25.0])
    assert units.in_percent(percent) is percent
    # Where nothing is known there is nothing to tell them by.
    assert np.isnan(units.in_percent(np.array([np.nan]))).all()


def test_sizes_are_written_out():
    written = {0: "0", 0.03: "0.03", 1: "1", 1.5: "1.5", 3e4: "30,000"}
    assert {size: units.sized(size) for size in written} == written


def test_names_keep_their_capitals():
    assert units.titled("cOCO by ResNet-50") == "COCO by ResNet-50"
    assert units.titled("") == ""


def test_one_run_has_no_spread():
    assert units.mean_and_spread({"mean": 41.26, "std": 0.8}) == "41.3 ±0.8"
    assert units.mean_and_spread({"mean": 41, "std": float("nan")}) == "41.0"


@pytest.mark.parametrize(
    "bounds", [5, (0,), (0, 1, 2), "ab", (0, "1"), (0, None), ({}, 1)]
)
def test_a_range_is_nothing_but_two_numbers(bounds):
    with pytest.raises(ValueError, match=r"two numbers, the lower one first"):
        units.bounds_of([0.2, 0.5], bounds)
