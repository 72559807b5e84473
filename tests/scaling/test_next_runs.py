import numpy as np
import pytest
from made_up_curves import SIZES, draw, line, of, rows_of

from keras_jft.scaling.decision.next_runs import outlooks, plan


@pytest.mark.parametrize("seeds", [1, 3])
def test_each_step_narrows_the_interval_within_the_sizes_there_are(seeds, rng):
    law = of(rows_of(SIZES, draw(rng, line(SIZES), 0, 0.02, seeds)))
    gain = law.gain_at(10)
    steps = plan(law, factor=10)
    widths = [(gain.high - gain.low) / 2, *(step.half_width for step in steps)]
    assert len(steps) == len({step.size for step in steps})
    assert sum(step.runs for step in steps) == 3 * seeds
    assert widths == sorted(widths, reverse=True)
    assert all(300 <= step.size <= 10_000 for step in steps)
    assert all(np.isnan(step.hours) for step in steps)


def test_a_new_size_tells_more_than_more_seeds_where_the_curve_bends(rng):
    bent = draw(rng, [0.3, 0.3, 0.32, 0.5], 0, 0.001)
    law = of(rows_of(SIZES, bent))
    assert plan(law, factor=10)[0].size not in SIZES


def test_sizes_that_reach_too_short_are_stretched_downward_first(rng):
    sizes = np.array([3_000, 4_000, 6_000, 10_000])
    law = of(rows_of(sizes, draw(rng, line(sizes), 0, 0.02, 2)))
    assert plan(law, factor=10)[0].size == 1_000


def test_the_width_after_a_run_is_that_of_a_regression_with_it(rng):
    # One run a size: the covariance of a line is s (X'X)^-1, before and after.
    law = of(rows_of(SIZES, draw(rng, line(SIZES), 0, 0.02, seeds=1)))
    step = plan(law, factor=10, steps=1)[0]

    def variance(sizes):
        x = np.log10(sizes)
        return 1 + 1 / ((x - x.mean()) ** 2).sum()

    gain = law.gain_at(10)
    shrinks = variance([*SIZES, step.size]) / variance(SIZES)
    assert step.half_width == pytest.approx(
        (gain.high - gain.low) / 2 * np.sqrt(shrinks), rel=0.05
    )


def test_what_a_run_costs_counts(rng):
    rows = rows_of(SIZES, draw(rng, line(SIZES), 0, 0.02))
    free = plan(of(rows), factor=10)
    # Ten hours an image: large runs tell more, but not by what they cost.
    dear = [
        {**row, "wall_seconds": 36_000 * row["num_examples"]} for row in rows
    ]
    steps = plan(of(dear), factor=10)
    images, fewer = (
        sum(step.runs * step.size for step in found) for found in (free, steps)
    )
    assert fewer < images
    assert steps[0].hours == pytest.approx(steps[0].runs * 10 * steps[0].size)


def test_the_first_step_is_a_new_size(rng):
    law = of(rows_of(SIZES, draw(rng, line(SIZES), 0, 0.05, 2)))
    assert plan(law, factor=10)[0].size not in SIZES


@pytest.mark.parametrize("smallest", [1, 2])
def test_no_run_is_proposed_at_a_part_of_an_image(smallest, rng):
    sizes = smallest * np.array([1, 2, 3, 4])
    law = of(rows_of(sizes, draw(rng, line(sizes), 0, 0.02, 2)))
    assert all(step.size >= 1 for step in plan(law, factor=10))
    # What is measured in parts may be proposed in parts.
    rows = rows_of(sizes, draw(rng, line(sizes), 0, 0.02, 2))
    rows = [{**row, "num_examples": row["num_examples"] / 10} for row in rows]
    assert plan(of(rows), factor=10)[0].size == pytest.approx(
        smallest * 0.4 / 10
    )


def test_runs_of_one_size_are_named_together(rng):
    # Where seeds scatter much, the ends of the line tell the most.
    law = of(rows_of(SIZES, draw(rng, line(SIZES), 0, 0.05, 2)))
    sizes = [step.size for step in plan(law, factor=10, steps=6)]
    assert len(sizes) == len({*sizes}) < 6


@pytest.mark.parametrize("largest", [9_990, 9_560, 10_040])
def test_after_the_next_runs_the_sizes_reach(largest, rng):
    sizes = np.array([1_010, 2_000, 4_000, largest])
    law = of(rows_of(sizes, draw(rng, line(sizes), 0, 0.02, 2)))
    first = plan(law, factor=10)[0].size
    assert largest / first >= 10
    assert first == pytest.approx(largest / 10, rel=0.1)


def test_runs_that_are_left_may_show_that_noise_is_small_or_large(rng):
    law = of(rows_of(SIZES, draw(rng, line(SIZES), 0, 0.02, 1)))
    gain = law.gain_at(10)
    found = list(outlooks(law, 10, dict.fromkeys(SIZES.tolist(), 5)))
    weights, after, moves = zip(*found, strict=True)
    # 20 of 24 runs are left: they tell five sixths of what is known then.
    assert sum(weights) == pytest.approx(1)
    assert weights[0] == pytest.approx(1 / 6)
    widths = [gain.high - gain.low for gain in after]
    assert min(widths) < 0.5 * max(widths)
    assert np.average(widths, weights=weights) < gain.high - gain.low
    # They move the gain, but not on average.
    middle = np.average([gain.value for gain in after], weights=weights)
    assert middle == pytest.approx(gain.value, abs=0.01)
    assert min(moves) > 0


def test_one_run_that_is_left_hardly_changes_what_is_known(rng):
    law = of(rows_of(SIZES, draw(rng, line(SIZES), 0, 0.02, 5)))
    (weight, after, moves), *_ = outlooks(law, 10, {3_000: 1})
    gain = law.gain_at(10)
    assert weight > 0.95
    assert after == pytest.approx(gain, abs=0.1 * (gain.high - gain.low))
    assert moves < 0.1 * (gain.high - gain.low)
