from keras_jft import html_page
from keras_jft.scaling.reporting import page
from keras_jft.scaling.rows.table import Rows


def blocks_of(rows):
    return list(page._made_by(Rows(rows)))


def test_settings_are_told_apart_by_whether_runs_share_them():
    rows = [
        {"config": {"a": 1, "b": {"c": 0.5, "d": None}, "e": [1]}},
        {"config": {"a": 1, "b": {"c": 0.25, "d": None}, "f": {}}},
    ]
    _, varied, shared = blocks_of(rows)
    assert varied.rows == (
        ("b.c", "0.5, 0.25"),
        ("e", "[1], not there"),
        ("f", "not there, {}"),
    )
    assert shared.text == "a = 1\nb.d = null"


def test_versions_and_hardware_are_each_named_once():
    rows = [
        {"version_keras": "3.15.1", "cores": 2, "seed": 0, "device_seconds": 9},
        {"version_keras": "3.16.0", "cores": 2, "seed": 1.0},
    ]
    facts, text = blocks_of(rows)
    assert facts.rows == (
        ("Rows", "2"),
        ("Seeds", "0, 1"),
        ("Device-hours in all", "0.0025"),
        ("Cores", "2"),
        ("keras", "3.15.1, 3.16.0"),
    )
    assert text == html_page.Text(
        "The rows have no configs, so there is no record of how they were made."
    )


def test_a_time_that_is_no_date_is_passed_by():
    dates = ["2026-01-02T00:00", "2026-01-01T00:00", 3.5, None]
    for times, expected in (
        (dates, ["2026-01-01T00:00 to 2026-01-02T00:00"]),
        ([10.0, 20.0], []),
    ):
        facts = blocks_of([{"time": time} for time in times])[0].rows
        assert [v for name, v in facts if name == "Made (UTC)"] == expected
