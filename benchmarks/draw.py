"""Draw the figures again whose rows have changed.

    make figures

A figure is made of rows alone, and its file says of which: the fingerprint of
its row files is in the PNG, as `Rows`. A test compares the two, so that no page
shows a figure of other rows than those that lie beside it. `--all` draws all.
"""

import argparse
import dataclasses
import hashlib
import os
import pathlib
import runpy
import sys
from collections.abc import Callable

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from PIL import Image

import keras_jft as jft

HERE = pathlib.Path(__file__).parent
FIGURES = HERE / "figures"
KEPT_MEMORY = HERE / "speed" / "kept_memory.py"


@dataclasses.dataclass(frozen=True)
class Drawing:
    """How one figure is made.

    Attributes:
        plot: Takes rows and returns a Matplotlib figure.
        files: The names of its row files.
        kept: Which rows are shown.
        dpi: Dots per inch.
    """

    plot: Callable
    files: tuple[str, ...]
    kept: Callable = lambda row: True
    dpi: int = 120

    def rows(self):
        """Return the rows that the figure shows."""
        return [
            row
            for name in self.files
            for row in jft.scaling.read_rows(HERE / "results" / f"{name}.jsonl")
            if self.kept(row)
        ]

    def fingerprint(self):
        """Return a fingerprint of the row files."""
        found = hashlib.sha256()
        for name in self.files:
            found.update((HERE / "results" / f"{name}.jsonl").read_bytes())
        return found.hexdigest()[:16]


def script(path):
    """Return the names of a script, which is not run."""
    environment, folder = dict(os.environ), str((HERE / path).parent)
    # Scripts of speed start anew unless the environment is as they want it.
    os.environ.update(runpy.run_path(str(KEPT_MEMORY))["ENVIRONMENT"])
    sys.path.insert(0, folder)
    try:
        return runpy.run_path(str(HERE / path), run_name="imported")
    finally:
        sys.path.remove(folder)
        os.environ.clear()
        os.environ.update(environment)


def _by_script(path, name="plot"):
    """Return the function of a script that plots, which is not loaded yet."""
    return lambda rows: script(path)[name](rows)


def _classes(rows):
    names = script("segmentation.py")["NAMES"]
    return jft.scaling.plot_classes(rows, names)


def _both_modes(rows):
    names = script("frozen_vs_finetuned.py")
    return names["plot"](names["differences"](rows))


def _on(dataset):
    return lambda row: row["config"]["pretrain"]["dataset"] == dataset


DRAWINGS = {
    "data_size": Drawing(jft.scaling.plot_data_sizes, ("data_size",)),
    "quickstart": Drawing(
        jft.scaling.plot_data_sizes, ("quickstart",), dpi=100
    ),
    "detection": Drawing(_by_script("detection.py"), ("detection",)),
    "pose": Drawing(_by_script("pose.py"), ("pose",)),
    "segmentation": Drawing(
        _classes, ("data_size",), lambda row: row["task"] == "segmentation"
    ),
    "frozen_vs_finetuned": Drawing(
        _both_modes, ("data_size", "detection", "pose")
    ),
    "joint": Drawing(_by_script("joint.py"), ("joint",)),
    "backtest": Drawing(_by_script("backtest.py"), ("backtest",)),
    "sequential": Drawing(_by_script("sequential.py"), ("sequential",)),
    "backbones": Drawing(_by_script("arms.py"), ("backbones",)),
    "downpour": Drawing(_by_script("downpour.py"), ("downpour",)),
    "initialization": Drawing(jft.scaling.plot_progress, ("initialization",)),
    "data_scale": Drawing(
        _by_script("speed/data_scale.py"), ("data_scale",), dpi=150
    ),
    "input_pipeline": Drawing(
        _by_script("speed/input_pipeline.py"), ("input_pipeline",), dpi=150
    ),
    "scaling": Drawing(_by_script("speed/scaling.py"), ("scaling",), dpi=150),
}
for _name in (
    "capacity",
    "classes",
    "epochs",
    "label_noise",
    "learning_rate",
    "long_tail",
):
    _plot = (
        _by_script("capacity.py", "draw")
        if _name == "capacity"
        else _by_script("arms.py")
    )
    DRAWINGS[_name] = Drawing(_plot, (_name,), _on("synthetic"))
    if _name != "long_tail":
        DRAWINGS[f"{_name}_tiny_imagenet"] = Drawing(
            _plot, (_name,), _on("image_folder")
        )

# Figures that need more than committed rows, and what.
OTHERS = {
    "duplicates": "the images, by benchmarks/duplicates.py",
}


def written(name):
    """Return the fingerprint that a figure's file has; None without one."""
    path = FIGURES / f"{name}.png"
    if not path.exists():
        return None
    with Image.open(path) as image:
        return image.info.get("Rows")


def stale():
    """Return the names of the figures that are not of the rows beside them."""
    return [
        name
        for name, drawing in DRAWINGS.items()
        if written(name) != drawing.fingerprint()
    ]


def draw(name):
    """Draw one figure, and write it with its fingerprint."""
    drawing = DRAWINGS[name]
    path = FIGURES / f"{name}.png"
    figure = drawing.plot(drawing.rows())
    figure.savefig(
        path,
        dpi=drawing.dpi,
        metadata={"Rows": drawing.fingerprint(), "Software": None},
    )
    plt.close(figure)
    print(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--all", action="store_true", help="also unchanged ones"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    arguments = parser.parse_args()
    for name in arguments.names or (DRAWINGS if arguments.all else stale()):
        draw(name)


if __name__ == "__main__":
    main()
