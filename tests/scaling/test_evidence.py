import numpy as np
import pandas as pd
import pytest

from keras_jft.scaling.law import fitting
from keras_jft.scaling.rows.table import Rows

ROWS = [
    {"task": "t", "mode": "frozen", "num_examples": n, "seed": s, "top1": y}
    for n, s, y in [
        (0, 0, 0.1),
        (300, 0, 0.20),
        (300, 1, 0.26),
        (1000, 0, 0.3),
        (3000, 0, 0.40),
        (3000, 1, 0.41),
        (3000, 2, 0.45),
    ]
]
FAILED = {"num_examples": 300, "seed": 2, "error": "ValueError: no"}


def gather(rows, x, y):
    return fitting.gather(Rows(rows), x, y)


def test_runs_are_counted_by_size():
    data = gather([*ROWS, FAILED], "num_examples", "top1")
    np.testing.assert_array_equal(data.sizes, [300, 1000, 3000])
    np.testing.assert_array_equal(data.counts, [2, 1, 3])
    np.testing.assert_allclose(data.means, [0.23, 0.3, 0.42])
    # By hand: (2 x 0.03^2 + 0.02^2 + 0.01^2 + 0.03^2) / (6 - 3).
    assert data.noise_df == 3
    assert data.noise == pytest.approx((0.0018 + 0.0014) / 3)
    assert data.left_out == {"failed": 1, "random initialization": 1}


def test_one_run_a_size_says_nothing_of_noise():
    data = gather([ROWS[1], ROWS[3]], "num_examples", "top1")
    assert (data.noise, data.noise_df) == (0, 0)


def test_a_data_frame_is_as_good_as_a_list():
    listed = gather(ROWS, "num_examples", "top1")
    framed = gather(pd.DataFrame(ROWS), "num_examples", "top1")
    np.testing.assert_array_equal(listed.y, framed.y)


@pytest.mark.parametrize("column", ["task", "mode"])
def test_two_curves_are_not_mixed_unless_told_apart(column):
    rows = [*ROWS, {**ROWS[1], column: "other", "seed": 9}]
    with pytest.raises(ValueError, match=f"the same `{column}`.*by="):
        Rows(rows).curves()
    parts = Rows(rows).curves(by=column)
    assert [len(part) for part in parts.values()] in ([7, 1], [1, 7])
    both = Rows(rows).curves(by=["task", "mode"])
    assert ("t", "frozen") in both
    other = ({"task", "mode"} - {column}).pop()
    with pytest.raises(ValueError, match=f"the same `{column}`"):
        Rows(rows).curves(by=other)


def test_a_failed_run_is_of_no_curve_but_counted():
    (part,) = Rows([*ROWS, FAILED]).curves().values()
    assert len(part) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top1": float("nan")}, "`top1` must be a finite number.*1 of 7"),
        ({"top1": None}, "`top1` must be a finite number"),
        ({"top1": "0.5"}, "Received: '0.5'"),
        ({"num_examples": float("inf")}, "`num_examples` must be a finite"),
        ({"num_examples": -5}, "must be above 0.*-5"),
        ({"seed": 0}, "num_examples=1000, seed=0"),
    ],
)
def test_what_is_no_usable_run_is_refused(change, message):
    rows = [*ROWS, {**ROWS[3], "seed": 1, **change}]
    with pytest.raises(ValueError, match=message):
        gather(rows, "num_examples", "top1")


def test_a_size_of_zero_that_is_no_random_initialization_is_refused():
    rows = [{"epochs": e, "top1": 0.1} for e in (0, 1, 2)]
    with pytest.raises(ValueError, match="`epochs` must be above 0"):
        gather(rows, "epochs", "top1")


def test_a_column_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(ValueError, match=r"no column \['top5'\].*'top1'"):
        gather(ROWS, "num_examples", "top5")
    with pytest.raises(ValueError, match=r"no column \['split'\]"):
        Rows(ROWS).curves(by="split")


def test_a_study_that_failed_throughout_says_so():
    with pytest.raises(ValueError, match="no row of a run that succeeded"):
        Rows([FAILED]).succeeded()
    with pytest.raises(ValueError, match="There are no rows"):
        Rows([])


def test_the_score_of_a_task_is_its_metrics_main_number():
    rows = Rows([{"task": "segmentation"}])
    assert rows.score() == "miou"
    assert rows.score("pixel_accuracy") == "pixel_accuracy"
    with pytest.raises(ValueError, match="`y` must name"):
        Rows(ROWS).score()


@pytest.mark.parametrize("column", ["task", "mode", "seed", "arm"])
def test_a_list_tells_no_runs_apart(column):
    rows = [*ROWS, {**ROWS[1], column: [1, 2]}]
    with pytest.raises(ValueError, match=rf"`{column}` tells runs.*\[1, 2\]"):
        Rows(rows).curves()
    with pytest.raises(ValueError, match=rf"`{column}` tells runs"):
        gather(rows, "num_examples", "top1")
    rows = [{**row, "arch": [1, 2]} for row in ROWS]
    with pytest.raises(ValueError, match="`arch` tells runs apart"):
        Rows(rows).curves(by="arch")


@pytest.mark.parametrize(
    "score", [10**400, True, np.True_, "0.3", None, [0.3], 1j, np.inf, np.nan]
)
def test_a_score_is_a_finite_number(score):
    rows = [*ROWS, {**ROWS[1], "seed": 9, "top1": score}]
    with pytest.raises(ValueError, match="`top1` must be a finite number"):
        gather(rows, "num_examples", "top1")


