"""What the experiments on pre-training compute from rows and configs."""

import dataclasses
import pathlib
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"
STUDIES = (
    "epochs",
    "learning_rate",
    "classes",
    "label_noise",
    "capacity",
    "backbones",
)


@pytest.fixture
def arms(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import arms

    yield arms
    # Modules of this name may lie elsewhere, too.
    for name in ("arms", "data_size", *STUDIES):
        sys.modules.pop(name, None)
    plt.close("all")


def rows_of(scores, sizes=(100, 1_000)):
    """`{arm: [score of each seed at each size]}` as rows."""
    return [
        {
            "task": "classification",
            "mode": "frozen",
            "arm": arm,
            "num_examples": size,
            "seed": seed,
            "top1": score,
        }
        for arm, by_size in scores.items()
        for size, by_seed in zip(sizes, by_size, strict=True)
        for seed, score in enumerate(by_seed)
    ]


SCORES = {"slow": [[0.2, 0.3], [0.4, 0.4]], "fast": [[0.1, 0.5], [0.6, 0.8]]}


def test_an_arm_changes_what_it_says_and_nothing_else(arms):
    base = arms.SYNTHETIC.pretrain
    changed = arms.change(epochs=8)(base)
    assert changed == dataclasses.replace(base, epochs=8)
    changed = arms.options(wrong_labels=0.5)(base)
    assert changed.options == {"num_examples": 10_000, "wrong_labels": 0.5}
    assert dataclasses.replace(changed, options=base.options) == base


def test_equal_steps_are_those_of_the_largest_size(arms):
    import epochs

    sizes = (300, 1_000, 3_000)
    configs = [
        epochs.equal_steps(
            dataclasses.replace(arms.SYNTHETIC.pretrain, num_examples=size)
        )
        for size in sizes
    ]
    assert [c.num_examples for c in configs] == list(sizes)
    # 93 whole batches of 32 an epoch, four times.
    assert [c.steps for c in configs] == [372, 372, None]
    assert [c.epochs for c in configs] == [None, None, 4]


def test_noise_is_that_of_the_world_or_is_added_to_real_labels(arms):
    import label_noise

    world = arms.SYNTHETIC.pretrain
    real = dataclasses.replace(world, dataset="image_folder", options={})
    clean, own, half = (
        label_noise.noise(*r) for r in ((0, 0), (0.2, 0.1), (0.5, 0))
    )
    assert own(world) == world and clean(real) == real
    assert clean(world).options["wrong_labels"] == 0
    assert half(world).options["wrong_labels"] == 0.5
    assert own(real).options == {"noise": {"wrong": 0.2, "missing": 0.1}}


def test_the_table_has_means_spreads_and_slopes(arms):
    text = arms.table(rows_of(SCORES))
    head, slow, fast = (line.split() for line in text.splitlines())
    assert head == ["100", "1,000", "per", "decade"]
    # The standard deviation of 20 and 30 is 10 / sqrt(2).
    assert slow == ["slow", "25.0", "±7.1", "40.0", "±0.0", "+15.0"]
    assert fast == ["fast", "30.0", "±28.3", "70.0", "±14.1", "+40.0"]


def test_a_slope_leaves_out_runs_that_were_not_trained(arms):
    scores = arms.frame(rows_of({"a": [[0.1], [0.2], [0.4]]}, (0, 10, 100)))
    assert arms.slope(scores) == pytest.approx(20)


def test_two_modes_are_drawn_as_curves_of_one_panel(arms):
    import capacity

    rows = rows_of(SCORES)
    assert len(capacity.draw(rows).axes) == 2
    both = rows + [{**row, "mode": "fine_tuned"} for row in rows]
    assert len(capacity.draw(both).axes) == 1


def test_the_figure_has_one_curve_per_arm(arms):
    (ax,) = arms.plot(rows_of(SCORES)).axes
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["slow", "fast"]
    curves = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_allclose(curves["fast"], [30, 70])


def test_the_best_rate_is_chosen_without_the_score_it_is_given(arms):
    import learning_rate

    found = learning_rate.best_of_the_grid(arms.frame(rows_of(SCORES)))
    expected = pd.DataFrame(
        {
            "num_examples": [100, 100, 1_000, 1_000],
            "seed": [0, 1, 0, 1],
            # At 100 images seed 1 is best fast, seed 0 slow: each sees the
            # other's.
            "arm": ["fast", "slow", "fast", "fast"],
            "score": [10.0, 30.0, 60.0, 80.0],
        }
    )
    pd.testing.assert_frame_equal(found, expected)


def test_a_subset_of_classes_has_every_nth_class(arms, tmp_path):
    import classes

    for i in range(8):
        (tmp_path / "train" / f"class{i}").mkdir(parents=True)
    options = {"directory": str(tmp_path), "exclude": ["class0", "class3"]}
    folders = dataclasses.replace(
        arms.SYNTHETIC.pretrain, dataset="image_folder", options=options
    )
    changed = classes.every(4)(folders).options
    assert changed["classes"] == ["class1", "class6"]
    assert classes.every(4)(arms.SYNTHETIC.pretrain).options["num_names"] == 50


def test_another_net_is_chosen_without_the_score_it_is_given(arms):
    import backbones

    scores = {
        "ResNet": [[0.2, 0.2], [0.3, 0.4]],
        # At 100 images each is best for one seed alone.
        "ViT": [[0.5, 0.1], [0.3, 0.3]],
        "CSPNet": [[0.3, 0.4], [0.5, 0.6]],
    }
    expected = pd.DataFrame(
        {
            "images": ["100", "300"],
            # CSPNet for seed 0, ViT for seed 1; then CSPNet for both.
            "another net": ["+0.0 ±10.0", "+20.0 ±0.0"],
            "the next size": ["+15.0 ±5.0", ""],
        }
    )
    found = backbones.gains(rows_of(scores, (100, 300)))
    pd.testing.assert_frame_equal(found, expected)
