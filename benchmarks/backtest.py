"""Would the forecasts have been right on real learning curves? A back-test.

Question: the largest decade of learning curves is hidden and forecast from 4,
5, 6, 9 or all of the sizes below it. How large are the errors, and how often do
the 95% prediction intervals hold the measured scores, compared with the peers:
the last value, the line of Sun et al. 2017, and the published laws, each fitted
by least squares (a power law with a floor; M3 and M4 of Alabdulmohsin et al.
2022; the broken power law of Caballero et al. 2023)?

Data: the curves of `prior.py`. The prior of a forecast is learned without any
curve of the data set that it is tested on.

Command:

    python benchmarks/backtest.py --image-curves FILE

Rows go to results/backtest.jsonl, from which `make figures` draws
figures/backtest.png; data sets that are done are not done again. `--data bird`
tests on one data set.

Result on the 36 published curves, one run per size (mean error in points of
accuracy, of forecasts ten times further unless said otherwise):

    sizes shown       4     5     6     9    all   as published
    last value      14.1  14.1  14.1  14.1  13.5       2.17
    line            14.8  15.2  15.5  16.3  18.5       9.21
    power + floor   11.5  11.3  11.9  12.6  13.7       3.75
    M3               9.3   9.4   9.7  10.1  10.6       1.68
    M4               6.5   5.7   4.9   4.7   3.9       1.17
    broken power     6.6   6.3   5.0   4.7   3.2       1.09
    keras_jft        2.7   3.2   2.8   3.3   2.7       0.78
      held (%)       100   100   100   100    97         74
      width         31.4  26.7  24.5  19.7  16.7       2.14
      interval score 31.4 26.7  24.5  19.7  17.0       7.74

As published, the root mean square of the logarithm of predicted by true error
is 0.033 on average (broken power law: 0.042). No interval of a gain was wholly
on the wrong side of 0. Only where all 12 to 71 sizes of one run are shown and
the forecast is near are the intervals too narrow: the checkpoints of a run
scatter together, which separate runs do not.

Calibration ten times further: measured scores held by intervals of a level (%),

    level      4 sizes   5   6   9  all
    50              84  69  69  56   41
    80             100 100  94  75   83
    90             100 100 100 100   90
    95             100 100 100 100  100

so with few sizes the intervals are wider than need be: the curves are of one
kind, and alike, which four sizes of one of them do not show.
"""

import argparse
import pathlib

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import prior as prior_lib

import keras_jft as jft
from keras_jft.scaling.law import fitting
from keras_jft.scaling.law.families import LAWS, Family

HERE = pathlib.Path(__file__).parent
COUNTS = (4, 5, 6, 9, None)  # Number of sizes shown; None for all.
BOUNDS = prior_lib.BOUNDS
OURS = "keras_jft"
LEVELS = np.linspace(0.05, 0.95, 19)
# Alabdulmohsin et al. 2022, M3: error = floor + beta (1 / x + gamma)^c.
M3 = Family(
    title="M3",
    basis=lambda r, c, gamma: -((1 / r + gamma) ** c),
    ranges=((0.02, 2.0), (1e-8, 1.0)),
    grid_size=512,
    saturates=True,
    names=(),
    published=None,
)
PEERS = {
    "last value": None,
    "line": LAWS["log_linear"],
    "power + floor": LAWS["power"],
    "M3": M3,
    "M4": LAWS["m4"],
    "broken power": LAWS["broken_power"],
}


def tasks_of(curve):
    """Yield `(set name, number of sizes, seeds, Task)` of a curve."""
    for count in COUNTS:
        for seeds in {1, curve.runs.shape[1]}:
            task = prior_lib.ten_times(curve, count, seeds)
            # "All" says nothing new of a curve with nine sizes.
            if task and (count or len(task.sizes) > 9):
                yield "ten times", count or "all", seeds, task
    if curve.source == "image":
        yield "as published", "all", 1, prior_lib.as_published(curve)


def least_squares(family, task):
    """Return the scores that a peer predicts, and its error on what it saw."""
    means = task.runs.mean(axis=1)
    if family is None:
        return np.full(len(task.far), means[-1])
    smallest, weights = task.sizes[0], np.ones(len(means))
    r = task.sizes / smallest
    # Start from the best shape of a grid whose law ends within bounds.
    best, least = family.shapes[0], np.inf
    basis = family.columns(r, family.shapes)
    for shape, values in zip(family.shapes, basis, strict=True):
        if np.ptp(values) < 1e-6:
            continue
        b, a = np.polyfit(values, means, 1)
        square = ((means - a - b * values) ** 2).sum()
        within = BOUNDS[0] <= a <= BOUNDS[1] or not family.saturates
        if within and square < least:
            best, least = shape, square
    shape, (a, b) = family.refine(r, means, weights, best)
    far = family.columns(task.far / smallest, shape[None])[0]
    return np.clip(a + b * far, *BOUNDS)