@pytest.mark.parametrize("score", [1e200, -1e101, 1e-300])
def test_scores_whose_squares_are_no_floats_are_refused(score):
    rows = [{"n": n, "score": score} for n in (1, 2, 3)]
    with pytest.raises(ValueError, match="`score` must be numbers whose squa"):
        gather(rows, "n", "score")


def test_whole_numbers_of_any_size_are_numbers():
    rows = [{"n": 10**k, "score": 10**26 + k * 10**25} for k in range(20, 25)]
    data = gather(rows, "n", "score")
    np.testing.assert_allclose(data.y, 1e26 + 1e25 * np.arange(20, 25))
    np.testing.assert_allclose(data.sizes, 10.0 ** np.arange(20, 25))


@pytest.mark.parametrize("kind", [list, pd.DataFrame])
def test_a_run_that_is_there_twice_is_refused(kind):
    rows = [{"n": n, "top1": y} for n, y in ((1, 0.2), (2, 0.3), (3, 0.4))]
    with pytest.raises(ValueError, match="Rows 2 and 4: the same run twice: n"):
        gather(kind([*rows, rows[1]]), "n", "top1")
    # Repetitions may have the same score, if they say that they are others.
    apart = [{**row, "seed": i} for i, row in enumerate([*rows, rows[1]])]
    assert gather(kind(apart), "n", "top1").counts.tolist() == [1, 2, 1]
    timed = [{**row, "time": i} for i, row in enumerate([*rows, rows[1]])]
    assert gather(kind(timed), "n", "top1").counts.tolist() == [1, 2, 1]
    # All of them again, with another column, are one table put below itself.
    twice = [{**row, "file": file} for file in "ab" for row in rows]
    with pytest.raises(ValueError, match="Rows 1 and 4: the same run twice"):
        gather(kind(twice), "n", "top1")


def test_seeds_are_the_same_as_text_and_as_numbers():
    rows = [{**ROWS[1], "seed": seed, "top1": 0.1} for seed in ("1", 1.0)]
    for row in rows:
        with pytest.raises(ValueError, match="num_examples=300, seed=1"):
            gather([*ROWS, row], "num_examples", "top1")


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_scores_of_few_bits_are_numbers_like_others(kind):
    scores = kind([20.5, 30.25, 40.125])
    table = pd.DataFrame({"n": kind([1, 2, 3]), "top1": scores})
    data = gather(table, "n", "top1")
    assert data.y.tolist() == [20.5, 30.25, 40.125]
    assert Rows(table).scaled("top1", 1e5).table["top1"].max() == 4_012_500
    listed = gather(table.to_dict("records"), "n", "top1")
    assert listed.y.tolist() == data.y.tolist()


def test_a_run_that_was_done_again_counts_once():
    old, new = (
        [{"key": n, "n": n, "top1": score} for n in (100, 300)]
        for score in (0.2, 0.3)
    )
    data = gather([*old, *new], "n", "top1")
    assert data.y.tolist() == [0.3, 0.3]
    # Runs without a key are repetitions.
    for row in (*old, *new):
        row["key"] = None
    assert len(gather([*old, *new], "n", "top1").y) == 4


@pytest.mark.parametrize("error", [0.25, "no", "False", "ok", "", None])
def test_an_error_that_is_none_is_no_failure(error):
    rows = [{"n": 100, "top1": 0.2, "error": error}]
    assert not Rows(rows).failed.any()
    assert Rows([{"error": "KeyError: 'x'"}]).failed.all()


def test_curves_may_be_told_apart_by_a_tuple():
    rows = [{"task": t, "n": 100, "top1": 0.2} for t in "ab"]
    assert [*Rows(rows).curves(("task",))] == [("a",), ("b",)]


@pytest.mark.parametrize(
    "rows", [None, 5, "rows.csv", [1, 2], [None], [ROWS], iter(ROWS)]
)
def test_rows_are_dicts_or_a_data_frame(rows):
    with pytest.raises(ValueError, match="must be a list of dicts or a Data"):
        Rows(rows).curves()


@pytest.mark.parametrize("column", ["num_examples", "top1", "seed", "mode"])
def test_categories_are_their_values(column):
    table = pd.DataFrame(ROWS)
    given = table.astype({column: "category"})
    found = gather(given, "num_examples", "top1")
    wanted = gather(table, "num_examples", "top1")
    assert found.x.tolist() == wanted.x.tolist()
    assert found.means.tolist() == wanted.means.tolist()


def test_named_levels_of_an_index_are_columns():
    table = pd.DataFrame(ROWS)
    wanted = gather(table, "num_examples", "top1")
    for levels in ("num_examples", ["num_examples", "seed"]):
        given = table.set_index(levels)
        found = gather(given, "num_examples", "top1")
        assert found.x.tolist() == wanted.x.tolist()


def test_a_column_that_is_there_twice_is_refused():
    table = pd.DataFrame(ROWS)
    twice = pd.concat([table, table["top1"]], axis=1)
    with pytest.raises(ValueError, match=r"Received twice: \['top1'\]"):
        gather(twice, "num_examples", "top1")


@pytest.mark.parametrize("score", ["0,413", "41.3%", "1,000", "10k", "1.000.0"])
def test_text_with_digits_is_to_be_written_as_a_number(score):
    rows = [*ROWS, {**ROWS[1], "seed": 9, "top1": score}]
    with pytest.raises(ValueError, match="Write plain numbers, such as 10000"):
        gather(rows, "num_examples", "top1")


def test_a_column_for_each_size_is_to_be_turned():
    rows = [{"model": "a", "300": 0.1, "1000": 0.2, "3k": 0.3}]
    with pytest.raises(ValueError, match="no column .*Each line must be one"):
        gather(rows, "num_examples", "score")
