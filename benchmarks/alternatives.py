"""More data, more epochs, a bigger net or cleaner labels: which buys most?

Question: from 1,000 noisy images, 4 epochs and the small net, what does each
single change of pre-training bring to transfer on the synthetic world, and what
does a point of it cost in device-hours?

Command:

    python benchmarks/alternatives.py

No training: rows are those of `epochs.py`, `capacity.py`, `label_noise.py` and
`learning_rate.py` (`--rows FILE ...` for others). The hours are those of
training; what images and cleaner labels cost to get is not among them. Prints
the table and writes the figure to figures/alternatives.png.
"""

import argparse
import pathlib
import tempfile

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

import keras_jft as jft
from keras_jft.scaling.figure import LOOKS, PANEL, STYLE

HERE = pathlib.Path(__file__).parent
NAMES = ("epochs", "capacity", "label_noise", "learning_rate")
ROWS = [HERE / "results" / f"{name}.jsonl" for name in NAMES]
BASE = {
    "images": 1_000,
    "epochs": 4,
    "blocks a stage": 1,
    "width": 16,
    "wrong, missing names": "20%, 10%",
    "learning rate": 0.03,
}


def settings(row):
    """What the experiments vary, of a row of the synthetic world."""
    config = row["config"]["pretrain"]
    options = config["options"]
    noise = options.get("wrong_labels", 0.2), options.get("missing_labels", 0.1)
    return {
        "images": config["num_examples"],
        "epochs": config["epochs"],
        "blocks a stage": config["blocks"][0],
        "width": config["width"],
        "wrong, missing names": "{:.0%}, {:.0%}".format(*noise),
        "learning rate": config["learning_rate"],
    }


def gather(rows):
    """Frozen rows of equal epochs with their settings; the base counts once."""
    found = {}
    for row in rows:
        pretrain = row.get("config", {}).get("pretrain", {})
        if (
            "error" in row
            or row["mode"] != "frozen"
            or pretrain["dataset"] != "synthetic"
            or pretrain["epochs"] is None
        ):
            continue
        said = settings(row)
        named = {k: row[k] for k in ("task", "mode", "seed", "top1")}
        hours = {k: row[k] for k in ("device_seconds",) if k in row}
        run = (*said.values(), row["seed"])
        found[run] = {**said, **named, **hours}
    return list(found.values())


def as_text(found):
    """A line a change, the most gain for an hour first."""
    names = ("change", "points", "95% interval", "min", "/h")
    head = "{:44} {:>7} {:>16} {:>6} {:>6}".format(*names)
    return "\n".join([head, *map(_line, found)])


def _line(a):
    change = f"{a.name}: {a.start} -> {a.end}"
    interval = f"{100 * a.low:+.1f} .. {100 * a.high:+.1f}"
    per_hour = "" if np.isnan(a.per_hour) else f"{100 * a.per_hour:+.0f}"
    return (
        f"{change:44} {100 * a.gain:+7.1f} {interval:>16} "
        f"{60 * a.hours:+6.2f} {per_hour:>6}"
    )


def plot(found):
    """Gain of each change, with its interval, against what it costs."""
    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(
            figsize=(1.6 * PANEL[0], PANEL[1]), layout="constrained"
        )
        ordered = sorted(found, key=lambda a: a.gain)
        at = np.arange(len(ordered))
        gains = np.array([100 * a.gain for a in ordered])
        low = np.array([100 * a.low for a in ordered])
        ax.barh(
            at,
            gains,
            0.6,
            color=LOOKS[0][0],
            xerr=np.nan_to_num(gains - low),
            error_kw={"lw": 0.8},
        )
        names = [
            f"{a.name}: {a.start} to {a.end} ({60 * a.hours:+.1f} min)"
            for a in ordered
        ]
        ax.set_yticks(at, names)
        ax.tick_params(axis="y", length=0)
        ax.axvline(0, color="black", lw=0.6)
        ax.grid(axis="x", alpha=0.25, linewidth=0.5)
        ax.set_xlabel("Points gained, with the 95% interval")
        ax.set_title("One change each; in brackets what a run takes more")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=pathlib.Path, nargs="+", default=ROWS)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name) if arguments.smoke else HERE
        rows = [
            row
            for path in arguments.rows
            if path.exists()
            for row in jft.scaling.read_rows(path)
        ]
        found = jft.scaling.alternatives(gather(rows), BASE)
        print(as_text(found))
        (folder / "figures").mkdir(exist_ok=True)
        plot(found).savefig(folder / "figures" / "alternatives.png", dpi=120)


if __name__ == "__main__":
    main()
