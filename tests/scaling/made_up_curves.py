"""Rows of made-up curves, shared by the tests of this folder."""

import numpy as np

from keras_jft.scaling import fit

SIZES = np.array([300, 1_000, 3_000, 10_000])


def rows_of(sizes, scores, **columns):
    """One row a size and seed; `scores` is (sizes, seeds)."""
    return [
        {"num_examples": int(size), "seed": seed, "top1": score, **columns}
        for size, row in zip(sizes, np.atleast_2d(scores), strict=True)
        for seed, score in enumerate(np.atleast_1d(row))
    ]


def line(sizes):
    """12 points per decade."""
    return 0.1 + 0.12 * np.log10(sizes)


def draw(rng, means, deviation, noise, seeds=3):
    """Scores (sizes, seeds) about a curve; seeds share the deviation."""
    shared = rng.normal(0, deviation, (len(means), 1))
    own = rng.normal(0, noise, (len(means), seeds))
    return np.asarray(means)[:, None] + shared + own


def of(rows, **arguments):
    """The fit of such rows."""
    return fit(rows, x="num_examples", y="top1", **arguments)
