import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from keras_jft import scaling
from keras_jft.scaling import Rows

SIZES = ((0, 0.1), (10, 0.2), (30, 0.25), (100, 0.3), (1_000, 0.4), (1e4, 0.5))
ROWS = [
    {
        "task": "classification",
        "mode": mode,
        "num_examples": n,
        "seed": seed,
        "top1": top1 + 0.01 * seed + 0.05 * (mode == "tuned"),
        "top5": 0.9,
        "per_class": [top1, top1],
        "wall_seconds": 3600.0 + n,
    }
    for mode in ("frozen", "tuned")
    for n, top1 in SIZES
    for seed in (0, 1)
]
TUNED = [row for row in ROWS if row["mode"] == "tuned"]


def texts_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize(
    "read",
    [
        lambda rows: scaling.table(rows),
        lambda rows: list(map(str, scaling.forecasts(rows).values())),
        lambda rows: scaling.fit(rows, "num_examples", "top1", "mode").keys(),
        lambda rows: scaling.backtest(
            rows, "num_examples", "top1", "mode", laws=["log_linear"]
        ),
        lambda rows: scaling.class_table(rows, ["a", "b"]),
        lambda rows: (
            str(scaling.paper_table(13, rows, by="mode"))
            if "ap" in rows
            else None
        ),
        lambda rows: texts_of(scaling.plot_data_size(rows)),
        lambda rows: texts_of(scaling.plot_data_sizes(rows).axes[0]),
        lambda rows: texts_of(scaling.plot_classes(rows, ["a", "b"]).axes[0]),
    ],
)
def test_a_table_made_once_is_as_good_as_a_list_or_a_frame(read):
    listed = read(ROWS)
    assert read(Rows(ROWS)) == listed
    assert read(pd.DataFrame(ROWS)) == listed
    plt.close("all")


def test_functions_of_one_curve_take_a_table_too():
    rows = Rows(TUNED)
    trained = rows.where(~rows.untrained)
    assert scaling.trend(trained, "num_examples", "top1") == scaling.trend(
        trained.table, "num_examples", "top1"
    )
    base = {"num_examples": 10}
    assert scaling.alternatives(rows, base) == scaling.alternatives(TUNED, base)
    scaling.plot_capacity(rows, "mode")
    plt.close("all")


def test_a_table_of_a_table_is_not_checked_again():
    rows = Rows(ROWS)
    assert Rows(rows).table is rows.table


def test_scores_have_bounds_and_a_unit():
    rows = Rows(TUNED)
    scores = rows.scores()
    assert (scores.name, scores.bounds, scores.unit.name) == (
        "top1",
        (0, 1),
        "points",
    )
    np.testing.assert_allclose(scores.values, [r["top1"] for r in TUNED])
    assert scores.unit.text(0.25) == "25.0"
    percent = rows.scaled("top1", 100).scores("top1")
    assert percent.bounds == (0, 100)
    assert percent.unit.text(25) == "25.0"
    # The table itself is unchanged.
    assert rows.scores().bounds == (0, 1)


def test_panels_hold_the_curves_that_differ_in_mode():
    arms = [{**row, "arm": arm} for arm in "ab" for row in ROWS]
    rows = Rows(arms)
    assert rows.curve_columns() == ["task", "mode", "arm"]
    panels = rows.panels(rows.curve_columns())
    assert {name: len(part) for name, part in panels.items()} == {
        ("classification", "a"): 24,
        ("classification", "b"): 24,
    }
    assert [*rows.panels(["mode"])] == [()]


def test_a_part_does_not_remember_what_the_whole_said():
    rows = Rows([*TUNED, {"mode": "tuned", "error": "OSError"}])
    assert (int(rows.failed.sum()), len(rows.hours)) == (1, 13)
    done = rows.succeeded()
    assert (int(done.failed.sum()), len(done.hours)) == (0, 12)


def test_settings_are_read_from_columns_or_from_the_config():
    rows = Rows(
        [
            {"depth": 50, "config": {"pretrain": {"epochs": 3, "sides": (1,)}}},
            {"depth": 101, "config": {"pretrain": None}},
            {"depth": float("nan"), "config": None},
        ]
    )
    assert rows.settings("depth") == [50, 101, None]
    assert rows.settings("pretrain.epochs") == [3, None, None]
    assert rows.settings("pretrain.sides") == [[1], None, None]
