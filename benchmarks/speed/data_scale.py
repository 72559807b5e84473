"""Do labels cost the same per image at 10,000 and at 10,000,000 images?

Question: microseconds per image on one core, and memory beyond the labels, of
closing label sets upward, of a nested subset, of label noise and of
`jft.data.describe`, over three decades of size.

Command:

    python benchmarks/speed/data_scale.py

Rows of labels are drawn by key when they are read, so they take no memory:
18,291 labels in a hierarchy of depth 12 with up to 2,876 children, as
JFT-300M's, 1.26 labels per row, common ones first (Zipf), closed upward. Each
measurement is a process of its own; its seconds are those of the processor,
its memory is the growth of the resident set from before the work to its peak.
"source" is the drawing itself, which all but "closure" include. A subset holds
a tenth of the images, and its cost is per image of the whole set. Rows
go to benchmarks/results/data_scale.jsonl.

Result on an AMD EPYC (2 cores, shared with other work; 24 GB), one run each:

    microseconds per image       10^4    10^5    10^6    10^7
    source                        2.2     2.0     2.5     2.0
    closure                      0.32    0.26    0.24    0.25
    subset                       0.31    0.23    0.25    0.23
    noise                        11.5    11.7     8.7     8.6
    describe                      8.6     7.1     7.3     7.5

    megabytes of describe         9.1    10.7    11.1    20.9

All are flat. What grows in `describe` is the table of pairs, which fills: of
1,000 classes it and its reading take up to some 40 MB, whatever the images are.
With `pairs_among=10` 500,000 images take 5.5 MB and 2,000,000 take 5.6. A
subset checks ids a million at a time, 8 MB an array.

For 300M images on one core that is: closing 300M x 0.25 us = 75 s; a subset of
30M, drawn and read, 300M x 0.23 us = 69 s; noise 300M x 9 to 12 us = 45 to 60
minutes; `describe` 300M x 7.5 us = 38 minutes. Labels in memory as CSR arrays:
375M x 4 bytes + 300M x 8 bytes = 3.9 GB.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

import numpy as np

import keras_jft as jft
from keras_jft.data import keyed_random
from keras_jft.scaling.rows import rows

FOLDER = pathlib.Path(__file__).parent.parent
NUM_LABELS, DEPTH, FAN_OUT = 18_291, 12, 2_876
COUNTS = (0.79, 0.16, 0.05)  # Of 1, 2 and 3 labels; 1.26 on average.
CHUNK = 8_192
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)


class LabelRows(jft.data.Dataset):
    """Labels drawn when they are read; there are no images."""

    def __init__(self, num_examples, num_labels=NUM_LABELS):
        self.hierarchy = hierarchy(num_labels)
        self.info = jft.data.Info(
            num_examples=num_examples,
            label_names=self.hierarchy.names,
            hierarchy=self.hierarchy,
        )

    def ids(self, positions):
        """Return the positions as ids."""
        return np.asarray(positions, "int64")

    def named(self, positions):
        """Return `(n, 3)` labels before closing, padded with -1."""
        slots = keyed_random.hash64(0, self.ids(positions))[:, None]
        number = np.searchsorted(
            np.cumsum(COUNTS), keyed_random.uniform(slots, 0), side="right"
        )
        draws = keyed_random.uniform(slots, np.arange(1, 1 + len(COUNTS)))
        labels = (len(self.hierarchy) ** draws).astype("int32") - 1
        return np.where(np.arange(len(COUNTS)) <= number, labels, -1)

    def annotations(self, positions):
        """Closed labels and ids."""
        closed = self.hierarchy.close_batch(self.named(positions))
        return [
            {"labels": row[row >= 0], "ids": i}
            for row, i in zip(closed, self.ids(positions).tolist(), strict=True)
        ]


def hierarchy(num_labels, seed=0):
    """Return a random tree of depth 12 in which one label has many children."""
    rng = np.random.default_rng(seed)
    levels, edges = [1], []
    many = num_labels * FAN_OUT // NUM_LABELS
    for label in range(1, num_labels):
        if label < DEPTH:  # The longest way down.
            parent = label - 1
        elif label < DEPTH + many:
            parent = 1
        else:
            parent = int(rng.integers(label))
            while levels[parent] == DEPTH:
                parent = int(rng.integers(label))
        levels.append(levels[parent] + 1)
        edges.append((str(parent), str(label)))
    return jft.data.LabelHierarchy(map(str, range(num_labels)), edges)


def read_all(data):
    for start in range(0, len(data), CHUNK):
        data.annotations(np.arange(start, min(start + CHUNK, len(data))))


def close_all(data):
    """Return the seconds of closing alone, without drawing the rows."""
    seconds = 0.0
    for start in range(0, len(data), CHUNK):
        labels = data.named(np.arange(start, min(start + CHUNK, len(data))))
        began = time.process_time()
        data.hierarchy.close_batch(labels)
        seconds += time.process_time() - began
    return seconds


def spoil(data):
    noise = {"wrong": 0.2, "missing": 0.1, "confusable": 0.7}
    read_all(jft.data.NoisyLabels(data, **noise))


PARTS = {
    "source": read_all,
    "closure": close_all,
    "subset": lambda data: read_all(jft.data.subset(data, len(data) // 10)),
    "noise": spoil,
    "describe": lambda data: jft.data.describe(data, images=0),
}


def resident(key):
    """Return this process's `VmRSS` (now) or `VmHWM` (peak) in megabytes."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = [line for line in status.splitlines() if line.startswith(key)]
    return int(line.split()[1]) / 1024


