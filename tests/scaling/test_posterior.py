import dataclasses

import numpy as np
import pytest
from made_up_curves import draw, line, of, rows_of
from scipy import special, stats

from keras_jft.scaling import LAWS
from keras_jft.scaling.law import posterior
from keras_jft.scaling.law.fitting import fit_evidence, gather
from keras_jft.scaling.law.prior import learned
from keras_jft.scaling.rows.table import Rows

SIZES = np.geomspace(100, 10_000, 9).round()


def evidence_of(rows):
    return gather(Rows(rows), "num_examples", "top1")


def one_cell(**changed):
    """A prior of one cell: how runs scatter is known but for its scale."""
    known = {
        "ratio": np.array([3.0]),
        "cells": np.array([1.0]),
        "noise": np.array([0.05]),
        "df": np.array([2.0]),
        "shared": {0.5: 1.0},
        "falls": {0.5: 1.0},
    }
    return dataclasses.replace(learned(), **{**known, **changed})


def test_the_evidence_is_the_likelihood_integrated_over_line_and_noise(rng):
    # Two seeds at four sizes. Up to a constant, which two data sets share.
    decades, prior = np.array([0.0, 0.5, 1.0, 1.5]), one_cell()
    z, seeds = np.repeat(decades / 1.5, 2), np.repeat(np.arange(4), 2)
    fall = 10 ** (-0.5 * decades)[seeds]
    alike = seeds[:, None] == seeds
    covariance = (
        3.0 * posterior.kernel(decades, decades)[seeds][:, seeds]
        + 0.5 * np.sqrt(np.outer(fall, fall)) * alike
        + 0.5 * np.diag(fall)
    )
    inverse = np.linalg.inv(covariance)
    a, b, log_variance = np.meshgrid(
        np.linspace(-1, 1, 161),
        np.linspace(0, 2, 161),
        np.linspace(np.log(1e-5), np.log(10), 101),
        indexing="ij",
        sparse=True,
    )
    variance = np.exp(log_variance)
    formula, summed = [], []
    for spread in (0.02, 0.1):
        y = z + rng.normal(0, spread, 8)
        pairs = y.reshape(4, 2)
        runs = posterior.Scaled(
            smallest=100.0,
            decades=decades,
            means=pairs.mean(axis=1),
            counts=np.full(4, 2),
            within=pairs.var(axis=1) * 2,
            shown=4,
            center=0.0,
            unit=1.0,
        )
        found = posterior.integrate(runs, ["log_linear"], prior)
        formula.append(found.log_weights("log_linear").item())
        rest = [y[i] - a - b * z[i] for i in range(8)]
        square = sum(
            inverse[i, j] * rest[i] * rest[j]
            for i in range(8)
            for j in range(8)
        )
        # Eight runs, and the prior of the variance by its logarithm.
        log_density = -4 * log_variance - square / (2 * variance)
        log_density = log_density - log_variance - 0.05**2 / variance
        summed.append(special.logsumexp(log_density))
    assert formula[0] - formula[1] == pytest.approx(
        summed[0] - summed[1], abs=0.01
    )


@pytest.mark.slow
@pytest.mark.parametrize(("count", "seeds"), [(4, 1), (6, 3)])
def test_intervals_of_curves_of_the_prior_hold_95_percent(count, seeds, rng):
    sizes = np.geomspace(100, 3_000, count)
    held, trials = 0, 40
    for _ in range(trials):
        scores = simulated(rng, np.append(sizes, 30_000), seeds)
        law = fit_evidence(
            evidence_of(rows_of(sizes, scores[:-1])), (-np.inf, np.inf)
        )
        low, high = law.prediction_interval(30_000)
        held += low <= scores[-1, 0] <= high
    # What a share of 95% holds in 999 of 1,000 such tests.
    assert held >= stats.binom.ppf(0.001, trials, 0.95)


def simulated(rng, sizes, seeds):
    """Scores `(sizes, seeds)` of a curve drawn from the prior."""
    prior, shown = learned(), len(sizes) - 1
    name = rng.choice(list(prior.families), p=list(prior.families.values()))
    low, high = LAWS[name].box.T
    logs = np.empty(0)
    if len(low):
        mean, spread = map(np.array, prior.shapes[name])
        logs = stats.truncnorm.rvs(
            (low - mean) / spread,
            (high - mean) / spread,
            mean,
            spread,
            random_state=rng,
        )
    r = sizes / sizes[0]
    basis = LAWS[name].columns(r, np.atleast_2d(np.exp(logs)))[0]
    if basis[shown - 1] - basis[0] < 0.01:  # It hardly rises: draw again.
        return simulated(rng, sizes, seeds)
    law = (basis - basis[0]) / (basis[shown - 1] - basis[0])
    cell = rng.choice(len(prior.cells), p=prior.cells)
    df = prior.df[cell]
    variance = prior.noise[cell] ** 2 * df / rng.chisquare(df)
    smooth = posterior.kernel(np.log10(r), np.log10(r))
    bend = rng.multivariate_normal(
        np.zeros(len(r)), variance * prior.ratio[cell] * smooth
    )
    shared = rng.choice(list(prior.shared), p=list(prior.shared.values()))
    falls = rng.choice(list(prior.falls), p=list(prior.falls.values()))
    run = np.sqrt(variance * r**-falls)
    means = law + bend + np.sqrt(shared) * run * rng.standard_normal(len(r))
    own = np.sqrt(1 - shared) * run[:, None]
    return means[:, None] + own * rng.standard_normal((len(r), seeds))


def test_draws_are_lines_about_least_squares(rng):
    scores = draw(rng, line(SIZES), 0, 0.02, seeds=1)
    law = of(rows_of(SIZES, scores), laws=["log_linear"])
    x = np.log10(SIZES)
    slope, intercept = np.polyfit(x, scores[:, 0], 1)
    curves = law.posterior.curves([SIZES[0], SIZES[-1]])
    drawn = curves[1] - curves[0]
    # Half a standard deviation: least squares weighs all sizes the same, the
    # draws also know that noise may fall with size.
    assert drawn.mean() == pytest.approx(2 * slope, abs=0.01)
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
    assert (law.posterior.ab[:, 0] <= 1).all()
    assert (law.posterior.curves(SIZES[-1] * 10) <= 1).all()


def test_a_new_run_scatters_more_than_the_curve(rng):
    found = of(rows_of(SIZES, draw(rng, line(SIZES), 0, 0.02))).posterior
    spread = found.runs(1e3) - found.curves(1e3)
    expected = (found.noise + found.deviation) * found.scatter(1e3)
    assert stats.kstest((spread / np.sqrt(expected))[0], "norm").pvalue > 0.01
    assert stats.kstest(found.standard, "norm").pvalue > 0.01
