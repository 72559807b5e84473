"""Learning curves that are known to their end, and forecasts to make of them.

Shared code of `prior.py`, `backtest.py` and `sequential.py`. Four sources:

`"own"`: the 81 curves of `learning_curves.py`.

`"image"`: published curves of image classification by pre-trained nets, one run
a size (Alabdulmohsin et al. 2022, "Revisiting Neural Scaling Laws in Language
and Vision",
https://github.com/google-research/google-research/tree/master/revisiting_neural_scaling_laws):
72 curves in `data/benchmark.vision.csv`, or some of them in a file with the
columns task, model, seen_examples, error and shown.

`"language"`: losses of the same publication, in `data/benchmark.lang.csv`: 5
translation models, 5 language models and 10 tasks of BIG-bench. Rows that are
there several times count once.

`"lcdb"`: accuracies of 20 classical learners on tabular data sets of OpenML
(Mohr et al. 2022, "LCDB 1.0: An Extensive Learning Curves Database for
Classification Tasks"), in the source distribution of the package `lcdb`:

    pip download lcdb==0.1.0 --no-deps --no-binary :all:
"""

import dataclasses
import tarfile

import learning_curves
import numpy as np
import pandas as pd

from keras_jft.scaling.law.law import Evidence

LCDB = "lcdb-0.1.0/lcdb/database-accuracy.csv"
LCDB_SEEDS = 3
LCDB_CURVES = 60


# === Curves ===


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """Scores of one curve.

    Attributes:
        name: Its name.
        data: The data set that it is of.
        source: `"own"`, `"image"`, `"language"`, `"lcdb, odd"` or `"lcdb,
            even"`.
        sizes: `(m,)` sizes.
        runs: `(m, seeds)` scores: accuracies as fractions, or losses.
        shown: `(m,)` which sizes its publication shows to a fit.
    """

    name: str
    data: str
    source: str
    sizes: np.ndarray
    runs: np.ndarray
    shown: np.ndarray

    @property
    def bounds(self):
        """Lowest and highest possible score."""
        return (0.0, np.inf) if self.direction == "min" else (0.0, 1.0)

    @property
    def direction(self):
        """`"max"` if higher scores are better, `"min"` if lower ones are."""
        return "min" if self.source == "language" else "max"


def own_curves():
    """Return the `Curve`s of `learning_curves.py`."""
    table = pd.DataFrame(learning_curves.read())
    found = []
    for name, part in table.groupby("curve", sort=False):
        wide = part.pivot(
            index="num_examples", columns="seed", values="accuracy"
        )
        kind = "digits" if name.startswith("digits") else "tiny_imagenet"
        found.append(
            Curve(
                name=name,
                data=kind,
                source="own",
                sizes=wide.index.to_numpy(float),
                runs=wide.to_numpy(float),
                shown=np.arange(len(wide)) < len(wide) - 1,
            )
        )
    return found


def image_curves(path):
    """Return the published `Curve`s of image classification in a file."""
    table = _read_published(path)
    return [
        Curve(
            name=f"{task} {model}",
            data=task.rpartition("_")[0],  # Without the number of shots.
            source="image",
            sizes=part["seen_examples"].to_numpy(float),
            runs=1 - part[["error"]].to_numpy(float),
            shown=part["shown"].to_numpy(bool),
        )
        for (task, model), part in table.groupby(["task", "model"])
    ]


def language_curves(path):
    """Return the published `Curve`s of losses of language models in a file."""
    table = _read_published(path).drop_duplicates()
    return [
        Curve(
            name=f"{task} {model}",
            data=domain,
            source="language",
            sizes=part["seen_examples"].to_numpy(float),
            runs=part[["error"]].to_numpy(float),
            shown=part["shown"].to_numpy(bool),
        )
        for (domain, task, model), part in table.groupby(
            ["domain", "task", "model"]
        )
    ]


def _read_published(path):
    """Return the rows of a file of published curves, by size."""
    names = {
        "Domain": "domain",
        "Task": "task",
        "Model": "model",
        "Seen Examples": "seen_examples",
        "Loss": "error",
        "Training": "shown",
    }
    table = pd.read_csv(path, dtype={"Model": str, "model": str})
    return table.rename(columns=names).sort_values("seen_examples")


