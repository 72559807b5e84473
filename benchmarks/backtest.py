"""Would the forecasts have been right on real learning curves? A back-test.

Question: the largest decade of learning curves is hidden and forecast from 4,
5, 6, 9 or all of the sizes below it. How large are the errors, and how often do
the 95% prediction intervals hold the measured scores, compared with the peers:
the last value, the line of Sun et al. 2017, and the published laws, each fitted
by least squares (a power law with a floor; M3 and M4 of Alabdulmohsin et al.
2022; the broken power law of Caballero et al. 2023)?

Data: the curves of `known_curves.py`. Those of image classification are among
what the prior was learned from, so it is learned again for each data set,
without its curves. The tabular data sets of LCDB, of which 60 have odd and 60
even numbers at OpenML, and the losses of language models are kinds of curves
that it has not seen. LCDB has three seeds per size.

Command:

    python benchmarks/backtest.py --image-curves FILE --data bird ...
    python benchmarks/backtest.py --lcdb lcdb-0.1.0.tar.gz \\
        --language benchmark.lang.csv --data BB ...

Rows go to results/backtest.jsonl, from which `make figures` draws
figures/backtest.png; data sets that are done are not done again. `--data` names
data sets; without it all are tested.

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

With a prior that was learned from the other source of curves alone, ten times
further with one run per size:

                       36 published curves         81 of our own
    sizes shown         4      9    all              4      9
    error             1.9    2.7    2.8            3.2    3.0
    held (%)          100    100     96             89     91
    width            38.7   21.2   16.9           12.8   14.6
    interval score   38.7   21.2   18.2           20.9   20.4

Result on 60 curves of LCDB with odd numbers, ten times further (errors are the
median over curves, since a few that turn or jump dominate the mean; worth 0):

    sizes shown             4     all     even numbers: 4     all
    last value           1.48    1.48                3.51    3.51
    line                 3.53    4.11                4.50    4.95
    power + floor        2.29    2.43                1.64    2.29
    M3                   1.47    2.01                1.78    1.68
    M4                   2.15    1.96                2.14    1.95
    broken power         1.73    1.75                2.45    1.67
    keras_jft            1.41    1.55                1.88    1.68
      mean error         2.91    2.97                4.00    3.53
      held (%)             90      83                  90      86
      width              16.6    14.2                16.7    13.8
      "collect"             4       9                   1       6
      of these wrong        0       0                   0       0
      "not enough"         56      51                  59      54

and calibration (%), of both sixties:

    level      4 sizes    all
    50         47, 53    50, 52
    80         75, 80    73, 70
    90         78, 88    83, 83
    95         90, 92    85, 90

So on a kind of curve that the prior has never seen, half of the scores lie
within the intervals of 50%, but the intervals of 95% hold only 83 to 90%: their
tails are too thin. What they miss turns after the sizes shown: a dip and a new
rise, a fall after a peak, a rise that has hardly begun. No verdict was wrong.
Most are "not enough evidence", as must be for the 24 (of the even ones 17)
whose score changes by less than a point.

Result on the losses of 20 language models and tasks, one run per size (loss
times 100; as published, and 18 of them ten times further):

                   as published        ten times: 4 sizes      all
                   RMSLE   error       RMSLE   error      RMSLE   error
    last value     0.008    0.54       0.077    4.49      0.077    4.49
    line           0.149    4.40       1.251   11.06      1.301   10.89
    power + floor  0.021    0.89       0.069    2.75      0.067    2.60
    M3             0.009    0.51       0.042    2.10      0.049    2.18
    M4             0.011    0.50       0.570    8.91      0.175    8.63
    broken power   0.013    0.69       0.055    2.80      0.162    8.59
    keras_jft      0.009    0.52       0.046    2.65      0.053    2.91
      held (%)        83                  94                 89

As published, the last value is hard to beat: what is hidden is near, and half
of the curves are of tasks of BIG-bench, whose losses hardly change for long
stretches. There two of twelve "collect" were wrong: the losses ended 0.9 and
0.3 above the fitted curve at the last size shown."""

import argparse
import pathlib

import known_curves
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
OURS = "keras_jft"
# The prior was learned from these; one without the data set that is tested on
# is learned for each. It has seen none of the others.
SEEN = ("own", "image")
PUBLISHED = ("image", "language")
SETS = ("ten times", "as published")
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
    if curve.source in SEEN:
        counts, all_seeds, fewest = COUNTS, {1, curve.runs.shape[1]}, 10
    else:
        counts, all_seeds, fewest = (4, None), {curve.runs.shape[1]}, 4
    for count in counts:
        for seeds in all_seeds:
            task = known_curves.ten_times(curve, count, seeds)
            # "All" says nothing new of a curve with nine sizes.
            if task and (count or len(task.sizes) >= fewest):
                yield "ten times", count or "all", seeds, task
    if curve.source in PUBLISHED:
        yield "as published", "all", 1, known_curves.as_published(curve)


