"""Does a study that stops when its verdict is settled reach the same verdict?

Question: `Study(until="decided")` stops when the runs that are left would not
change the verdict. How often is it the verdict of the whole grid, and how many
of its device-hours does it take?

Data: the 36 published image curves of `known_curves.py`, as grids of nine sizes
over their last two decades with three seeds, which are drawn about a smoothed
curve with its own scatter since each was published with one run. Every curve is
asked whether ten and three times more data bring more than 0 and 2 points. Runs
take hours in proportion to their size, and a fixed fiftieth of those of the
largest.

Command:

    python benchmarks/sequential.py --image-curves FILE

Rows go to results/sequential.jsonl, from which `make figures` draws
figures/sequential.png; what is done is not done again. `--smoke` asks about one
curve.

Result (shares in percent; hours of those of the grid):

    more data   verdict of the grid   questions   the same   hours
    10 times    all                          72       97.2    53.4
                collect                       7       85.7    75.0
                not enough evidence          65       98.5    51.0
    3 times     all                          72       97.2    59.9
                collect                      23       95.7    57.3
                do not collect                2      100.0    61.8
                not enough evidence          47       97.9    61.1

Of 36 verdicts, 35 are those of the grid, for 53 to 60% of its hours. The rule
was developed on every other curve in the order of their names, where 94.4 and
94.4% are the same; on the others, all are. A study stops at 98%: at 95% it took
46 and 47% of the hours, and 91.7 and 90.3% were the same, so that its
probabilities are somewhat too sure. The 98% was chosen on seeing these curves,
all of them: no curve is left that it was not chosen on. In the four that
differ, the interval of the grid begins within half a point of what is asked
for. No "collect" became "do not collect", or the other way round.

Cost: 6 minutes on one core of an AMD EPYC.
"""

import argparse
import dataclasses
import pathlib

import known_curves
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import keras_jft as jft

HERE = pathlib.Path(__file__).parent
# Factors and worths that every curve is asked about.
QUESTIONS = ((10, 0.0), (10, 0.02), (3, 0.0), (3, 0.02))
SIZES, SEEDS = 9, 3
DECADES = 2.0  # That a grid of a published curve spans.
SMOOTH = 0.15  # Decades over which such a curve is smoothed.
FIXED = 0.02  # Hours of any run, by those of the largest.
TOLD = {10: "ten times more data", 3: "three times more data"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """One run of a grid."""

    num_examples: float
    seed: int


def grid(curve):
    """Return `{Config: row}` of the runs of a curve's grid."""
    sizes, runs = _drawn(curve)
    return {
        Config(num_examples=float(size), seed=seed): {
            "num_examples": float(size),
            "seed": seed,
            "accuracy": float(score),
            "device_seconds": 3600 * (FIXED + size / sizes[-1]),
        }
        for seed in range(SEEDS)
        for size, score in zip(sizes, runs[:, seed], strict=True)
    }


def _drawn(curve):
    """Return sizes and scores about a smoothed curve of single runs."""
    logs, scores = np.log10(curve.sizes), curve.runs[:, 0]
    places = np.linspace(max(logs[0], logs[-1] - DECADES), logs[-1], SIZES)
    means = []
    for place in places:
        # A line through the neighbors, weighted by their distance.
        weights = np.exp(-(((logs - place) / SMOOTH) ** 2) / 4)
        means.append(np.polyfit(logs - place, scores, 1, w=weights)[1])
    # Scatter about the line between neighbors, without outliers.
    off = scores[1:-1] - (scores[:-2] + scores[2:]) / 2
    noise = 1.4826 * np.median(np.abs(off)) / np.sqrt(1.5)
    rng = np.random.default_rng(0)
    drawn = rng.normal(0, noise, (SIZES, SEEDS)) + np.array(means)[:, None]
    return np.round(10**places), drawn.clip(0, 1)


def replay(runs, factor, worth):
    """Return both verdicts, and what the part takes of the whole.

    Args:
        runs: `{Config: row}`.
        factor: As for `jft.scaling.forecast`.
        worth: Likewise.
    """
    question = jft.scaling.Decided(
        factor=factor, worth=worth, y="accuracy", bounds=(0, 1)
    )
    done = []
    for config in question.in_order(list(runs), lambda: done, lambda _: False):
        done.append(runs[config])
    whole, part = (question.sheet(r) for r in ([*runs.values()], done))
    hours = [
        sum(row["device_seconds"] for row in r)
        for r in (done, [*runs.values()])
    ]
    return {
        "whole": whole.verdict,
        "part": part.verdict,
        "runs": len(done),
        "hours": round(hours[0] / hours[1], 4),
        "gain": round(whole.gain, 5),
        "low": round(whole.gain_low, 5),
        "high": round(whole.gain_high, 5),
    }


def run(curves, path=None):
    """Replay curves at every worth; return all rows so far."""
    done = jft.scaling.read_rows(path) if path and path.exists() else []
    names = "curve", "factor", "worth"
    asked = {tuple(row[name] for name in names) for row in done}
    for curve in curves:
        for factor, worth in QUESTIONS:
            question = curve.name, factor, worth
            if question in asked:
                continue
            found = replay(grid(curve), factor, worth)
            row = dict(zip(names, question, strict=True)) | found
            done.append(row)
            if path:
                jft.scaling.append_row(path, row)
    return done


def table(rows):
    """Return agreement and hours by factor and verdict of the whole grid."""
    rows = pd.DataFrame(rows)
    rows = rows.assign(same=100 * (rows["whole"] == rows["part"]))
    rows["hours"] *= 100
    kinds = [
        rows,
        rows.assign(whole="decided")[rows["whole"] != "not enough evidence"],
    ]
    found = []
    for part in (kinds[0].assign(whole="all"), kinds[1], rows):
        groups = part.groupby(["factor", "whole"], sort=False)
        found.append(
            groups.agg(
                questions=("same", "size"),
                same=("same", "mean"),
                runs=("runs", "mean"),
                hours=("hours", "mean"),
            )
        )
    return pd.concat(found).round(1).to_string()


def plot(rows):
    """Plot the share of hours that verdicts take, and which verdicts change."""
    rows = pd.DataFrame(rows)
    figure, panels = plt.subplots(
        ncols=2, figsize=(8.4, 4.2), sharey=True, layout="constrained"
    )
    for ax, (factor, told) in zip(panels, TOLD.items(), strict=True):
        part = rows[rows["factor"] == factor]
        for verdict, color in (
            ("collect", "#009E73"),
            ("do not collect", "#D55E00"),
            ("not enough evidence", "#999999"),
        ):
            own = part[part["whole"] == verdict]
            if own.empty:
                continue
            same = (own["whole"] == own["part"]).mean()
            hours = np.sort(100 * own["hours"])
            ax.step(
                hours,
                100 * np.arange(1, len(hours) + 1) / len(hours),
                where="post",
                color=color,
                label=f"{verdict}: {len(own)}, {same:.0%} the same",
            )
        ax.axvline(100 * part["hours"].mean(), color="k", lw=0.8, ls=":")
        ax.set(title=told, xlabel="device-hours of the grid (%)", xlim=(0, 100))
        ax.legend(
            frameon=False,
            fontsize=8,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.2),
        )
        ax.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("questions that are settled (%)")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-curves", type=pathlib.Path)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        print(table(run(known_curves.own_curves()[:1])))
        return
    curves = known_curves.image_curves(arguments.image_curves)
    print(table(run(curves, HERE / "results" / "sequential.jsonl")))


if __name__ == "__main__":
    main()
