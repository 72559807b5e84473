"""How much longer is a training step with a head of 18,291 labels?

Question: how many seconds does a step of ResNet-50 (224 px, batch 16) take with
18,291 labels in 50 shards, compared with 1,000 labels? How much of the
difference is the head's own product and optimizer update, timed by themselves?

Command:

    python benchmarks/speed/head.py

All sides run in one process, in turn, and times are medians over the rounds.
Rows go to benchmarks/results/head.jsonl.
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
LABELS = {1_000: 1, 18_291: 50}  # Labels: shards.
MOMENTUM = {"learning_rate": 0.01, "momentum": 0.9}


def network_step(labels, shards, side, batch, blocks):
    """Return a function that does one training step of the whole network."""
    with jft.training.dtype_policy("fastest"):
        backbone = jft.ResNet(blocks, image_shape=(side, side, 3))
        model = jft.MultiLabelClassifier(
            backbone, labels, shards=shards, label_prior=2 / labels
        )
    model.compile(keras.optimizers.SGD(**MOMENTUM))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, side, side, 3), dtype="uint8")
    ids = rng.integers(0, labels, (batch, 2)).astype("int32")
    pair = tf.constant(images), tf.constant(ids)
    return lambda: model.train_on_batch(*pair)


def head_step(labels, shards, batch):
    """Return a function that does the head's product, gradients and update."""
    with jft.training.dtype_policy("fastest"):
        layer = jft.layers.ShardedDense(labels, shards)
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (batch, 2048)).astype("float32")
    features = tf.cast(tf.constant(features), layer.compute_dtype)
    layer.build(features.shape)
    optimizer = keras.optimizers.SGD(**MOMENTUM)
    optimizer.build(layer.trainable_variables)

    @tf.function
    def step():
        values = [variable.value for variable in layer.trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch(features)
            outputs = layer(features)
        gradients = tape.gradient(outputs, [features, *values])
        optimizer.apply(gradients[1:], layer.trainable_variables)
        return gradients[0]

    return lambda: step().numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    side, batch, blocks = 224, 16, (3, 4, 6, 3)  # Of ResNet-50.
    rounds, heads = arguments.rounds, LABELS
    if arguments.smoke:
        side, batch, blocks, rounds = 32, 2, (1, 1, 1, 1), 1
        heads = {10: 1, 100: 3}

    steps = {
        ("step", labels): network_step(labels, shards, side, batch, blocks)
        for labels, shards in heads.items()
    } | {
        ("head", labels): head_step(labels, shards, batch)
        for labels, shards in heads.items()
    }
    seconds = {name: [] for name in steps}
    for i in range(rounds + 2):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if i >= 2:  # Do not count the first two: they trace and warm up.
                seconds[name].append(time.perf_counter() - began)
    medians = {name: float(np.median(s)) for name, s in seconds.items()}
    for (part, labels), median in medians.items():
        print(f"{part} {labels:6d} labels {median * 1e3:8.1f} ms")
    few, many = heads
    expected = medians["step", few] - medians["head", few]
    expected += medians["head", many]
    ratio = medians["step", many] / expected
    print(f"step beside the small one and its own head: {ratio:.3f}x")
    if not arguments.smoke:
        row = {
            f"{part}_{labels}_ms": round(median * 1e3, 1)
            for (part, labels), median in medians.items()
        }
        row |= {"ratio": round(ratio, 3), "rounds": rounds}
        rows.append(RESULTS / "head.jsonl", {**row, **rows.provenance()})


if __name__ == "__main__":
    main()
