"""How fast does an adapted net train beside the stock one?

Question: how long does a training step of a net of `keras.applications` take
as Keras has it, as `jft.backbones.adapt` makes it a backbone, and with
`fused=True`, under one dtype policy?

Command:

    python benchmarks/speed/adapted.py

All sides run in one process, in turn; a ratio is the median, over the rounds,
of the ratio to the stock net in the same round. Rows go to
benchmarks/results/adapted.jsonl.

Result of `--rounds 7 --batch 8`, 96 px, mixed_bfloat16, on one core of an AMD
EPYC while the other was busy (TensorFlow 2.21, Keras 3.15.1):

                        stock       adapted         fused
    ResNet50V2         322 ms     296  1.08x     254  1.27x
    EfficientNetV2B0   148 ms     138  1.08x     120  1.23x
    MobileNetV3Small    70 ms      69  1.02x      68  1.02x
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
NETS = ("ResNet50V2", "EfficientNetV2B0", "MobileNetV3Small")
CLASSES = 10


def sides(name, side):
    """Return `{side: compiled model}` of one net, with the same weights."""
    make = getattr(keras.applications, name)
    net = make(input_shape=(side, side, 3), weights=None, include_top=False)
    backbone = jft.backbones.adapt(net)
    stock = keras.Sequential(
        [
            keras.Input((side, side, 3)),
            jft.layers.ImageScaling(backbone.scaling),
            make(input_shape=(side, side, 3), weights=None, include_top=False),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(CLASSES, dtype="float32"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    stock.compile("sgd", loss)
    models = {"stock": stock}
    for arm, fused in (("adapted", False), ("fused", True)):
        models[arm] = jft.Classifier(backbone.rebuild(fused=fused), CLASSES)
        models[arm].compile("sgd")
    return models


def seconds(models, side, batch, rounds):
    """Return `{side: seconds of a step in each round}`."""
    rng = np.random.default_rng(0)
    pair = (
        tf.constant(
            rng.integers(0, 256, (batch, side, side, 3), dtype="uint8")
        ),
        tf.constant(rng.integers(0, CLASSES, (batch,), dtype="int32")),
    )
    found = {arm: [] for arm in models}
    for i in range(rounds + 2):
        for arm, model in models.items():
            began = time.perf_counter()
            model.train_on_batch(*pair)
            if i >= 2:  # Do not count the first two: they trace and warm up.
                found[arm].append(time.perf_counter() - began)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=NETS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--side", type=int, default=96, help="pixels")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--dtype", default="fastest")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    side, batch, rounds = arguments.side, arguments.batch, arguments.rounds
    nets = arguments.nets
    if arguments.smoke:
        nets, side, batch, rounds = ["MobileNet"], 32, 2, 1

    for name in nets:
        with jft.training.dtype_policy(arguments.dtype):
            models = sides(name, side)
        found = seconds(models, side, batch, rounds)
        row = {"net": name, "side": side, "batch": batch, "rounds": rounds}
        row["dtype"] = models["fused"].backbone.dtype_policy.name
        for arm, times in found.items():
            ratio = float(np.median(np.divide(found["stock"], times)))
            print(
                f"{name} {row['dtype']} {arm:8} "
                f"{np.median(times) * 1e3:8.1f} ms {ratio:.2f}x"
            )
            row[f"{arm}_ms"] = round(float(np.median(times)) * 1e3, 1)
            row[f"{arm}_ratio"] = round(ratio, 3)
        if not arguments.smoke:
            rows.append(RESULTS / "adapted.jsonl", {**row, **rows.provenance()})


if __name__ == "__main__":
    main()