def lcdb_curves(path, odd=True, seed=0):
    """Return 60 `Curve`s of LCDB, one of each of 60 data sets.

    Their runs are those with inner seeds 0, 1 and 2 of the first split (outer
    seed 0), on test data, at sizes where there are all three. The curve of a
    learner on a data set is eligible if at least four sizes are at most a tenth
    of its largest, and span as large a factor as the forecast is for, since a
    verdict is only given as far as the sizes span. Of the data sets, in an
    order drawn with the seed, the first 60 are taken; of each, the curve of a
    drawn learner.

    Args:
        path: The file `lcdb-0.1.0.tar.gz`.
        odd: Whether data sets have odd numbers at OpenML, else even ones.
        seed: Seed of the draw.
    """
    with tarfile.open(path) as archive:
        columns = ["openmlid", "learner", "size_train"]
        seeds = ["outer_seed", "inner_seed"]
        table = pd.read_csv(
            archive.extractfile(LCDB),
            usecols=[*columns, *seeds, "score_test"],
        )
    table = table[
        (table["openmlid"] % 2 == odd)
        & (table["outer_seed"] == 0)
        & (table["inner_seed"] < LCDB_SEEDS)
    ]
    runs = table.pivot_table(
        index=columns, columns="inner_seed", values="score_test"
    ).dropna()
    eligible = {}
    for (data, learner), part in runs.groupby(level=[0, 1]):
        curve = Curve(
            name=f"{data} {learner}",
            data=f"openml {data}",
            source=f"lcdb, {'odd' if odd else 'even'}",
            sizes=part.index.get_level_values(2).to_numpy(float),
            runs=part.to_numpy(float),
            shown=np.ones(len(part), bool),
        )
        task = ten_times(curve)
        if task and task.sizes[-1] ** 2 >= task.sizes[0] * curve.sizes[-1]:
            eligible.setdefault(data, []).append(curve)
    rng = np.random.default_rng(seed)
    return [
        eligible[data][rng.integers(len(eligible[data]))]
        for data in rng.permutation(sorted(eligible))[:LCDB_CURVES]
    ]


# === Tasks ===


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """A forecast to make: some sizes of a curve, and what lies beyond.

    Attributes:
        curve: The `Curve`.
        sizes: `(m,)` sizes that a forecast sees.
        runs: `(m, seeds)` their scores.
        far: `(p,)` sizes to be forecast.
        truth: `(p, seeds)` their scores.
    """

    curve: Curve
    sizes: np.ndarray
    runs: np.ndarray
    far: np.ndarray
    truth: np.ndarray


def ten_times(curve, sizes=None, seeds=1):
    """Return the `Task` of a tenth of a curve, or None if it is too short.

    Args:
        curve: A `Curve`.
        sizes: Number of sizes that the forecast sees, evenly on a log scale;
            None for all.
        seeds: Number of seeds that it sees; None for all.
    """
    largest = curve.sizes[-1]
    near = np.flatnonzero(curve.sizes <= largest / 10 * (1 + 1e-9))
    if len(near) < 4 or curve.sizes[near[-1]] < 3 * curve.sizes[0]:
        return None
    near = near[_evenly(curve.sizes[near], sizes)]
    far = np.flatnonzero(curve.sizes >= largest / 1.1)[-5:]
    return Task(
        curve=curve,
        sizes=curve.sizes[near],
        runs=curve.runs[near][:, :seeds],
        far=curve.sizes[far],
        truth=curve.runs[far],
    )


def as_published(curve):
    """Return the `Task` that the publication of a curve sets."""
    return Task(
        curve=curve,
        sizes=curve.sizes[curve.shown],
        runs=curve.runs[curve.shown],
        far=curve.sizes[~curve.shown],
        truth=curve.runs[~curve.shown],
    )


def _evenly(sizes, count):
    """Return positions of `count` sizes, evenly on a logarithmic scale."""
    if count is None or count >= len(sizes):
        return np.arange(len(sizes))
    logs, chosen = np.log(sizes), []
    for place in np.linspace(logs[0], logs[-1], count):
        order = np.argsort(np.abs(logs - place), kind="stable")
        chosen.append(next(i for i in order if i not in chosen))
    return np.sort(chosen)


def evidence_of(sizes, runs):
    """Return the `Evidence` of `(m,)` sizes and `(m, seeds)` scores."""
    return Evidence(
        x=np.repeat(sizes, runs.shape[1]),
        y=runs.ravel(),
        x_name="size",
        y_name="score",
        left_out={},
        hours=np.full(runs.size, np.nan),
    )
