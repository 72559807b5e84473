"""What would ten times more data buy? The main job, on the synthetic world.

    python examples/quickstart.py

Pre-trains on 300 / 1k / 3k / 10k noisy many-label images, transfers each
backbone (and a random one) to classification and segmentation, frozen and
fine-tuned, and to detection and pose, frozen; measures, fits performance
against log data size, and writes the decision on a page. A run that was
interrupted goes on where it stopped; `--dry-run` says what is left to do.

Nets this small keep one core busy. Where there are two, and no accelerator, a
second process does the same study from its other end, on half of the cores
(`--alone`: none does).
"""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import shlex
import subprocess
import sys
import threading

import matplotlib

matplotlib.use("Agg")

import keras_jft as jft
from keras_jft import checks
from keras_jft.scaling.rows import rows as rows_lib

ROOT = pathlib.Path(__file__).parents[1]
SIZES = (0, 300, 1_000, 3_000, 10_000)  # 0: random initialization

PRETRAIN = jft.pretrain.Config(
    dataset="synthetic",
    options={"num_examples": 10_000},
    batch_size=32,
    learning_rate=0.03,
)
BOXES = jft.transfer.RECIPES["faster_rcnn"]["small"]
PEOPLE = jft.transfer.RECIPES["pose"]["small"]
TASKS = {
    "classification": jft.transfer.Config(
        head="classification",
        options={"task": "classification"},
        learning_rate=0.02,
        epochs=20,
    ),
    "segmentation": jft.transfer.Config(
        head="deeplab_aspp",
        # 32 px have room for features 4 px apart and for small rates.
        head_options={"output_stride": 4, "rates": (1, 2, 3, 4)},
        options={"task": "segmentation"},
        learning_rate=0.05,
        epochs=10,
    ),
    "detection": dataclasses.replace(
        BOXES,
        head_options={**BOXES.head_options, "num_proposals": 50},
        num_examples=200,
        learning_rate=0.05,
        epochs=16,
    ),
    "pose": dataclasses.replace(PEOPLE, num_examples=200, epochs=10),
}
# Boxes and people take longer, so they show the paper's frozen setting alone.
MODES = {"detection": ("frozen",), "pose": ("frozen",)}
# What brings test images to the size that a model sees.
TRANSFORMS = {"pose": "pose_small"}
# Rows that say what runs of these tasks take.
MEASURED = ROOT / "benchmarks" / "results" / "quickstart.jsonl"


def configs(sizes, seeds):
    """One `Run` for each size, task, mode and seed."""
    for seed in seeds:
        for size in sizes:
            pretrain = dataclasses.replace(
                PRETRAIN, num_examples=size, seed=seed
            )
            for task, transfer in TASKS.items():
                for mode in MODES.get(task, jft.transfer.MODES):
                    yield jft.scaling.Run(
                        pretrain=pretrain,
                        transfer=dataclasses.replace(
                            transfer, mode=mode, seed=seed
                        ),
                        evaluation=jft.evaluation.Config(
                            task=task,
                            options=transfer.options,
                            transforms=TRANSFORMS.get(task, "none"),
                        ),
                    )


@contextlib.contextmanager
def helper():
    """Have a second process do the study from its end, on half of the cores."""
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    shown = subprocess.DEVNULL if sys.stderr.isatty() else None
    try:
        os.sched_setaffinity(0, cores[:half])  # What a child starts with.
        with subprocess.Popen(
            [sys.executable, *sys.argv, "--helper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=shown,
        ) as process:
            os.sched_setaffinity(0, cores[half:])
            yield
            process.wait()
    finally:
        os.sched_setaffinity(0, cores)


def can_be_shared():
    """Whether there are cores for a second process, and nothing but cores."""
    machine = rows_lib.provenance()
    return (
        hasattr(os, "sched_setaffinity")
        and machine["cores"] > 1
        and not machine["accelerator"]
    )


def end_with_parent():
    """End this helper when its standard input closes: its parent has ended."""

    def wait():
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="demo", type=pathlib.Path)
    parser.add_argument("--sizes", default=SIZES, type=int, nargs="+")
    parser.add_argument("--seeds", default=[0], type=int, nargs="+")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--helper", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    path = arguments.output / "rows.jsonl"
    with checks.on_command_line():
        runs = list(configs(arguments.sizes, arguments.seeds))
        study = jft.scaling.Study(
            runs[::-1] if arguments.helper else runs,
            path,
            run=jft.scaling.Runner(arguments.output / "backbones"),
        )
    if arguments.dry_run:
        print(study.outlook(like=jft.scaling.read_rows(MEASURED)))
        return
    if arguments.helper:
        end_with_parent()
        study.run()
        return
    if not arguments.alone and can_be_shared():
        with helper():
            study.run()
    rows = study.run()  # All of it, or what a helper that failed has left.

    print(f"\n{jft.scaling.table(rows)}")
    figure = arguments.output / "data_size.png"
    jft.scaling.plot_data_sizes(rows).savefig(figure, dpi=150)
    page, text = jft.scaling.report(
        rows,
        arguments.output / "report.html",
        title="What would ten times more data buy?",
        command=shlex.join(["python", *sys.argv]),
    )
    print(f"Rows: {path}\nFigure: {figure}\nDecision: {page} ({text.name})")


if __name__ == "__main__":
    main()
