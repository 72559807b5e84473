"""How fast are ancestors added to label sets over 18,291 labels?

Question: label sets per second on one core, of `LabelHierarchy.close_batch`
over a hierarchy of JFT-300M's size (18,291 labels, depth 12, most children
2,876), for sets of 1 to 4 labels, by batch size; beside a walk in Python with
the ancestors of each label as a set, and a product of sparse matrices (SciPy)
that is sorted and padded, too, which give the same sets.

Command:

    python benchmarks/speed/closure.py

The sides take turns within a round; seconds are processor time of one core.
Rows go to benchmarks/results/closure.jsonl.

Result, millions of label sets per second on one core of an AMD EPYC (2 cores,
shared; seed 0; medians of 5 rounds; a set is 2.5 labels, closed 11):

    sets a batch   close_batch   walk   SciPy
             128          1.54   0.97    0.66
           1,024          2.38   0.35    1.46
           8,192          1.88   0.15    1.99
          65,536          1.97   0.12    2.42

The walk slows down with the batch as its sets leave the cache. SciPy's product
is faster from 8,192 sets on, 1.1 to 1.2 times.
"""

import argparse
import pathlib
import time

import numpy as np
import scipy.sparse

import keras_jft as jft
from keras_jft.scaling.rows import rows

RESULTS = pathlib.Path(__file__).parent.parent / "results"


def hierarchy(labels=18_291, depth=12, fan_out=2_876, seed=0):
    """Return a hierarchy of this size: a chain, a wide label, random others.

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


def case(tree, sets, most=4, seed=0):
    """Return `(B, most)` random label ids, 1 to `most` per row, -1 padded."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(tree), (sets, most)).astype("int32")
    sizes = rng.integers(1, most + 1, (sets, 1))
    labels[np.arange(most) >= sizes] = -1
    return labels


def walk(above, labels):
    """Return the closed sets, one by one, from the ancestors of each label."""
    return [
        set().union(*(above[label] for label in row if label >= 0))
        for row in labels.tolist()
    ]


def product(closure, labels):
    """Return the closed sets by a sparse matrix product, sorted and padded."""
    rows, columns = np.nonzero(labels >= 0)
    ones = np.ones(len(rows), "int32")
    held = scipy.sparse.csr_matrix(
        (ones, (rows, labels[rows, columns])), (len(labels), closure.shape[0])
    )
    closed = held @ closure
    closed.sort_indices()
    counts = np.diff(closed.indptr)
    out = np.full((len(labels), counts.max()), -1, "int32")
    out[np.arange(out.shape[1]) < counts[:, None]] = closed.indices
    return out


def seconds(function, repeats):
    """Return the processor seconds of one call."""
    began = time.process_time()
    for _ in range(repeats):
        function()
    return (time.process_time() - began) / repeats


def measure(tree, batch_size, rounds, work):
    """Return the row of one batch size."""
    labels = case(tree, batch_size)
    above = [{i, *tree.ancestors(i).tolist()} for i in range(len(tree))]
    columns = np.concatenate([sorted(row) for row in above])
    ends = np.cumsum([0, *map(len, above)])
    closure = scipy.sparse.csr_matrix(
        (np.ones(len(columns), "int32"), columns, ends), (len(tree),) * 2
    )
    closed = tree.close_batch(labels)
    for row, expected in zip(closed, walk(above, labels), strict=True):
        assert set(row[row >= 0].tolist()) == expected
    np.testing.assert_array_equal(closed, product(closure, labels))
    sides = {
        "close_batch": lambda: tree.close_batch(labels),
        "walk": lambda: walk(above, labels),
        "scipy": lambda: product(closure, labels),
    }
    repeats = max(1, work // batch_size)
    times = [
        [seconds(side, repeats) for side in sides.values()]
        for _ in range(rounds)
    ]
    rates = batch_size / np.median(times, axis=0)
    return {
        "labels": len(tree),
        "depth": tree.depth,
        "fan_out": tree.fan_out,
        "batch_size": batch_size,
        "labels_closed": round(float((closed >= 0).sum(1).mean()), 2),
        **{
            f"million_a_second_{name}": round(float(rate) / 1e6, 3)
            for name, rate in zip(sides, rates, strict=True)
        },
        "rounds": rounds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    size, batch_sizes, work = (), (128, 1024, 8192, 65_536), 65_536
    if arguments.smoke:
        size, batch_sizes, work = (500, 6, 50), (128,), 128
        arguments.rounds = 1
    tree = hierarchy(*size)
    for batch_size in batch_sizes:
        row = measure(tree, batch_size, arguments.rounds, work)
        print(row)
        if not arguments.smoke:
            rows.append(RESULTS / "closure.jsonl", row)


if __name__ == "__main__":
    main()
