"""Histograms against NumPy on the numbers themselves."""

import numpy as np
import pytest

from keras_jft.data.statistics.counts import QUANTILES, Histogram


def test_a_histogram_knows_what_numpy_does_of_the_numbers(rng):
    numbers = rng.poisson(3, 1_003)
    seen = Histogram()
    for part in np.split(numbers, [10, 10, 500]):
        seen.add(part)
    assert (seen.total, seen.sum) == (len(numbers), numbers.sum())
    assert seen.mean == pytest.approx(numbers.mean())
    assert seen.largest == numbers.max()
    for q in (0, *QUANTILES, 1):
        expected = np.quantile(numbers, q, method="inverted_cdf")
        assert seen.quantile(q) == expected


def test_of_nothing_there_is_no_mean():
    seen = Histogram()
    seen.add([])
    assert (seen.total, seen.sum) == (0, 0)
    assert seen.mean is seen.largest is seen.quantile(0.5) is None
