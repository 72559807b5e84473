"""How fast is a training step beside stock Keras?

Question: images per second of our `fit` beside Keras's own of the same net, for
the small studies' ResNet (four basic units, width 16, 32 px, batch 64, 200
labels) and for ResNet-50 (224 px, batch 16, 1,000 classes, beside
`keras.applications.ResNet50`), with and without oneDNN, and on a CPU that has
less than this one; and beside the same net in PyTorch, eager or compiled, whose
Python `--torch` names where this one has none.

Commands:

    python benchmarks/speed/train_step.py --isa ALL AVX2
    python benchmarks/speed/train_step.py --onednn on --torch PYTHON --compile
    python benchmarks/speed/train_step.py --isa ALL AVX2 --net resnet50 \\
        --batch 8 --steps 3 --rounds 5

A column is a setting that TensorFlow only reads when it is imported: oneDNN off
or on, and the newest instructions that oneDNN may use (ALL: those that the CPU
has). So each column has a process of its own, for the whole run. A round times
every side of every column once, in turn; a ratio is the median, over the
rounds, of the ratio to the peer in the same column and round. bfloat16 is only
timed in the column of the whole CPU, if it multiplies bfloat16. Rows go to
benchmarks/results/train_step.jsonl.

Result with oneDNN on and the whole CPU (2-core Xeon with AMX, 24 GB, TensorFlow
2.21, Keras 3.15.1; the speed of this virtual machine drifts, so only the
ratios, medians of paired rounds, can be compared; resnet50 at batch 16):

                                small            resnet50
    keras float32             747 images/s      6.2 images/s
    keras_jft float32        1240  1.24x        6.2  1.49x
    keras mixed_bfloat16     1049  1.38x        7.8  1.28x
    keras_jft mixed_bfloat16 1850  2.40x       12.3  2.46x

Two other runs of the small net gave 1.56x and 1.35x in float32, 1.99x and 1.93x
in mixed_bfloat16.

On 2 cores of an AMD EPYC with AVX-512, without AMX (24 GB, PyTorch 2.13.0):

                                small            resnet50
    keras float32            1086 images/s      6.0 images/s
    keras_jft float32        1262  1.17x        7.7  1.29x
    keras mixed_bfloat16     1063  0.99x        8.2  1.38x
    keras_jft mixed_bfloat16 1689  1.60x       13.2  2.19x
    torch bfloat16                             13.9  2.27x
    products float32         2215  2.04x        9.4  1.54x
    products bfloat16        4155  3.81x       18.0  2.96x

The last two lines are bounds: a step that only computes its matrix products, at
the rate of one large product. Another run of resnet50, on shared cores, gave
1.20x and 1.97x, and 1.44x for PyTorch.

The small net by columns, on the same EPYC (7 rounds of 20 steps, idle cores):

                              off, ALL    on, ALL     off, AVX2   on, AVX2
    keras float32             620         1005        652         993 images/s
    keras_jft float32         622  1.00x  1264  1.26x 622  0.97x  1003  1.01x
    keras mixed_bfloat16                   948  1.00x
    keras_jft mixed_bfloat16              1568  1.56x

ResNet-50 by columns, batch 8, on the same EPYC (4 rounds of 3 steps, idle
cores):

                              off, ALL    on, ALL     off, AVX2   on, AVX2
    keras float32             4.5         5.8         4.4         5.3 images/s
    keras_jft float32         4.9  1.12x  7.5  1.29x  5.1  1.13x  6.2  1.17x
    keras mixed_bfloat16                  8.2  1.00x
    keras_jft mixed_bfloat16             12.6  1.55x

So the gain over stock Keras in float32 is small for the small net, and 1.1 to
1.3 for ResNet-50, in every column. oneDNN makes the small step 1.6 to 2 times
as fast, even with AVX2 only, and that of ResNet-50 1.2 to 1.5 times.

On one core of an AMD EPYC without AVX-512, where there is no bfloat16 (oneDNN
on, PyTorch 2.14.1 eager; other work had the second core; 3 rounds of 12 steps,
and 2 of 3 at batch 4):

                                small            resnet50
    keras float32             499 images/s      2.4 images/s
    keras_jft float32         525  1.04x        2.4  1.00x
    torch float32             559  1.11x        2.8  1.14x
    products float32          837  1.68x        3.7  1.52x

There PyTorch is faster, 1.08 and 1.14 times.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import kept_memory
import numpy as np


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", choices=("small", "resnet50"), default="small")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=60, help="in a round")
    parser.add_argument("--batch", type=int, help="images, if not the net's")
    parser.add_argument("--backend", choices=("tensorflow", "jax"))
    parser.add_argument(
        "--onednn", nargs="+", default=("off", "on"), choices=("off", "on")
    )
    parser.add_argument("--isa", nargs="+", default=("ALL",), help="or AVX2")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--torch", help="a Python that has PyTorch")
    parser.add_argument("--smoke", action="store_true")
    return parser.parse_args()


ARGUMENTS = parse()
if ARGUMENTS.backend:  # Keras reads it when it is imported.
    os.environ["KERAS_BACKEND"] = ARGUMENTS.backend

import keras
import train_step_sides

import keras_jft as jft
from keras_jft.scaling.rows import rows

HERE = pathlib.Path(__file__).parent
RESULTS = HERE.parent / "results"
# Dense bfloat16 teraflop/s by NVIDIA's data sheets.
PEAKS = {"H100 PCIe": 756, "H100": 989, "H200": 989, "A100": 312, "L4": 121}
# Columns of a row: the side that the ratio is to.
RATIOS = {
    "ratio": "keras float32",
    "ratio_bfloat16": "keras mixed_bfloat16",
    "ratio_torch": "torch bfloat16",
    "ratio_torch_float32": "torch float32",
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What TensorFlow reads when it is imported; None leaves it as it is.

    Attributes:
        onednn: `"off"` or `"on"`.
        isa: oneDNN's name of the most that it may use of the CPU.
    """

    onednn: str | None = None
    isa: str | None = None

    @property
    def environment(self):
        """The variables that say so."""
        if self.onednn is None:
            return {}
        return {
            "TF_ENABLE_ONEDNN_OPTS": str(int(self.onednn == "on")),
            "ONEDNN_MAX_CPU_ISA": self.isa,
        }

    @property
    def dtypes(self):
        """Dtype policies that are not emulated under it."""
        whole = self in (Setting(), Setting("on", "ALL"))
        fastest = jft.training.fastest_dtype_policy() if whole else "float32"
        found = [*dict.fromkeys(["float32", fastest])]
        return found[-1:] if ARGUMENTS.smoke else found


