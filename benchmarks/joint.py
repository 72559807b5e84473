"""More images, a wider net, or more epochs? One law of all three.

Question: for a given number of device-hours, how many images, how wide a net
and how many epochs are best? A net is trained from scratch to tell 25 classes
of Tiny ImageNet apart, on a grid of sizes, widths and epochs.

Command:

    python benchmarks/joint.py --tiny-imagenet DIR

Rows go to results/joint.jsonl, from which `make figures` draws
figures/joint.png; `--dry-run` says what is left to do, `--smoke` does a quick
run on made-up images.

Result (top-1 in points; mean of 2 seeds up to 3,000 images and of the first two
cells of 10,000, else of one):

    epochs  width      300   1,000   3,000   10,000
    2           8      6.5    10.4    19.6     27.2
               16      6.3    11.1    22.4     29.6
               32      8.4    14.7    22.9     30.4
    4           8      9.7    16.6    24.1     31.7
               16     10.1    18.9    26.2     33.7
               32     13.2    20.9    27.6     37.8
    8           8     13.3    20.2    28.1     36.0
               16     14.9    23.5    30.4     41.1
               32     15.4    24.9    33.0     45.2

and forecasts of each cell from the cells that are smaller on some axis, by the
joint law and by the law of one axis, where the cell is beyond two levels of it
(mean error in points, runs held by the 95% interval, its width):

    axis     cells   joint   one axis   held   by one   width   of one
    images      18    0.86       2.56    94%     100%     6.6     21.8
    epochs      12    0.92       1.37    92%     100%     6.5     17.9
    width       12    1.03       1.39    92%     100%     6.5     14.3

So one law of all is 66, 33 and 26% less wrong than those of one axis, with
intervals half as wide or less. It misses most, by 4 points, where all three are
largest. Parts that add up on the logit of the score are more probable than
those that add up on the score itself, by which it was 62, 18 and 9%: the wider
net gains more where there is more data. Repeats of an image count for at most
55 more of it [9, 402], which eight epochs hardly tell. For five minutes of this
core the law would take 55,000 images, width 16 and 4 epochs (46.8 points [42.8,
50.8]); with no more than 10,000 images, width 32 and 8 epochs (42.5 [39.1,
45.9]).

Cost: 90 minutes on one core of an AMD EPYC that other work shared, 29 minutes
of it processor time.
"""

import argparse
import csv
import pathlib
import tempfile
import time

import data_size
import keras
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import keras_jft as jft

HERE = pathlib.Path(__file__).parent
SIZES, WIDTHS, EPOCHS = (300, 1_000, 3_000, 10_000), (8, 16, 32), (2, 4, 8)
AXES = ("num_examples", "width", "epochs")
COLORS = ("#0072B2", "#D55E00", "#009E73")
CLASSES = 25
TEST_IMAGES = 100  # Of each class.


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny-imagenet", type=pathlib.Path)
    parser.add_argument("--cache", type=pathlib.Path, default=".cache")
    parser.add_argument("--executor", help="such as processes:2")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--epochs", type=int, nargs="+", default=EPOCHS)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1))
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if not arguments.smoke:
        _study(arguments, HERE / "results" / "joint.jsonl")
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data_size.make_up_classes(folder / "tiny")
        small = {"sizes": (32, 64), "widths": (8,), "epochs": (1,)}
        vars(arguments).update(small, seeds=(0,), cache=folder / "cache")
        arguments.tiny_imagenet = folder / "tiny"
        _study(arguments, folder / "joint.jsonl")


def _study(arguments, path):
    runs = list(configs(arguments))
    study = jft.scaling.Study(runs, path, run=Trainer(runs[0]))
    if arguments.dry_run:
        print(study.outlook())
        return
    rows = study.run(arguments.executor)
    print(table(rows))
    if arguments.smoke:
        return
    print(summary(held_out(rows)))


def configs(arguments):
    """Yield a `jft.pretrain.Config` for each cell, a seed after the other."""
    options = _images(arguments)
    for seed in arguments.seeds:
        for size in arguments.sizes:
            for epochs in arguments.epochs:
                for width in arguments.widths:
                    yield jft.pretrain.Config(
                        dataset="manifest",
                        options=options,
                        num_examples=size,
                        loss="softmax",
                        batch_size=32,
                        learning_rate=0.05,
                        width=width,
                        epochs=epochs,
                        seed=seed,
                    )