def measure(task, prior):
    """Yield a row per peer and ours: errors in points, and intervals."""
    truth = 100 * task.truth
    for name, family in PEERS.items():
        score = 100 * least_squares(family, task)
        yield {"law": name, **_errors(score, truth)}
    data = prior_lib.evidence_of(task.sizes, task.runs)
    law = fitting.fit_evidence(data, BOUNDS, prior=prior)
    low, high = (100 * v[:, None] for v in law.prediction_interval(task.far))
    missed = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    draws = 100 * np.clip(law.posterior.runs(task.far), *BOUNDS)
    # Where a measured score lies among the runs that were drawn.
    rank = (draws[:, None] < truth[..., None]).mean(axis=2)
    rank += (draws[:, None] == truth[..., None]).mean(axis=2) / 2
    gain = law.gain_at(task.far[-1] / task.sizes[-1])
    gained = truth[-1].mean() - 100 * law.predict(task.sizes[-1])
    yield {
        "law": OURS,
        **_errors(100 * law.predict(task.far), truth),
        "held": 100 * (missed == 0).mean(),
        # Gneiting and Raftery 2007, equation 43; lower is better.
        "interval score": (high - low + 2 / 0.05 * missed).mean(),
        "width": (high - low).mean(),
        "rank": float(rank[-1].mean()),
        "measured": truth[-1].mean(),
        "forecast": 100 * law.predict(task.far[-1]),
        "low": low[-1].item(),
        "high": high[-1].item(),
        "decided": bool(gain.low > 0 or gain.high < 0),
        "wrong": bool(
            (gain.low > 0 and gained < 0) or (gain.high < 0 and gained > 0)
        ),
    }


def _errors(score, truth):
    off = score - truth.mean(axis=1)
    logs = np.log(np.maximum(100 - score, 0.01))
    logs -= np.log(np.maximum(100 - truth.mean(axis=1), 0.01))
    return {
        "error": np.abs(off).mean(),
        "bias": off.mean(),
        "rmsle": np.sqrt((logs**2).mean()),
    }


def table(rows):
    """Return means over curves, by set, number of sizes, seeds and law."""
    groups = pd.DataFrame(rows).groupby(
        ["set", "source", "sizes", "seeds", "law"]
    )
    found = groups.agg(
        curves=("error", "size"),
        MAE=("error", "mean"),
        median=("error", "median"),
        bias=("bias", "mean"),
        RMSLE=("rmsle", "mean"),
        held=("held", "mean"),
        score=("interval score", "mean"),
        width=("width", "mean"),
        decided=("decided", "mean"),
        wrong=("wrong", "mean"),
    )
    return found.round(3)


def plot(rows):
    """Plot forecasts against scores, and how often intervals hold them."""
    rows = pd.DataFrame(rows)
    ours = rows[(rows["law"] == OURS) & (rows["set"] == "ten times")]
    figure, (left, right) = plt.subplots(
        ncols=2, figsize=(8.4, 4.4), layout="constrained"
    )
    four = ours[ours["sizes"].astype(str) == "4"]
    left.errorbar(
        four["measured"],
        four["forecast"],
        np.stack(
            [four["forecast"] - four["low"], four["high"] - four["forecast"]]
        ).clip(0),
        fmt="o",
        ms=3,
        lw=0.7,
        color="#0072B2",
        ecolor="#0072B266",
    )
    left.set_xlabel("accuracy measured with ten times more (%)")
    left.set_ylabel("forecast from four sizes, 95% interval (%)")
    for sizes, part in ours.groupby("sizes"):
        off = (part["rank"] - 0.5).abs().to_numpy()
        held = (off[:, None] <= LEVELS / 2).mean(axis=0)
        right.plot(100 * LEVELS, 100 * held, lw=1.3, label=f"{sizes} sizes")
    right.set_xlabel("level of the interval (%)")
    right.set_ylabel("measured scores that it holds (%)")
    right.legend(frameon=False, fontsize=8)
    for ax in (left, right):
        ax.axline((0, 0), slope=1, color="gray", lw=0.8)
        ax.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def run(curves, data, path=None):
    """Test on the curves of some data sets; return all rows so far."""
    done = jft.scaling.read_rows(path) if path and path.exists() else []
    tested = {row["data"] for row in done}
    for name in data:
        if name in tested:
            continue
        prior = prior_lib.learn([c for c in curves if c.data != name])
        rows = [
            {
                "data": name,
                "source": curve.source,
                "curve": curve.name,
                "set": kind,
                "sizes": str(count),
                "seeds": seeds,
                **{k: _short(value) for k, value in row.items()},
            }
            for curve in curves
            if curve.data == name
            for kind, count, seeds, task in tasks_of(curve)
            for row in measure(task, prior)
        ]
        done += rows
        if path:
            for row in rows:
                jft.scaling.append_row(path, row)
    return done


def _short(value):
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-curves", type=pathlib.Path)
    parser.add_argument("--data", nargs="+", help="data sets to test on")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    curves = prior_lib.own_curves()
    if arguments.image_curves:
        curves += prior_lib.image_curves(arguments.image_curves)
    if arguments.smoke:
        digits = [c for c in curves if c.data == "digits"][:1]
        curves = [*digits, *[c for c in curves if c.data != "digits"][:2]]
        arguments.data = ["digits"]
    names = arguments.data or sorted({curve.data for curve in curves})
    path = None if arguments.smoke else HERE / "results" / "backtest.jsonl"
    rows = run(curves, names, path)
    print(table(rows).to_string())
    plot(rows)


if __name__ == "__main__":
    main()
