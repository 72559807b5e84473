"""How fast is a training step beside stock Keras? The demo's small net.

Question: the small studies' ResNet (four basic units, width 16) at 32 px,
batch 64, 200 labels: images a second of `keras_jft` `fit` beside Keras's own
`fit` of the same net in float32 with Keras's batch normalization.

Command:

    python benchmarks/speed/train_step.py

Both sides run in one process, in turn, and the ratio is the median over the
rounds. Rows go to benchmarks/results/train_step.jsonl.

Result (2-core Xeon with AMX, 24 GB, TensorFlow 2.21, Keras 3.15.1; medians of
7 rounds of 60 steps):

    keras float32               746 images/s  1.00x
    keras_jft float32          1194 images/s  1.56x
    keras_jft mixed_bfloat16   1644 images/s  1.99x
"""

import argparse
import os
import pathlib
import sys
import time

# Big activations given back to the system at every step make page faults
# dominate on virtual machines. glibc reads these when a process starts.
MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "1000000000",
}
if any(os.environ.get(key) != value for key, value in MALLOC.items()):
    os.environ.update(MALLOC)
    os.execv(sys.executable, [sys.executable, *sys.argv])

import keras
import numpy as np

import keras_jft as jft
from keras_jft.scaling import rows

RESULTS = pathlib.Path(__file__).parent.parent / "results"
SIDE, BATCH, CLASSES = 32, 64, 200


def ours(dtype):
    """Our net, loss and `fit` under a dtype policy."""
    with jft.training.dtype_policy(dtype):
        backbone = jft.ResNet(
            (1, 1, 1, 1),
            width=16,
            block="basic",
            stem="small",
            bn_momentum=0.9,
            image_shape=(SIDE, SIDE, 3),
        )
        model = jft.MultiLabelClassifier(backbone, CLASSES)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9))
    return model


def stock():
    """The same net of Keras's layers, dense targets, Keras's `fit`."""

    def unit(x, filters, stride):
        layers = keras.layers
        shortcut = x
        if stride != 1 or x.shape[-1] != filters:
            shortcut = layers.Conv2D(filters, 1, stride, use_bias=False)(x)
            shortcut = layers.BatchNormalization()(shortcut)
        x = layers.Conv2D(filters, 3, stride, "same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        return layers.ReLU()(layers.Add()([x, shortcut]))

    inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    for filters, stride in ((16, 1), (32, 2), (64, 2), (128, 2)):
        x = unit(x, filters, stride)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(CLASSES)(x))
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    return model


def images_a_second(model, x, y):
    """Speed of one `fit` over the arrays."""
    began = time.perf_counter()
    model.fit(x, y, batch_size=BATCH, verbose=0)
    return len(x) / (time.perf_counter() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.rounds, arguments.steps = 1, 2

    rng = np.random.default_rng(0)
    count = arguments.steps * BATCH
    images = rng.integers(0, 256, (count, SIDE, SIDE, 3)).astype("uint8")
    ids = rng.integers(0, CLASSES, (count, 2)).astype("int32")
    dense = np.zeros((count, CLASSES), "float32")
    np.put_along_axis(dense, ids, 1.0, axis=1)

    fastest = jft.training.fastest_dtype_policy()
    sides = {"keras float32": (stock(), images, dense)}
    for dtype in dict.fromkeys(("float32", fastest)):
        sides[f"keras_jft {dtype}"] = (ours(dtype), images, ids)
    for model, x, y in sides.values():
        model.fit(x[: 2 * BATCH], y[: 2 * BATCH], batch_size=BATCH, verbose=0)
    speeds = {name: [] for name in sides}
    for _ in range(arguments.rounds):
        for name, side in sides.items():
            speeds[name].append(images_a_second(*side))

    stock_speeds = np.array(speeds["keras float32"])
    for name, values in speeds.items():
        ratio = float(np.median(np.array(values) / stock_speeds))
        row = {
            "net": "small, 32 px, batch 64, 200 labels",
            "side": name,
            "images_per_second": round(float(np.median(values)), 1),
            "ratio": round(ratio, 3),
            "rounds": arguments.rounds,
        }
        print(
            f"{name:28s} {row['images_per_second']:8.0f} images/s {ratio:.2f}x"
        )
        if not arguments.smoke:
            rows.append(RESULTS / "train_step.jsonl", row)


if __name__ == "__main__":
    main()
