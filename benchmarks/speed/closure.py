"""How fast are label sets closed upward over 18,291 labels?

Question: label sets a second on one core, of `LabelHierarchy.close_batch` over a
hierarchy of JFT-300M's size (18,291 labels, depth 12, most children 2,876), for
sets of 1 to 4 labels, by batch size; beside a walk from set to set in Python,
and beside a boolean matrix product of SciPy, which give the same sets.

Command:

    python benchmarks/speed/closure.py

The sides take turns within a round. Rows go to
benchmarks/results/closure.jsonl.
"""

import argparse
import os
import pathlib
import time

import numpy as np
import scipy.sparse

import keras_jft as jft
from keras_jft.scaling import rows

RESULTS = pathlib.Path(__file__).parent.parent / "results"


def hierarchy(labels=18_291, depth=12, fan_out=2_876, seed=0):
    """A hierarchy of this size: a chain, a wide label, the rest at random.

    One label in ten has a second parent.
    """
    rng = np.random.default_rng(seed)
    levels, parents = np.empty(labels, "int64"), [[] for _ in range(labels)]
    levels[:depth] = np.arange(1, depth + 1)
    for label in range(1, depth):
        parents[label] = [label - 1]
    wide = 2
    for label in range(depth, labels):
        parent = wide if label < depth + fan_out - 1 else None
        while parent is None or levels[parent] >= depth:
            parent = rng.integers(label)
            # Only the wide label has so many below it.
            parent = None if parent == wide else parent
        parents[label] = [int(parent)]
        if rng.random() < 0.1 and label > depth + fan_out:
            above = rng.integers(depth, label)
            if above != parent and levels[above] < depth:
                parents[label].append(int(above))
        levels[label] = 1 + max(levels[p] for p in parents[label])
    names = [f"n{label:05}" for label in range(labels)]
    return jft.data.LabelHierarchy(
        names,
        [(names[p], names[c]) for c in range(labels) for p in parents[c]],
    )