def least_squares(family, task):
    """Return the scores that a peer predicts, and its error on what it saw."""
    means = task.runs.mean(axis=1)
    if family is None:
        return np.full(len(task.far), means[-1])
    smallest, weights = task.sizes[0], np.ones(len(means))
    low, high = task.curve.bounds
    r = task.sizes / smallest
    # Start from the best shape of a grid whose law ends within bounds.
    best, least = family.shapes[0], np.inf
    basis = family.columns(r, family.shapes)
    for shape, values in zip(family.shapes, basis, strict=True):
        if np.ptp(values) < 1e-6:
            continue
        b, a = np.polyfit(values, means, 1)
        square = ((means - a - b * values) ** 2).sum()
        within = low <= a <= high or not family.saturates
        if within and square < least:
            best, least = shape, square
    shape, (a, b) = family.refine(r, means, weights, best)
    far = family.columns(task.far / smallest, shape[None])[0]
    return np.clip(a + b * far, low, high)


def measure(task, prior, peers=PEERS):
    """Yield a row per peer and ours: errors in points, and intervals."""
    curve, truth = task.curve, 100 * task.truth
    for name, family in peers.items():
        score = 100 * least_squares(family, task)
        yield {"law": name, **_errors(score, truth, curve)}
    data = known_curves.evidence_of(task.sizes, task.runs)
    law = fitting.fit_evidence(
        data, curve.bounds, direction=curve.direction, prior=prior
    )
    low, high = (100 * v[:, None] for v in law.prediction_interval(task.far))
    missed = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    draws = 100 * np.clip(law.posterior.runs(task.far), *curve.bounds)
    # Where a measured score lies among the runs that were drawn.
    rank = (draws[:, None] < truth[..., None]).mean(axis=2)
    rank += (draws[:, None] == truth[..., None]).mean(axis=2) / 2
    sheet = jft.scaling.forecast(law, task.far[-1] / task.sizes[-1])
    now = 100 * law.predict(task.sizes[-1])
    gained = law.sign * (truth[-1].mean() - now)
    yield {
        "law": OURS,
        **_errors(100 * law.predict(task.far), truth, curve),
        "held": 100 * (missed == 0).mean(),
        # Gneiting and Raftery 2007, equation 43; lower is better.
        "interval score": (high - low + 2 / 0.05 * missed).mean(),
        "width": (high - low).mean(),
        "rank": float(rank[-1].mean()),
        "measured": truth[-1].mean(),
        "forecast": 100 * law.predict(task.far[-1]),
        "low": low[-1].item(),
        "high": high[-1].item(),
        "decided": bool(sheet.gain_low > 0 or sheet.gain_high < 0),
        "wrong": bool(
            (sheet.gain_low > 0 > gained) or (sheet.gain_high < 0 < gained)
        ),
        # Whether any gain is worth it, and what there was.
        "verdict": sheet.verdict,
        "gained": gained,
    }


def _errors(score, truth, curve):
    off = score - truth.mean(axis=1)
    # What is left to gain: the loss, or one minus the accuracy.
    best = 0 if curve.direction == "min" else 100
    logs = np.log(np.maximum(np.abs(best - score), 0.01))
    logs -= np.log(np.maximum(np.abs(best - truth.mean(axis=1)), 0.01))
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


def verdicts(rows):
    """Return how many curves have which verdict, and how many are wrong."""
    rows = pd.DataFrame(rows).dropna(subset="verdict")
    gained = rows["gained"] > 0
    wrong = (rows["verdict"] == "collect") & ~gained
    wrong |= (rows["verdict"] == "do not collect") & gained
    groups = rows.assign(wrong=wrong).groupby(["set", "source", "sizes"])
    counts = groups["verdict"].value_counts().unstack(fill_value=0)
    return counts.assign(wrong=groups["wrong"].sum())


