"""How fast are losses from label ids, compared with Keras's dense one?

Question: how long does a forward and backward pass of the loss over 18,291
labels with two positives per image (or over fewer labels) take, by
`MultiLabelLoss` from padded ids and by `keras.losses.BinaryCrossentropy` from
dense targets? And how many bytes of labels does a batch have?

Command:

    python benchmarks/speed/loss.py

All losses run in one process, in turn, and the ratio is the median over the
rounds. Rows go to benchmarks/results/loss.jsonl.

Result, on 2 cores of an AMD EPYC (24 GB; TensorFlow 2.21, Keras 3.15.1; 15
rounds, 16 s; two runs): times as fast as Keras's dense loss, without XLA

    batch x labels   logistic    weighted    asymmetric  softmax
    256 x 18,291     2.10 2.10   2.17 2.09   1.22 1.21   2.96 3.04
     32 x 18,291     1.47 1.51   1.68 1.73   1.18 1.20   2.04 2.10
    256 x  1,000     1.39 1.33   1.43 1.34   0.98 0.95   1.75 1.63

and with it

    256 x 18,291     1.05 1.04   1.04 1.05   0.96 0.96   1.42 1.41
     32 x 18,291     1.10 1.06   1.14 1.13   1.00 1.04   1.70 1.74
    256 x  1,000     1.02 1.01   1.02 1.02   1.03 1.04   1.51 1.53

So a loss from ids is at least as fast as the dense one, with and without XLA.
The exception is the asymmetric loss, which can be 5% slower: it takes powers of
each logit and a second logarithm, which the logistic loss that it is compared
with does not. A batch of 256 has 2 kB of label ids instead of 18.7 MB.
"""

import argparse
import pathlib
import time

import kept_memory

kept_memory.restart()

import keras
import numpy as np
import tensorflow as tf

import keras_jft as jft
from keras_jft.scaling.rows import rows

RESULTS = pathlib.Path(__file__).parent.parent / "results"
CASES = ((256, 18_291), (32, 18_291), (256, 1_000))  # batch, labels
SLOTS = 2


def compiled(loss, xla):
    """Return a compiled `step(labels, logits)`: the loss and its gradient."""

    @tf.function(jit_compile=xla)
    def step(labels, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(labels, logits)
        return value, tape.gradient(value, logits)

    return step


def milliseconds(step, labels, logits, repeats):
    """Return the time of one step in milliseconds."""
    began = time.perf_counter()
    for _ in range(repeats):
        value, _ = step(labels, logits)
        value.numpy()
    return (time.perf_counter() - began) / repeats * 1e3


def measure(batch, classes, xla, rounds, work=2_000_000):
    """Return the rows of one case, the dense loss first."""
    rng = np.random.default_rng(0)
    ids = np.argsort(rng.random((batch, classes)), axis=1)[:, :SLOTS]
    ids = ids.astype("int32")
    dense = np.zeros((batch, classes), "float32")
    np.put_along_axis(dense, ids, 1.0, axis=1)
    logits = tf.constant(rng.normal(-5, 2, dense.shape).astype("float32"))
    losses = {
        "keras dense": (keras.losses.BinaryCrossentropy(True), dense),
        "logistic": (jft.pretrain.MultiLabelLoss(), ids),
        "weighted": (jft.pretrain.MultiLabelLoss(2.0), ids),
        "asymmetric": (jft.pretrain.AsymmetricLoss(), ids),
        "softmax": (jft.pretrain.SoftmaxLoss(), ids),
    }
    steps = {
        name: (compiled(loss, xla), tf.constant(labels))
        for name, (loss, labels) in losses.items()
    }
    repeats = max(1, work // (batch * classes))
    times = {name: [] for name in steps}
    for i in range(rounds + 2):
        for name, (step, labels) in steps.items():
            taken = milliseconds(step, labels, logits, repeats)
            if i >= 2:  # Do not count the first two: they trace and warm up.
                times[name].append(taken)
    peer = np.array(times["keras dense"])
    for name, (_, labels) in losses.items():
        yield {
            "loss": name,
            "batch": batch,
            "labels": classes,
            "xla": xla,
            "milliseconds": round(float(np.median(times[name])), 2),
            "ratio": round(float(np.median(peer / times[name])), 2),
            "label_bytes": labels.nbytes,
            "dense_label_bytes": dense.nbytes,
            "rounds": rounds,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    cases = ((4, 50),) if arguments.smoke else CASES
    rounds = 1 if arguments.smoke else arguments.rounds
    work = 1 if arguments.smoke else 2_000_000
    for batch, classes in cases:
        for xla in (False,) if arguments.smoke else (False, True):
            for row in measure(batch, classes, xla, rounds, work):
                print(
                    f"{row['loss']:12s} {batch:4d} x {classes:6d} "
                    f"{'XLA' if xla else '   '} {row['milliseconds']:8.2f} ms "
                    f"{row['ratio']:5.2f}x {row['label_bytes']:9d} bytes"
                )
                if not arguments.smoke:
                    rows.append(RESULTS / "loss.jsonl", row)


if __name__ == "__main__":
    main()
