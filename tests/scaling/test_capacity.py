import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from keras_jft.scaling import plot_capacity
from keras_jft.scaling.paper.capacity import _gains


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def rows_of(nets=("base", "deep"), sizes=(300, 3_000), seeds=(0, 1, 2)):
    """The base gains 10 points, the next net 15; seeds differ by a point."""
    return [
        {
            "task": "classification",
            "mode": "frozen",
            "arm": net,
            "num_examples": size,
            "seed": seed,
            "top1": 0.3
            + 0.01 * seed * (i + 1)
            + (0.1 + 0.05 * i) * np.log10(max(size, 1) / 300),
        }
        for i, net in enumerate(nets)
        for size in sizes
        for seed in seeds
    ]


def test_a_curve_a_size_over_nets_in_their_order():
    left, _ = plot_capacity(rows_of(nets=("shallow", "deep", "a"))).axes
    assert [t.get_text() for t in left.get_xticklabels()] == [
        "shallow",
        "deep",
        "a",
    ]
    names = [text.get_text() for text in left.get_legend().get_texts()]
    assert names == ["300 images", "3k images"]
    # Means over seeds: 30 + (0 + 1 + 2) / 3 for the first net at 300.
    first, second = left.lines
    np.testing.assert_allclose(first.get_ydata(), [31, 32, 33])
    np.testing.assert_allclose(second.get_ydata(), [41, 47, 53])
    assert left.get_ylabel() == "Top-1 accuracy (%)"


def test_layers_stand_by_their_number():
    rows = [
        {"layers": n, "num_examples": s, "ap": 20.0 + n / 10 + s / 100}
        for n in (152, 50, 101)
        for s in (100, 1_000)
    ]
    left, right = plot_capacity(rows, "layers", y="ap").axes
    assert [t.get_text() for t in left.get_xticklabels()] == [
        "50",
        "101",
        "152",
    ]
    np.testing.assert_allclose(right.lines[0].get_ydata(), [9, 9, 9])


def test_gains_are_taken_seed_by_seed():
    rows = pd.DataFrame(rows_of())
    rows.loc[0, "top1"] -= 0.02  # base, 300 images, seed 0
    found = _gains(rows, ["base", "deep"], "arm", "num_examples", "top1")
    np.testing.assert_allclose(found[:, 0], [0.1 + 0.02 / 3, 0.15])
    each = [0.12, 0.10, 0.10]
    low, high = stats.ttest_1samp(each, 0).confidence_interval(0.95)
    np.testing.assert_allclose(found[0, 1], (high - low) / 2)
    np.testing.assert_allclose(found[1, 1], 0, atol=1e-12)
    alone = rows[rows["seed"] == 0]
    assert np.isnan(
        _gains(alone, ["base"], "arm", "num_examples", "top1")[0, 1]
    )


def test_the_papers_gains_stand_beside_ours():
    _, right = plot_capacity(rows_of(), paper=True).axes
    (stars,) = [line for line in right.lines if line.get_marker() == "*"]
    np.testing.assert_allclose(stars.get_xdata(), [2, 3, 4])
    # Section 1 says 1.87 and 3; Table 9 has 36.8 and 34.5.
    np.testing.assert_allclose(stars.get_ydata(), [1.87, 2.3, 3.0])


def test_rows_that_say_nothing_of_capacity_are_refused():
    rows = rows_of()
    mixed = [*rows, {**rows[0], "mode": "fine_tuned"}]
    with pytest.raises(ValueError, match="the same `mode`"):
        plot_capacity(mixed)
    with pytest.raises(ValueError, match="two sizes"):
        plot_capacity(rows_of(sizes=(0, 300)))
    with pytest.raises(ValueError, match="no column"):
        plot_capacity(rows, "layers")
