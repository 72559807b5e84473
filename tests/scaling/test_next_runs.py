import numpy as np
import pytest
from scipy import stats

from keras_jft.scaling import fit
from keras_jft.scaling.next_runs import half_width_after, plan


def law_of(sizes, seeds, rng):
    rows = [
        {
            "num_examples": size,
            "seed": seed,
            "top1": 0.1 * np.log10(size) + rng.normal(0, 0.02),
        }
        for size in sizes
        for seed in range(seeds)
    ]
    return fit(rows, x="num_examples", y="top1")


@pytest.mark.parametrize("seeds", [1, 3])
def test_each_step_narrows_the_interval_within_the_sizes_there_are(seeds, rng):
    law = law_of((300, 1_000, 3_000, 10_000), seeds, rng)
    gain = law.gain_at(10)
    steps = plan(law, factor=10)
    widths = [(gain.high - gain.low) / 2, *(step.half_width for step in steps)]
    assert len(steps) == 3
    assert widths == sorted(widths, reverse=True)
    assert all(300 <= step.size <= 10_000 for step in steps)
    assert all(step.runs == seeds for step in steps)


def test_a_new_size_tells_more_than_more_seeds_where_the_curve_bends(rng):
    law = law_of((300, 1_000, 3_000, 10_000), 3, rng)
    bent = fit(
        [
            {"num_examples": n, "seed": s, "top1": y + 0.001 * s}
            for n, y in ((300, 0.3), (1_000, 0.3), (3_000, 0.32), (10_000, 0.5))
            for s in range(3)
        ],
        x="num_examples",
        y="top1",
    )
    assert law.lack_of_fit > 0.05 > bent.lack_of_fit
    assert plan(bent, factor=10)[0].size not in (300, 1_000, 3_000, 10_000)


def test_sizes_that_reach_too_short_are_stretched_downward_first(rng):
    law = law_of((3_000, 5_000, 10_000), 2, rng)
    assert plan(law, factor=10)[0].size == 1_000


def test_the_projected_width_is_the_width_if_things_stay_as_they_are(rng):
    # The law of the planned runs, with the same noise and deviation.
    law = law_of((300, 1_000, 3_000, 10_000), 1, rng)
    step = plan(law, factor=10)[0]
    sizes = sorted([300, 1_000, 3_000, 10_000, step.size])
    x = np.log10(sizes)
    spread = law.mean_square * (1 + 1 / ((x - x.mean()) ** 2).sum())
    expected = stats.t.ppf(0.975, 3) * np.sqrt(spread)
    assert step.half_width == pytest.approx(expected)


def test_more_seeds_tell_nothing_where_there_is_no_noise_to_average(rng):
    # One run a size: what is off the line counts as a bend, not as noise.
    law = law_of((300, 1_000, 3_000, 10_000), 1, rng)
    gain = law.gain_at(10)
    planned = dict.fromkeys((300, 1_000, 3_000, 10_000), 1)
    for size in planned:
        half_width = half_width_after(law, 10, planned, size, runs=5)
        assert half_width >= (gain.high - gain.low) / 2