def plot(rows):
    """Plot forecasts against scores, and how often intervals hold them."""
    rows = pd.DataFrame(rows)
    rows = rows[(rows["law"] == OURS) & rows["set"].isin(SETS)]
    far, seen = rows["set"] == "ten times", rows["source"].isin(SEEN)
    lcdb = rows["source"].str.startswith("lcdb")
    figure, (left, *panels) = plt.subplots(
        ncols=3, figsize=(12.4, 4.4), layout="constrained"
    )
    four = far & (rows["sizes"].astype(str) == "4")
    for name, part, color in (
        ("image classification", rows[four & seen], "#0072B2"),
        ("LCDB", rows[four & lcdb], "#D55E00"),
    ):
        ends = part["forecast"] - part["low"], part["high"] - part["forecast"]
        left.errorbar(
            part["measured"],
            part["forecast"],
            np.stack(ends).clip(0),
            fmt="o",
            ms=3,
            lw=0.7,
            color=color,
            ecolor=f"{color}66",
            label=name,
        )
    left.set_xlabel("accuracy measured with ten times more (%)")
    left.set_ylabel("forecast from four sizes, 95% interval (%)")
    groups = (
        [(f"{n} sizes", p) for n, p in rows[far & seen].groupby("sizes")],
        [
            *((f"LCDB, {n} sizes", p) for n, p in rows[lcdb].groupby("sizes")),
            *(
                (f"losses, {told}", p)
                for told, p in rows[rows["source"] == "language"].groupby("set")
            ),
        ],
    )
    for ax, lines in zip(panels, groups, strict=True):
        for name, part in lines:
            off = (part["rank"] - 0.5).abs().to_numpy()
            held = (off[:, None] <= LEVELS / 2).mean(axis=0)
            ax.plot(100 * LEVELS, 100 * held, lw=1.3, label=name)
        ax.set_xlabel("level of the interval (%)")
        ax.set_ylabel("measured scores that it holds (%)")
    panels[0].set_title("image classification, ten times", fontsize=9)
    panels[1].set_title("kinds that the prior has not seen", fontsize=9)
    for ax in (left, *panels):
        ax.axline((0, 0), slope=1, color="gray", lw=0.8)
        ax.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
        ax.spines[["top", "right"]].set_visible(False)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(frameon=False, fontsize=8)
    return figure


# === Rows ===


def run(curves, data, path=None):
    """Test on the curves of some data sets; return all rows so far."""
    done = jft.scaling.read_rows(path) if path and path.exists() else []
    tested = {row["data"] for row in done}
    for name in data:
        if name in tested:
            continue
        own = [curve for curve in curves if curve.data == name]
        prior = None  # That of the package.
        if own[0].source in SEEN:
            others = [c for c in curves if c.data != name and c.source in SEEN]
            prior = prior_lib.learn(others)
        done += _written(
            path,
            (
                {"data": name, **row}
                for curve in own
                for row in _rows_of(curve, prior)
            ),
        )
    return done


def run_by_source(curves, path=None):
    """Test on each source that the prior has seen, with a prior of the other.

    Args:
        curves: The curves of both.
        path: Where rows are kept.
    """
    done = jft.scaling.read_rows(path) if path and path.exists() else []
    tested = {row["data"] for row in done}
    for source in SEEN:
        name = f"all of {source}"
        if name in tested:
            continue
        prior = prior_lib.learn([c for c in curves if c.source != source])
        done += _written(
            path,
            (
                {"data": name, **row, "set": f"{row['set']}, other source"}
                for curve in curves
                if curve.source == source
                for row in _rows_of(curve, prior, few=True)
            ),
        )
    return done


def _rows_of(curve, prior, few=False):
    """Yield the rows of a curve; if few, without peers and most counts."""
    for kind, count, seeds, task in tasks_of(curve):
        if few and (seeds > 1 or count not in (4, 9, "all")):
            continue
        for row in measure(task, prior, {} if few else PEERS):
            yield {
                "source": curve.source,
                "curve": curve.name,
                "set": kind,
                "sizes": str(count),
                "seeds": seeds,
                **{k: _short(value) for k, value in row.items()},
            }


def _written(path, rows):
    """Return rows, which are appended to a file if there is one."""
    rows = list(rows)
    for row in rows if path else ():
        jft.scaling.append_row(path, row)
    return rows


def _short(value):
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-curves", type=pathlib.Path)
    parser.add_argument("--lcdb", type=pathlib.Path, help="lcdb-0.1.0.tar.gz")
    parser.add_argument("--language", type=pathlib.Path)
    parser.add_argument("--data", nargs="+", help="data sets to test on")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    curves = known_curves.own_curves()
    if arguments.image_curves:
        curves += known_curves.image_curves(arguments.image_curves)
    if arguments.language:
        curves += known_curves.language_curves(arguments.language)
    if arguments.lcdb:
        curves += known_curves.lcdb_curves(arguments.lcdb, odd=True)
        curves += known_curves.lcdb_curves(arguments.lcdb, odd=False)
    if arguments.smoke:
        digits = [c for c in curves if c.data == "digits"][:1]
        curves = [*digits, *[c for c in curves if c.data != "digits"][:2]]
        arguments.data = ["digits"]
    names = arguments.data or sorted({curve.data for curve in curves})
    path = None if arguments.smoke else HERE / "results" / "backtest.jsonl"
    rows = run(curves, names, path)
    if arguments.image_curves and not arguments.data:
        rows = run_by_source([c for c in curves if c.source in SEEN], path)
    print(table(rows).to_string())
    print(verdicts(rows).to_string())
    plot(rows)


if __name__ == "__main__":
    main()
