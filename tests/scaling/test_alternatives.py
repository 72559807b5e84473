"""Changes of a base are compared by what they bring for an hour."""

import numpy as np
import pytest
from scipy import stats

from keras_jft.scaling import alternatives

BASE = {"num_examples": 1_000, "depth": 50, "config.noise": 0.2}


def row_of(seed, score, hours, size=1_000, depth=50, noise=0.2, **columns):
    return {
        "num_examples": size,
        "depth": depth,
        "seed": seed,
        "score": score,
        "wall_seconds": 3600 * hours,
        "config": {"config": {"noise": noise}, "blocks": [depth, 1]},
        **columns,
    }


ROWS = [
    row_of(0, 0.30, 1),
    row_of(1, 0.32, 1),
    row_of(2, 0.31, 1),
    row_of(0, 0.40, 3, size=3_000),
    row_of(1, 0.38, 3, size=3_000),
    row_of(0, 0.46, 11, size=10_000),
    row_of(0, 0.36, 2, depth=101),
    row_of(1, 0.40, 2, depth=101),
    row_of(0, 0.35, 1, noise=0.0),
    row_of(0, 0.25, 1, noise=0.4),
    # Two changes at once are no alternative.
    row_of(0, 0.99, 2, size=3_000, depth=101),
]


def test_alternatives_come_by_gain_for_an_hour():
    found = alternatives(ROWS, BASE)
    # By hand: 0.07 in 1 h, 0.08 in 2 h, 0.15 in 10 h; then those for free.
    assert [(a.name, a.end) for a in found] == [
        ("depth", 101),
        ("num_examples", 3_000),
        ("num_examples", 10_000),
        ("config.noise", 0.0),
        ("config.noise", 0.4),
    ]
    gains = [a.gain for a in found]
    np.testing.assert_allclose(gains, [0.07, 0.08, 0.15, 0.04, -0.06])
    each = [a.per_hour for a in found]
    np.testing.assert_allclose(each, [0.07, 0.04, 0.015, np.nan, np.nan])
    assert [a.hours for a in found] == pytest.approx([1, 2, 10, 0, 0])
    assert found[1].runs == (3, 2)
    assert {a.start for a in found} == {1_000, 50, 0.2}


def test_the_interval_is_welchs():
    more = alternatives(ROWS, BASE)[1]
    a, b = np.array([0.40, 0.38]), np.array([0.30, 0.32, 0.31])
    va, vb = a.var(ddof=1) / 2, b.var(ddof=1) / 3
    df = (va + vb) ** 2 / (va**2 / 1 + vb**2 / 2)
    half = stats.t.ppf(0.975, df) * (va + vb) ** 0.5
    assert more.low == pytest.approx(0.08 - half)
    assert more.high == pytest.approx(0.08 + half)
    one = alternatives(ROWS, BASE)[2]
    assert np.isnan([one.low, one.high]).all()


def test_runs_that_are_all_alike_have_no_spread_to_go_by():
    def to_3_000(at_base, more):
        rows = [row_of(i, score, 1) for i, score in enumerate(at_base)]
        rows += [row_of(i, s, 3, size=3_000) for i, s in enumerate(more)]
        return alternatives(rows, {"num_examples": 1_000})[0]

    alike = to_3_000([0.3, 0.3, 0.3], [0.4, 0.4])
    assert alike.gain == pytest.approx(0.1)
    assert np.isnan([alike.low, alike.high]).all()
    # One side that scatters has an interval, without a warning.
    half = to_3_000([0.3, 0.3, 0.3], [0.4, 0.5])
    assert half.low < half.gain < half.high


def test_settings_that_are_lists_are_told_apart():
    rows = [row_of(0, 0.3, 1), row_of(0, 0.4, 2, depth=101)]
    (found,) = alternatives(rows, {"blocks": (50, 1)})
    assert found.end == [101, 1]
    assert found.gain == pytest.approx(0.1)


def test_rows_without_costs_have_none():
    rows = [{k: v for k, v in r.items() if "wall" not in k} for r in ROWS]
    assert all(np.isnan(a.hours) for a in alternatives(rows, BASE))


@pytest.mark.parametrize(
    ("rows", "base", "message"),
    [
        (
            ROWS,
            {"depth": 50, "width": 64},
            "value for `width`.*no value in 11 of 11",
        ),
        (ROWS, {**BASE, "depth": 18}, "base depth=18. The rows have: 101, 50"),
        (
            [*ROWS[:1], *ROWS[3:7]],
            {"num_examples": 3_000, "depth": 101},
            "all settings of the base at once",
        ),
        (
            ROWS,
            {"num_examples": 1_000, "depth": 50},
            "Several runs have the same settings .*'seed",
        ),
        ([*ROWS, row_of(3, None, 1)], BASE, "`score` must be a finite number"),
        ([*ROWS, row_of(3, 0.3, 1, mode="x")], BASE, "the same `mode`"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(rows, base, message):
    with pytest.raises(ValueError, match=message):
        alternatives(rows, base)


def test_arms_are_told_apart_by_their_settings_or_are_one():
    rows = [
        {"arm": arm, "num_examples": n, "epochs": e, "score": score}
        for arm, n, e, score in (
            ("base", 100, 4, 0.3),
            ("base", 1_000, 4, 0.5),
            ("longer", 100, 8, 0.4),
        )
    ]
    by_settings = alternatives(rows, {"num_examples": 100, "epochs": 4})
    assert [(a.name, a.end) for a in by_settings] == [
        ("num_examples", 1_000),
        ("epochs", 8),
    ]
    by_arm = alternatives(rows, {"num_examples": 100, "arm": "base"})
    assert [(a.name, a.end) for a in by_arm] == [
        ("num_examples", 1_000),
        ("arm", "longer"),
    ]
    assert [a.gain for a in by_arm] == pytest.approx([0.2, 0.1])


def test_of_an_error_a_fall_is_the_gain():
    rows = [{**row, "error_rate": 1 - row["score"]} for row in ROWS]
    with pytest.raises(ValueError, match='Give direction="min" if lower'):
        alternatives(rows, BASE, "error_rate")
    found = alternatives(rows, BASE, "error_rate", direction="min")
    for ours, theirs in zip(found, alternatives(ROWS, BASE), strict=True):
        assert ours.name == theirs.name
        ours, theirs = ours[3:8], theirs[3:8]
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
