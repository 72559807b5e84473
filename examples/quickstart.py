"""Ask what ten times more data would buy: a whole study on synthetic images.

    python examples/quickstart.py

Pre-trains on 300, 1,000, 3,000 and 10,000 noisy many-label images; transfers
each backbone (and a random one) to classification and segmentation, frozen and
fine-tuned, and to detection and pose, frozen; evaluates, fits scores against
log data size, and writes the decision as a page. An interrupted run continues
where it stopped; `--dry-run` says what is left to do.

Nets this small only keep one core busy. On a machine with two or more and no
accelerator, a second process therefore does the same study from its other end,
on half of the cores (not with `--alone`).
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
        # At 32 px, features must be close (4 px) and atrous rates small.
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
# Detection and pose take longer, so they only show the paper's frozen setting.
MODES = {"detection": ("frozen",), "pose": ("frozen",)}
# Transforms that bring test images to the size of the model's inputs.
TRANSFORMS = {"pose": "pose_small"}
# Rows of earlier runs, which say how long such runs take.
MEASURED = ROOT / "benchmarks" / "results" / "quickstart.jsonl"


def configs(sizes, seeds):
    """Yield one `Run` for each size, task, mode and seed."""
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
        os.sched_setaffinity(0, cores[:half])  # A child inherits this.
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
    """Return whether a second process has cores to use, and no accelerator."""
    machine = rows_lib.provenance()
    return (
        hasattr(os, "sched_setaffinity")
        and machine["cores"] > 1
        and not machine["accelerator"]
    )


def end_with_parent():
    """End this helper when its standard input closes: its parent has ended."""

    def wait():
        # Not `sys.stdin`, whose lock Python could not take when it ends.
        while os.read(0, 1024):
            pass
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
    rows = study.run()  # All runs, or those that a failed helper left undone.

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
