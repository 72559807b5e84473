"""What is known of learning curves before any run: a small learned table.

`prior.json` was learned from curves of many data sets by `benchmarks/prior.py`,
which says how. Equation numbers are those of `docs/forecasts.md`.

Shapes: k shapes of a family, q parameters per shape, c cells.
"""

import dataclasses
import functools
import json
import pathlib

import numpy as np
from scipy import special, stats

from keras_jft.scaling.law.families import LAWS

TABLE = pathlib.Path(__file__).with_name("prior.json")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Prior:
    """Probabilities of families, shapes, deviations and noise.

    Attributes:
        families: `{law name: probability}`.
        shapes: `{law name: (mean, standard deviation)}` of the logarithms of
            its shape parameters, two lists of length q each (equation 8).
        ratio: `(c,)` variance of the smooth deviation from the law, divided by
            the variance of a run (equation 7).
        cells: `(c,)` probability of each cell.
        noise: `(c,)` standard deviation of a run in that cell, as a share of
            the rise over the sizes (equation 9).
        df: `(c,)` degrees of freedom of that variance.
        shared: `{share: probability}` of the part of a run's variance that all
            runs of one size have in common.
        falls: `{exponent: probability}`: the variance of a run is
            proportional to size^-exponent.
    """

    families: dict
    shapes: dict
    ratio: np.ndarray
    cells: np.ndarray
    noise: np.ndarray
    df: np.ndarray
    shared: dict
    falls: dict

    def log_density(self, name, shapes):
        """Return `(k,)` log densities of shapes, over their logarithms."""
        low, high = LAWS[name].box.T
        if name not in self.shapes:  # Uniform over the ranges.
            return np.full(len(shapes), -np.log(high - low).sum())
        mean, spread = map(np.asarray, self.shapes[name])
        # A normal distribution, cut off at the ends of the ranges.
        ends = (np.stack([low, high]) - mean) / spread
        inside = np.log(np.diff(special.ndtr(ends), axis=0)).sum()
        return stats.norm.logpdf(np.log(shapes), mean, spread).sum(1) - inside

    def without_other_curves(self):
        """Return the prior that has learned no shapes: all are as likely."""
        return dataclasses.replace(self, shapes={})


@functools.cache
def learned():
    """Return the `Prior` of the package."""
    return read(TABLE)


def read(path):
    """Return the `Prior` in a file."""
    table = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    ratio, odds, noise, df = np.array(table["cells"], np.float64).T
    return Prior(
        families=_summing_to_one(table["families"]),
        shapes=table["shapes"],
        ratio=ratio,
        cells=odds / odds.sum(),
        noise=noise,
        df=df,
        shared=_summing_to_one(dict(table["shared"])),
        falls=_summing_to_one(dict(table["falls"])),
    )


def _summing_to_one(odds):
    """Return probabilities, which were rounded in the file."""
    total = sum(odds.values())
    return {key: value / total for key, value in odds.items()}


def write(prior, path):
    """Write a `Prior` to a file, with four digits."""

    def short(value):
        return float(f"{value:.4g}")

    table = {
        "families": {n: short(p) for n, p in prior.families.items()},
        "shapes": {
            name: [[short(v) for v in part] for part in parts]
            for name, parts in prior.shapes.items()
        },
        "cells": [
            list(map(short, cell))
            for cell in zip(
                prior.ratio, prior.cells, prior.noise, prior.df, strict=True
            )
        ],
        "shared": [list(map(short, pair)) for pair in prior.shared.items()],
        "falls": [list(map(short, pair)) for pair in prior.falls.items()],
    }
    pathlib.Path(path).write_text(_rows(table), encoding="utf-8")


def _rows(table):
    """Return JSON text with one line per innermost list."""
    parts = []
    for key, value in table.items():
        items = value.items() if isinstance(value, dict) else enumerate(value)
        named = isinstance(value, dict)
        lines = [
            f"    {json.dumps(k) + ': ' if named else ''}{json.dumps(v)}"
            for k, v in items
        ]
        ends = "{}" if named else "[]"
        body = ",\n".join(lines)
        parts.append(f"  {json.dumps(key)}: {ends[0]}\n{body}\n  {ends[1]}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
