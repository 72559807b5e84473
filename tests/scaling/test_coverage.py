"""Prediction intervals hold what they say when the law is unknown to the fit.

20 curves a law here; `benchmarks/coverage.py` draws as many as wanted.
"""

import pathlib
import runpy

import numpy as np
import pytest

import keras_jft as jft

pytestmark = pytest.mark.slow

SCRIPT = pathlib.Path(__file__).parents[2] / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module")
def measure():
    return runpy.run_path(str(SCRIPT))["measure"]


@pytest.mark.parametrize("family", jft.scaling.LAWS)
def test_95_percent_intervals_hold_a_run_at_ten_times_more(family, measure):
    rows = [measure(family, seed) for seed in range(20)]
    # Were it 95%, fewer than 16 of 20 would be held once in 390 times; all
    # would be held by an interval that says nothing, from 0 to 100 points.
    assert sum(row["held"] for row in rows) >= 16
    assert np.median([row["width"] for row in rows]) < 20
