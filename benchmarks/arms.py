"""Shared code of experiments on pre-training: a base setting and its arms.

An arm is a name and a change to the base's pre-training; everything else is the
same, and a pre-training that arms share is done once (in the cache
`.cache/backbones`). A backbone is judged by a small transfer, frozen before
conv5: of synthetic images to 20 unseen combinations (400 training and 1,000
test images), or with `--tiny-imagenet` to the 10 classes held out in
`benchmarks/data_size.py` (20 training and 30 test images per class).
"""

import argparse
import dataclasses
import functools
import pathlib
import tempfile

import data_size
import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd

import keras_jft as jft

HERE = pathlib.Path(__file__).parent
# Sizes by data set; below 3,000 real images nothing transfers.
SIZES = {
    "synthetic": (300, 1_000, 3_000),
    "image_folder": (3_000, 10_000, 30_000),
}
SYNTHETIC = jft.scaling.Run(
    pretrain=jft.pretrain.Config(
        options={"num_examples": 10_000},
        batch_size=32,
        learning_rate=0.03,
    ),
    transfer=jft.transfer.Config(
        options={"task": "classification"}, learning_rate=0.02
    ),
    evaluation=jft.evaluation.Config(
        task="classification", options={"task": "classification"}
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(jft.scaling.Run):
    """A run that also records its arm.

    Attributes:
        arm: Name of the arm.
    """

    arm: str


def change(**fields):
    """Return an arm that changes some fields of the base's pre-training."""
    return functools.partial(_replace, fields)


def options(**values):
    """Return an arm that changes some options of the base's data set."""
    return lambda pretrain: _replace(
        {"options": {**pretrain.options, **values}}, pretrain
    )


def _replace(fields, pretrain):
    return dataclasses.replace(pretrain, **fields)


def main(doc, name, arms, *, only=None, tell=None, draw=None):
    """Run an experiment from the command line: rows, table and figure.

    Args:
        doc: The script's docstring.
        name: The script's name: rows go to `results/<name>.jsonl`, the figure
            to `figures/<name>.png`.
        arms: `{name: change}`; a change takes a `jft.pretrain.Config` and
            returns another.
        only: "synthetic" or "real" if the arms make sense for such images
            alone: then there is no `--tiny-imagenet`, or it must be given.
        tell: `tell(rows)` returns a string to print in addition.
        draw: `draw(rows)` returns a Matplotlib figure; None draws score by
            size, a curve per arm.
    """
    arguments = _arguments(doc, arms, only)
    arms = {arm: arms[arm] for arm in arguments.arms}
    if not arguments.smoke:
        _experiment(arguments, HERE, name, arms, tell, draw)
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        small = {"sizes": (32,), "seeds": (0,), "epochs": 1}
        vars(arguments).update(small, cache=folder / "cache")
        if only == "real":
            arguments.tiny_imagenet = folder / "tiny"
            data_size.make_up_classes(arguments.tiny_imagenet)
        if not arguments.dry_run:  # One arm has all that can break.
            arms = dict([list(arms.items())[-1]])
        _experiment(arguments, folder, name, arms, tell, draw)


def _arguments(doc, arms, only):
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.set_defaults(tiny_imagenet=None)
    if only != "synthetic":
        parser.add_argument("--tiny-imagenet", type=pathlib.Path)
    parser.add_argument("--cache", type=pathlib.Path, default=".cache")
    parser.add_argument("--executor", help="such as processes:2")
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument(
        "--modes", nargs="+", default=("frozen",), choices=jft.transfer.MODES
    )
    parser.add_argument("--arms", nargs="+", default=list(arms), choices=arms)
    parser.add_argument("--epochs", type=int, default=20, help="of transfer")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if only == "real" and not (arguments.tiny_imagenet or arguments.smoke):
        parser.error("--tiny-imagenet must be given: this is about its labels.")
    if arguments.sizes is None:
        real = arguments.tiny_imagenet
        arguments.sizes = SIZES["image_folder" if real else "synthetic"]
    return arguments


def _experiment(arguments, folder, name, arms, tell, draw):
    runner = jft.scaling.Runner(
        arguments.cache / "backbones", verbose=2, threshold=None
    )
    study = jft.scaling.Study(
        list(configs(arguments, arms)),
        folder / "results" / f"{name}.jsonl",
        run=runner,
    )
    if arguments.dry_run:
        print(study.outlook())
        return
    rows = study.run(arguments.executor)
    print(table(rows))
    if tell is not None:
        print(tell(rows))
    ground = "_tiny_imagenet" * bool(arguments.tiny_imagenet)
    (folder / "figures").mkdir(exist_ok=True)
    (draw or plot)(rows).savefig(
        folder / "figures" / f"{name}{ground}.png", dpi=120
    )


def configs(arguments, arms):
    """Yield a `Run` for each size, seed, arm and mode, small sizes first."""
    for size in arguments.sizes:
        for seed in arguments.seeds:
            base = _base(arguments, seed)
            pretrain = dataclasses.replace(
                base.pretrain, num_examples=size, seed=seed
            )
            for arm, changed in arms.items():
                for mode in arguments.modes:
                    transfer = dataclasses.replace(
                        base.transfer,
                        mode=mode,
                        seed=seed,
                        epochs=arguments.epochs,
                    )
                    yield Run(
                        arm=arm,
                        pretrain=changed(pretrain),
                        transfer=transfer,
                        evaluation=base.evaluation,
                    )


def _base(arguments, seed):
    if arguments.tiny_imagenet:
        transfer, evaluation = data_size.few_shot(
            arguments.tiny_imagenet, arguments.cache, seed
        )
        base = jft.scaling.Run(
            pretrain=data_size.pretraining(arguments.tiny_imagenet),
            transfer=transfer,
            evaluation=evaluation,
        )
    else:
        base = SYNTHETIC
    return _small(base) if arguments.smoke else base


def _small(base):
    """Shrink a run for `--smoke`: few images, 16 px if they are synthetic."""
    stages = {}
    for stage in ("pretrain", "transfer", "evaluation"):
        config = getattr(base, stage)
        fields = {"batch_size": 16}
        if config.dataset == "synthetic":
            made_up = {"image_size": 16, "num_examples": 32}
            fields["options"] = {**config.options, **made_up}
            if stage != "evaluation":
                fields["image_size"] = (16, 16)
        if stage == "pretrain":
            fields["epochs"] = 1
        stages[stage] = dataclasses.replace(config, **fields)
    return jft.scaling.Run(**stages)


def table(rows):
    """Return scores by arm and size as text: means, spread, gain per decade."""
    scores = frame(rows)
    cells = scores.groupby(["arm", "num_examples"], sort=False)["score"]
    means = cells.agg(["mean", "std"]).apply(_cell, axis=1).unstack()
    means = means[sorted(means.columns)]
    means.columns = [f"{size:,}" for size in means.columns]
    if scores["num_examples"].nunique() > 1:
        means["per decade"] = [
            f"{slope(scores[scores['arm'] == arm]):+.1f}" for arm in means.index
        ]
    return means.rename_axis(None).to_string()


def frame(rows):
    """Return a DataFrame of the successful runs: `score` in points, `mode`."""
    done = pd.DataFrame([row for row in rows if "error" not in row])
    if done["mode"].nunique() > 1:
        done["arm"] += ", " + done["mode"].str.replace("_", " ")
    return done.assign(score=100 * done["top1"])


def slope(scores):
    """Return the points gained per tenfold of images, by least squares."""
    scores = scores[scores["num_examples"] > 0]
    return np.polyfit(np.log10(scores["num_examples"]), scores["score"], 1)[0]


def plot(rows):
    """Plot score by size, a curve per arm."""
    scores = frame(rows)
    # `plot_data_size` draws a curve per mode, so arms take that column.
    curves = scores.assign(mode=scores["arm"]).drop(columns=["arm", "score"])
    ax = jft.scaling.plot_data_size(curves, modes=list(curves["mode"].unique()))
    return ax.figure


def _cell(score):
    spread = f" ±{score['std']:.1f}" if score["std"] >= 0 else ""
    return f"{score['mean']:.1f}{spread}"
