"""Scores are fractions or percent, or the user says what they are."""

import pytest

from keras_jft.scaling import units


def test_fractions_and_percent_are_told_apart():
    assert units.bounds_of([0.0, 0.4, 1.0]) == (0, 1)
    assert units.bounds_of([0.4, 3.0, 30.0]) == (0, 100)
    assert units.bounds_of([0.0, 30.0]) == (0, 100)


@pytest.mark.parametrize("scores", [[0.3, 50.0], [0.2, 0.5, 1.02]])
def test_what_may_be_either_is_refused(scores):
    with pytest.raises(ValueError, match="all fractions or all percent"):
        units.bounds_of(scores, name="top1")
    assert units.bounds_of(scores, (0, 100)) == (0, 100)


@pytest.mark.parametrize(
    "bounds", [(1, 0), (0, 0), (float("nan"),) * 2, (0, float("inf"))]
)
def test_a_range_is_two_numbers_that_rise(bounds):
    with pytest.raises(ValueError, match="two finite numbers"):
        units.bounds_of([0.5], bounds)


def test_scores_out_of_range_are_refused():
    for scores, bounds in (([-0.1], None), ([101.0], None), ([0.5], (0.6, 1))):
        with pytest.raises(ValueError, match="`kappa` must lie within"):
            units.bounds_of(scores, bounds, "kappa")


def test_a_point_is_a_hundredth_of_whatever_ends_at_one():
    assert units.points((0, 1)) == units.points((-1, 1)) == 100
    assert units.points((0, 100)) == units.points((-5, 0)) == 1


def test_sizes_are_written_out():
    written = {0: "0", 0.03: "0.03", 1: "1", 1.5: "1.5", 3e4: "30,000"}
    assert {size: units.sized(size) for size in written} == written


def test_names_keep_their_capitals():
    assert units.titled("cOCO by ResNet-50") == "COCO by ResNet-50"
    assert units.titled("") == ""


def test_one_run_has_no_spread():
    assert units.mean_and_spread({"mean": 41.26, "std": 0.8}) == "41.3 ±0.8"
    assert units.mean_and_spread({"mean": 41, "std": float("nan")}) == "41.0"