def _images(arguments):
    """Return options of a data set: some classes, the last images to test."""
    folder = arguments.tiny_imagenet / "train"
    every = sorted(p.name for p in folder.iterdir())
    classes = every[:: max(1, len(every) // CLASSES)][:CLASSES]
    path = arguments.cache / "joint.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "labels", "split"))
        for name in classes:
            images = sorted(
                p.name for p in (folder / name / "images").iterdir()
            )
            tests = min(TEST_IMAGES, len(images) // 5)
            for place, image in enumerate(images):
                split = "test" if place >= len(images) - tests else "train"
                writer.writerow((f"{name}/images/{image}", name, split))
    return {
        "path": str(path),
        "directory": str(folder),
        "label_names": classes,
        "many": False,
    }


class Trainer:
    """Trains the net of a config and returns its scores and cost.

    Args:
        config: A config with the data set of all.
    """

    def __init__(self, config):
        load = jft.data.load
        self.examples, self.tests = (
            jft.data.cache(load(config.dataset, split=s, **config.options))
            for s in ("train", "test")
        )

    def __call__(self, config):
        """Return the scores of a `jft.pretrain.Config`."""
        test = _Test(self.tests)
        # Of this process alone, whoever else uses the cores.
        start = time.process_time()
        jft.pretrain.run(config, self.examples, callbacks=[test], verbose=0)
        return {
            "width": config.width,
            "epochs": config.epochs,
            "top1": test.scores["top1"],
            "loss": test.scores["loss"],
            "device_seconds": round(time.process_time() - start, 3),
        }


class _Test(keras.callbacks.Callback):
    """Scores the net on test images when its training ends."""

    def __init__(self, tests):
        super().__init__()
        self.tests = jft.data.batches(tests, batch_size=250)
        self.scores = {}

    def on_train_end(self, logs=None):
        found = self.model.evaluate(self.tests, verbose=0, return_dict=True)
        self.scores = {name: float(value) for name, value in found.items()}


# === Forecasts of cells that are held out ===


def held_out(rows):
    """Forecast every cell from those that are smaller on some axis.

    A cell, and all cells that are at least as large on every axis, are hidden.
    The joint law is fitted to the rest; the law of one axis, to the runs that
    are like the cell on both other axes.

    Returns:
        A DataFrame with a row per cell and axis on which it is beyond two
        levels or more: errors in points, and the share of runs held.
    """
    rows = pd.DataFrame(rows)
    found = []
    for cell in rows[list(AXES)].drop_duplicates().itertuples(index=False):
        hidden = (rows[list(AXES)] >= cell).all(axis=1)
        seen, here = rows[~hidden], (rows[list(AXES)] == cell).all(axis=1)
        truth = rows[here]["top1"].to_numpy()
        singles = dict(_singles(seen, cell))
        if not singles:
            continue
        law = jft.scaling.fit_joint(seen, "top1", bounds=(0, 1))
        low, high = law.prediction_interval(*cell)
        ours = law.predict(*cell)
        for axis, (predicted, ends) in singles.items():
            found.append(
                {
                    **cell._asdict(),
                    "axis": axis,
                    "score": 100 * truth.mean(),
                    "joint": 100 * abs(ours - truth.mean()),
                    "one axis": 100 * abs(predicted - truth.mean()),
                    "held": np.mean((low <= truth) & (truth <= high)),
                    "held by one": np.mean(
                        (ends[0] <= truth) & (truth <= ends[1])
                    ),
                    "interval": 100 * (high - low),
                    "interval of one": 100 * (ends[1] - ends[0]),
                }
            )
    return pd.DataFrame(found)


def _singles(seen, cell):
    """Yield `(axis, (prediction, interval))` of the law of each axis."""
    for axis in AXES:
        others = [other for other in AXES if other != axis]
        alike = (seen[others] == [getattr(cell, o) for o in others]).all(axis=1)
        if seen[alike][axis].nunique() < 2:
            continue
        law = jft.scaling.fit(seen[alike], axis, "top1", bounds=(0, 1))
        at = getattr(cell, axis)
        yield axis, (law.predict(at), law.prediction_interval(at))


def summary(found):
    """Return mean errors and shares held, by axis, as text."""
    means = found.groupby("axis", sort=False).agg(
        cells=("joint", "size"),
        **{
            name: (name, "mean")
            for name in (
                "joint",
                "one axis",
                "held",
                "held by one",
                "interval",
                "interval of one",
            )
        },
    )
    return means.round(2).to_string()


def table(rows):
    """Return mean scores in points, by epochs and width over sizes."""
    means = pd.DataFrame(rows).pivot_table(
        index=["epochs", "width"], columns="num_examples", values="top1"
    )
    return (100 * means).round(1).to_string()


def plot(rows):
    """Plot scores over images seen, with the joint law of each net."""
    law = jft.scaling.fit_joint(rows, "top1", bounds=(0, 1))
    rows = pd.DataFrame(rows)
    figure, panels = plt.subplots(
        ncols=len(EPOCHS),
        figsize=(9, 3.4),
        sharey=True,
        layout="constrained",
    )
    sizes = np.geomspace(min(SIZES), 3 * max(SIZES), 40)
    for ax, epochs in zip(panels, EPOCHS, strict=True):
        for width, color in zip(WIDTHS, COLORS, strict=True):
            part = rows[(rows["epochs"] == epochs) & (rows["width"] == width)]
            ax.plot(
                part["num_examples"], 100 * part["top1"], "o", c=color, ms=3
            )
            middle = law.predict(sizes, width, epochs)
            ends = law.prediction_interval(sizes, width, epochs)
            ax.plot(sizes, 100 * middle, c=color, lw=1.2, label=f"{width}")
            ax.fill_between(
                sizes, *(100 * end for end in ends), color=color, alpha=0.12
            )
        ax.set(xscale="log", xlabel="images", title=f"{epochs} epochs")
        ax.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("top-1 (%)")
    panels[0].legend(title="width", frameon=False)
    return figure


if __name__ == "__main__":
    main()