def measure(part, num_examples, num_labels):
    """Return the row of one part at one size, measured in this process."""
    PARTS[part](LabelRows(1_000, num_labels))  # Imports and caches.
    data = LabelRows(num_examples, num_labels)
    pathlib.Path("/proc/self/clear_refs").write_text(
        "5", encoding="utf-8"
    )  # Resets the peak.
    before, began = resident("VmRSS"), time.process_time()
    seconds = PARTS[part](data)
    if not isinstance(seconds, float):
        seconds = time.process_time() - began
    return {
        "part": part,
        "num_examples": num_examples,
        "num_labels": num_labels,
        "seconds": round(seconds, 4),
        "microseconds_an_image": round(1e6 * seconds / num_examples, 3),
        "megabytes": round(resident("VmHWM") - before, 1),
    }


def plot(found):
    """Plot cost and memory by size, a line per part."""
    import matplotlib.pyplot as plt

    from keras_jft.scaling.reporting.figures import LOOKS, STYLE

    panels = (
        ("microseconds_an_image", "Microseconds an image"),
        ("megabytes", "Megabytes beyond the labels"),
    )
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            ncols=2, figsize=(7.2, 3.2), layout="constrained"
        )
        for ax, (column, title) in zip(axes, panels, strict=True):
            for part, (color, marker) in zip(PARTS, LOOKS, strict=False):
                points = {
                    row["num_examples"]: row[column]
                    for row in found
                    if row["part"] == part
                }
                ax.plot(
                    *zip(*points.items(), strict=True),
                    color=color,
                    marker=marker,
                    markersize=4,
                    label=part,
                )
            ax.set(xscale="log", xlabel="Images", title=title)
            ax.set_ylim(bottom=0)
            ax.grid(axis="y", alpha=0.25, linewidth=0.5)
        axes[0].legend()
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--one", nargs=2, metavar=("PART", "SIZE"))
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        for part in PARTS:
            print(measure(part, 2_000, num_labels=300))
        return
    if arguments.one:
        part, size = arguments.one
        print(json.dumps(measure(part, int(size), NUM_LABELS)))
        return
    path = FOLDER / "results" / "data_scale.jsonl"
    for size in arguments.sizes:
        for part in arguments.parts:
            command = [sys.executable, __file__, "--one", part, str(size)]
            done = subprocess.run(
                command, check=True, capture_output=True, text=True
            )
            row = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{part:8s} {size:11,d} images {row['seconds']:9.2f} s "
                f"{row['microseconds_an_image']:7.2f} us an image "
                f"{row['megabytes']:7.1f} MB"
            )
            rows.append(path, {**row, **rows.provenance()})
    plot(rows.read(path)).savefig(
        FOLDER / "figures" / "data_scale.png", dpi=150
    )


if __name__ == "__main__":
    main()
