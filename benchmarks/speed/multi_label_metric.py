"""What does mean average precision cost over 14,000 images of 18,291 labels?

Question: how many seconds and how much memory, besides the scores themselves (1
GB in float32), does `jft.metrics.evaluate_multi_label` take for each definition
of mAP@100? And how fast is it compared with scikit-learn's
`average_precision_score` on fewer labels, if the definitions agree (variant A
without a cut)?

Command:

    python benchmarks/speed/multi_label_metric.py

Each variant is timed alone, and run once more with `tracemalloc`, which sees
every array of NumPy. Rows go to benchmarks/results/multi_label_metric.jsonl.

Result on 2 cores of a Xeon with AMX and 24 GB (3 rounds; 90 s):

    variant   seconds   GB
    A            2.26   0.09
    B            2.04   0.08
    C            2.60   0.11

Over 5,000 images of 500 labels without a cut, where every score is kept and
sorted, it equals scikit-learn to 1e-15, at 0.58 times its speed.
"""

import argparse
import pathlib
import time
import tracemalloc

import numpy as np
from sklearn.metrics import average_precision_score

import keras_jft as jft
from keras_jft.metrics.multi_label import multi_label
from keras_jft.scaling.rows import rows

RESULTS = pathlib.Path(__file__).parent.parent / "results"


def case(images, classes, positives=12, seed=0):
    """Return label ids of random images, and scores correlated with them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (images, positives), "int32")
    scores = rng.standard_normal((images, classes), "float32")
    np.put_along_axis(
        scores, labels, np.take_along_axis(scores, labels, 1) + 3, 1
    )
    return labels, scores


def seconds(function):
    """Return `(seconds, result)` of one call."""
    began = time.perf_counter()
    result = function()
    return time.perf_counter() - began, result


def measure(labels, scores, variant, rounds):
    """Return the row of one variant."""

    def evaluate():
        return jft.metrics.evaluate_multi_label(labels, scores, 100, variant)

    times = [seconds(evaluate)[0] for _ in range(rounds)]
    tracemalloc.start()
    result = evaluate()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        "variant": variant,
        "images": scores.shape[0],
        "labels": scores.shape[1],
        "seconds": round(float(np.median(times)), 2),
        "peak_gigabytes": round(peak / 1e9, 3),
        "map": result["map"],
        "rounds": rounds,
    }


def compare(images, classes, rounds):
    """Return the row of the comparison with scikit-learn, run in turn."""
    labels, scores = case(images, classes)
    truth = np.zeros(scores.shape, bool)
    np.put_along_axis(truth, labels, True, axis=1)
    times = []
    for _ in range(rounds):
        ours, result = seconds(
            lambda: jft.metrics.evaluate_multi_label(labels, scores, classes)
        )
        peer, expected = seconds(
            lambda: average_precision_score(truth, scores, average=None)
        )
        times.append((ours, peer, peer / ours))
    ours, peer, ratio = np.median(times, axis=0)
    difference = np.abs(result["per_class"] - expected).max()
    return {
        "variant": "A, no cut, beside scikit-learn",
        "images": images,
        "labels": classes,
        "seconds": round(float(ours), 2),
        "seconds_scikit_learn": round(float(peer), 2),
        "ratio": round(float(ratio), 2),
        "greatest_difference": float(difference),
        "rounds": rounds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=14_000)
    parser.add_argument("--labels", type=int, default=18_291)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    size, peer_size = (arguments.images, arguments.labels), (5_000, 500)
    if arguments.smoke:
        size, peer_size, arguments.rounds = (600, 150), (100, 20), 1
    labels, scores = case(*size)
    results = [
        measure(labels, scores, variant, arguments.rounds)
        for variant in multi_label.VARIANTS
    ]
    results.append(compare(*peer_size, arguments.rounds))
    for row in results:
        print(row)
        if not arguments.smoke:
            rows.append(RESULTS / "multi_label_metric.jsonl", row)


if __name__ == "__main__":
    main()