def settings():
    """Return the columns: a single one unless TensorFlow runs on a CPU."""
    if keras.backend.backend() != "tensorflow" or train_step_sides.ACCELERATOR:
        return [Setting()]
    return [
        Setting(onednn, isa)
        for isa in ARGUMENTS.isa
        for onednn in ARGUMENTS.onednn
    ]


class Column:
    """All sides under one setting, in a process of their own.

    Entered, it waits until the sides are ready; left, the process ends.

    Attributes:
        setting: A `Setting`.
        speeds: `{side: images per second of each round}`.
    """

    def __init__(self, setting, **sides):
        self.setting = setting
        arguments = json.dumps({**sides, "dtypes": setting.dtypes})
        environment = {**kept_memory.ENVIRONMENT, **setting.environment}
        self._process = subprocess.Popen(
            [sys.executable, train_step_sides.__file__, arguments],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        self.speeds = {side: [] for side in self._answer()}
        return self

    def __exit__(self, *reason):
        self._process.__exit__(*reason)  # It ends with its standard input.

    def time(self, side):
        """Add the images per second of one round of a side to `speeds`."""
        print(side, file=self._process.stdin, flush=True)
        self.speeds[side].append(self._answer())

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The process of {self.setting} ended early.")
        return json.loads(line)


def row(column, side):
    """Return one side's medians over rounds, and ratios of paired rounds."""
    speed = float(np.median(column.speeds[side]))
    found = {
        "net": ARGUMENTS.net,
        "side": side,
        **dataclasses.asdict(column.setting),
        "images_per_second": round(speed, 1),
    }
    for key, peer in RATIOS.items():
        if peer in column.speeds:
            pairs = zip(column.speeds[side], column.speeds[peer], strict=True)
            found[key] = round(float(np.median([a / b for a, b in pairs])), 3)
    teraflops = speed * train_step_sides.GFLOP[ARGUMENTS.net] / 1e3
    found["teraflops"] = round(teraflops, 3)
    for device, peak in PEAKS.items():
        known = device in train_step_sides.ACCELERATOR
        if known and "share_of_peak" not in found:
            found["share_of_peak"] = round(teraflops / peak, 3)
    return found


def tell(found):
    """Print one row."""
    words = (found["onednn"], found["isa"], found["side"])
    print(
        "oneDNN {!s:4s} {!s:5s} {:26s}".format(*words),
        f"{found['images_per_second']:8.1f} images/s",
        *(f"{key} {found[key]:.2f}" for key in RATIOS if key in found),
    )


def main():
    net, rounds, steps = ARGUMENTS.net, ARGUMENTS.rounds, ARGUMENTS.steps
    batch = ARGUMENTS.batch or train_step_sides.NETS[net][1]
    sides = {"compiled": ARGUMENTS.compile, "torch": ARGUMENTS.torch}
    if ARGUMENTS.smoke:
        rounds, steps, batch, sides["product"] = 1, 2, 4, 64
    sides |= {"net": net, "batch": batch, "steps": steps}
    with contextlib.ExitStack() as stack:
        columns = [Column(setting, **sides) for setting in settings()]
        for column in columns:
            stack.enter_context(column)
        names = dict.fromkeys(side for c in columns for side in c.speeds)
        for _ in range(rounds):
            for side in names:
                for column in columns:
                    if side in column.speeds:
                        column.time(side)

    for column in columns:
        for side in column.speeds:
            found = row(column, side) | {"batch": batch, "rounds": rounds}
            tell(found)
            if not ARGUMENTS.smoke:
                path = RESULTS / "train_step.jsonl"
                rows.append(path, {**found, **rows.provenance()})


if __name__ == "__main__":
    main()
