import numpy as np
import pytest
from made_up_curves import draw, line, of, rows_of
from scipy import stats

from keras_jft.scaling import LAWS
from keras_jft.scaling.law import evidence, posterior
from keras_jft.scaling.rows.table import Rows

SIZES = np.geomspace(100, 10_000, 9).round()


def evidence_of(rows):
    return evidence.gather(Rows(rows), "num_examples", "top1")


def test_the_evidence_is_the_likelihood_integrated_over_line_and_noise(rng):
    # Two seeds at four sizes; seeds of a size share a deviation of the same
    # variance as their noise. Up to a constant, which two data sets share.
    sizes = np.array([100, 300, 1_000, 3_000])
    z = np.log(sizes / 100) / np.log(30)
    inverse = np.linalg.inv(np.array([[2.0, 1.0], [1.0, 2.0]]))
    # Eight runs: noise^(-8/2), and d noise / noise.
    a, b, log_noise = np.meshgrid(
        np.linspace(0.1, 0.6, 121),
        np.linspace(-0.2, 0.6, 121),
        np.linspace(np.log(1e-5), np.log(1e-1), 121),
        indexing="ij",
        sparse=True,
    )
    formula, summed = [], []
    for spread in (0.02, 0.04):
        scores = draw(rng, line(sizes), 0, spread, seeds=2)
        data = evidence_of(rows_of(sizes, scores))
        grid = posterior.grid_of(LAWS["log_linear"], data)
        (place,) = np.flatnonzero(grid.ratio == 1.0)
        formula.append(grid.log_evidence[place])
        square = (0.003 * np.ptp(data.means)) ** 2
        for size, runs in enumerate(scores):
            rest = [run - a - b * z[size] for run in runs]
            square = square + sum(
                inverse[i, j] * rest[i] * rest[j]
                for i in (0, 1)
                for j in (0, 1)
            )
        noise = np.exp(log_noise)
        summed.append((np.exp(-square / (2 * noise)) * noise**-4.0).sum())
    assert formula[0] - formula[1] == pytest.approx(
        np.log(summed[0] / summed[1]), abs=0.02
    )


def test_draws_are_lines_about_least_squares(rng):
    scores = draw(rng, line(SIZES), 0, 0.02, seeds=1)
    law = of(rows_of(SIZES, scores), laws=["log_linear"])
    x = np.log10(SIZES)
    slope, intercept = np.polyfit(x, scores[:, 0], 1)
    curves = law.posterior.curves([SIZES[0], SIZES[-1]])
    drawn = curves[1] - curves[0]
    assert drawn.mean() == pytest.approx(2 * slope, abs=0.003)
    rest = scores[:, 0] - intercept - slope * x
    variance = rest @ rest / 7 / ((x - x.mean()) ** 2).sum()
    assert drawn.std() / 2 == pytest.approx(np.sqrt(variance), rel=0.3)


def test_noise_and_deviation_are_told_apart_by_seeds(rng):
    quiet = draw(rng, line(SIZES), 0.02, 0.002, seeds=5)
    loud = draw(rng, line(SIZES), 0.0, 0.02, seeds=5)
    for scores, noise, deviates in ((quiet, 0.002, True), (loud, 0.02, False)):
        found = of(rows_of(SIZES, scores), laws=["log_linear"]).posterior
        assert np.median(found.noise) == pytest.approx(noise**2, rel=0.4)
        ratio = np.median(found.deviation) / np.median(found.noise)
        assert (ratio > 10) == deviates


def test_a_law_that_saturates_ends_within_the_bounds(rng):
    scores = draw(rng, 0.99 - 3 * SIZES**-0.5, 0, 0.002)
    law = of(rows_of(SIZES, scores), laws=["power"])
    far = law.posterior.curves(1e30)
    assert (far <= 1).all()


def test_a_new_run_scatters_more_than_the_curve(rng):
    found = of(rows_of(SIZES, draw(rng, line(SIZES), 0, 0.02))).posterior
    spread = found.runs(1e3).var() - found.curves(1e3).var()
    expected = (found.noise + found.deviation).mean()
    assert spread == pytest.approx(expected, rel=0.1)
    assert stats.kstest(found.standard, "norm").pvalue > 0.01
