import types

import numpy as np
import pandas as pd
import pytest

from keras_jft.scaling.rows.table import SECONDS, Rows, hours_at
from keras_jft.scaling.study.outlook import outlook

# 36 s and 0.036 s an image: 0.01 hours and 1e-5 an image.
ROWS = [
    {"task": task, "num_examples": n, "wall_seconds": f * (36 + 0.036 * n)}
    for task, f in (("a", 1), ("b", 2))
    for n in (0, 1_000, 10_000)
]


def of(task, num_examples, images=0):
    return types.SimpleNamespace(
        task=task, num_examples=num_examples, images=images
    )


def test_hours_are_a_line_in_the_size():
    rows = Rows(ROWS[:3])
    hours, sizes = rows.hours, rows.table["num_examples"].to_numpy(float)
    assert hours_at(100_000, sizes, hours) == pytest.approx(1.01)
    assert np.isnan(hours_at(5, sizes[:1], hours[:1]))


def test_device_seconds_are_believed_before_the_clock():
    rows = Rows([{"wall_seconds": 7200.0, "device_seconds": 3600.0}])
    assert rows.hours == [1.0]
    assert np.isnan(Rows([{"top1": 0.5}]).hours)


def test_the_outlook_goes_by_runs_of_the_same_task():
    left = [of("a", 100_000, 400_000), of("b", 10_000, 40_000)]
    found = outlook(left, ROWS)
    assert (found.runs, found.images) == (2, 440_000)
    assert found.hours == pytest.approx(1.01 + 2 * 0.11)
    assert str(found) == (
        "2 runs left, 440,000 images of pre-training, about 1.23 device-hours"
    )


def test_what_several_runs_share_is_counted_once():
    left = [of("a", 1_000, 40), of("b", 1_000, 40), of("b", 10_000, 80)]
    for config in left:
        config.pretrain = {"num_examples": config.num_examples}
    # Of 3 hours a run 2 are pre-training.
    rows = [
        {**row, "device_seconds": 3 * 3600, "pretrain_seconds": 2 * 3600}
        for row in ROWS
    ]
    found = outlook(left, rows)
    assert found.images == 120
    assert found.hours == 3 + 1 + 3


def test_a_pre_training_is_shared_by_its_values_not_by_how_they_are_written():
    left = [of("a", 1_000, 40) for _ in range(3)]
    for config, epochs in zip(left, (4, 4.0, 5), strict=True):
        config.pretrain = {"epochs": epochs}
    assert outlook(left, ROWS).images == 40 + 40


def test_runs_like_none_that_is_done_are_counted_apart():
    failed = [
        {"task": "c", "num_examples": n, "wall_seconds": 9, "error": "OSError"}
        for n in (10, 1_000)
    ]
    found = outlook(
        [of("a", 10_000), of("c", 10), of("c", 20)], [*ROWS, *failed]
    )
    assert found.hours == pytest.approx(0.11)
    assert found.unknown == 2
    assert "0.11 device-hours without 2 of the runs, since none like" in str(
        found
    )


def test_without_rows_the_hours_are_unknown():
    for rows in ([], [{"task": "c", "num_examples": 10, "wall_seconds": 1}]):
        found = outlook([of("a", 1_000)], rows)
        assert np.isnan(found.hours)
        assert "no run like them is done yet" in str(found)
    assert outlook([], ROWS).hours == 0


def test_an_empty_column_does_not_hide_the_next():
    table = pd.DataFrame(
        {"device_seconds": [None, None], "wall_seconds": [3600, 7200]}
    )
    assert Rows(table).hours.tolist() == [1, 2]


@pytest.mark.parametrize("column", SECONDS)
@pytest.mark.parametrize("wrong", [-1, -0.5, "an hour", "3600"])
def test_seconds_are_numbers_that_are_not_negative(column, wrong):
    table = pd.DataFrame([{column: 3600.0}, {column: wrong}])
    with pytest.raises(
        ValueError, match=f"`{column}` must be a number of seconds, 0"
    ):
        Rows(table).hours_in(column)


def test_a_run_that_took_no_time_does_not_tell_what_it_took():
    table = pd.DataFrame(
        [{"device_seconds": 0, "wall_seconds": s} for s in (0, 3600, None)]
    )
    hours = Rows(table).hours
    assert np.isnan(hours[[0, 2]]).all()
    assert hours[1] == 1
