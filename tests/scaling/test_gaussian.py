"""Roots of covariances, and forecasts that no CPU changes."""

import os
import subprocess
import sys

import numpy as np

from keras_jft.scaling.law.gaussian import symmetric_root

FORECAST = """
import numpy as np
import keras_jft as jft

rows = [
    {"num_examples": n, "seed": seed, "top1": score + 0.01 * seed}
    for n, score in ((300, 0.2), (1_000, 0.31), (3_000, 0.39), (10_000, 0.44))
    for seed in (0, 1)
]
law = jft.scaling.fit(rows, x="num_examples", y="top1")
print(law.predict(1e5), *np.ravel(law.prediction_interval(1e5)))
"""


def test_a_root_times_itself_is_the_covariance(rng):
    thin = rng.standard_normal((6, 2))
    for covariance in (thin @ thin.T, np.eye(6), np.zeros((6, 6))):
        root = symmetric_root(covariance)
        np.testing.assert_allclose(root, root.T, atol=1e-12)
        np.testing.assert_allclose(root @ root, covariance, atol=1e-12)
    # Of rank 2: rounding leaves negative eigenvalues, which have no roots.
    assert np.isfinite(symmetric_root(thin @ thin.T - 1e-14 * np.eye(6))).all()


def test_a_forecast_is_the_same_on_every_cpu():
    # What OpenBLAS takes for CPUs with and without AVX2.
    found = []
    for cpu in ("Haswell", "Nehalem"):
        run = subprocess.run(
            [sys.executable, "-c", FORECAST],
            env={**os.environ, "OPENBLAS_CORETYPE": cpu},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(np.array(run.stdout.split(), float))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)
