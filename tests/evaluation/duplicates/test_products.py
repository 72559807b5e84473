import numpy as np
import pytest

from keras_jft.evaluation.duplicates import products


def test_the_bound_of_a_sum_grows_with_its_length():
    # gamma_n = n u / (1 - n u), with u = 2 ** -24.
    assert products._accumulation(1) == pytest.approx(2**-24)
    assert products._accumulation(2048) == pytest.approx(1.2209e-4, rel=1e-3)


def test_pairs_are_multiplied_in_double_precision():
    one, other = np.float32([[1, 1e-8]]), np.float32([[1, 1]])
    assert products.exact(one, other)[0] > 1
