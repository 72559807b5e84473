"""How fast is a training step beside stock Keras?

Question: images a second of our `fit` beside Keras's own of the same net, for
the small studies' ResNet (four basic units, width 16, 32 px, batch 64, 200
labels) and for ResNet-50 (224 px, batch 16, 1,000 classes, beside
`keras.applications.ResNet50`).

Commands:

    python benchmarks/speed/train_step.py
    python benchmarks/speed/train_step.py --net resnet50 --steps 4 --rounds 5

Both sides run in one process, in turn, and the ratio is the median over the
rounds. Rows go to benchmarks/results/train_step.jsonl.

Result (2-core Xeon with AMX, 24 GB, TensorFlow 2.21, Keras 3.15.1; a virtual
machine whose speed drifts, so look at the ratios, medians of paired rounds):

                                small            resnet50
    keras float32             747 images/s      6.2 images/s
    keras_jft float32        1240  1.24x        6.2  1.49x
    keras mixed_bfloat16     1049  1.38x        7.8  1.28x
    keras_jft mixed_bfloat16 1850  2.40x       12.3  2.46x

Two other runs of the small net gave 1.56x and 1.35x in float32, 1.99x and 1.93x
in mixed_bfloat16.
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
OPTIMIZER = {"learning_rate": 0.01, "momentum": 0.9}
# Net: side in pixels, batch, classes.
NETS = {"small": (32, 64, 200), "resnet50": (224, 16, 1000)}


def ours(net, dtype):
    """Our net, loss and `fit` under a dtype policy."""
    side, _, classes = NETS[net]
    with jft.training.dtype_policy(dtype):
        if net == "resnet50":
            backbone = jft.ResNet.from_depth(50, image_shape=(side, side, 3))
            model = jft.Classifier(backbone, classes)
        else:
            backbone = jft.ResNet(
                (1, 1, 1, 1),
                width=16,
                block="basic",
                stem="small",
                bn_momentum=0.9,
                image_shape=(side, side, 3),
            )
            model = jft.MultiLabelClassifier(backbone, classes)
    model.compile(keras.optimizers.SGD(**OPTIMIZER))
    return model


def stock(net, dtype):
    """The same net of Keras's layers, with Keras's loss and `fit`."""
    with jft.training.dtype_policy(dtype):
        if net == "resnet50":
            model = keras.applications.ResNet50(
                weights=None, classifier_activation=None
            )
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        else:
            model = _small()
            loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(**OPTIMIZER), loss=loss)
    return model


def _small():
    side, _, classes = NETS["small"]

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

    inputs = keras.Input((side, side, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    for filters, stride in ((16, 1), (32, 2), (64, 2), (128, 2)):
        x = unit(x, filters, stride)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(x))


def data(net, steps):
    """Images, targets for our loss and targets for Keras's."""
    side, batch, classes = NETS[net]
    rng = np.random.default_rng(0)
    shape = (steps * batch, side, side, 3)
    images = rng.integers(0, 256, shape, dtype="uint8")
    if net == "resnet50":
        labels = rng.integers(0, classes, len(images)).astype("int32")
        return images, labels, labels
    ids = rng.integers(0, classes, (len(images), 2)).astype("int32")
    dense = np.zeros((len(images), classes), "float32")
    np.put_along_axis(dense, ids, 1.0, axis=1)
    return images, ids, dense


class _Clock(keras.callbacks.Callback):
    """When each step ended."""

    def on_epoch_begin(self, epoch, logs=None):
        self.times = []

    def on_train_batch_end(self, batch, logs=None):
        self.times.append(time.perf_counter())


def images_a_second(model, x, y, batch):
    """Speed of the steps of one `fit` over the arrays, without the first."""
    clock = _Clock()
    model.fit(x, y, batch_size=batch, verbose=0, callbacks=[clock])
    seconds = clock.times[-1] - clock.times[0]
    return batch * (len(clock.times) - 1) / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", choices=NETS, default="small")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.rounds, arguments.steps = 1, 2
    net, (_, batch, _) = arguments.net, NETS[arguments.net]

    images, ids, dense = data(net, arguments.steps)
    dtypes = ("float32", jft.training.fastest_dtype_policy())
    sides = {}
    for dtype in dict.fromkeys(dtypes):
        sides[f"keras {dtype}"] = (stock(net, dtype), images, dense)
        sides[f"keras_jft {dtype}"] = (ours(net, dtype), images, ids)
    for model, x, y in sides.values():  # Traces.
        model.fit(x[:batch], y[:batch], batch_size=batch, verbose=0)
    speeds = {name: [] for name in sides}
    for _ in range(arguments.rounds):
        for name, side in sides.items():
            speeds[name].append(images_a_second(*side, batch))

    peer = np.array(speeds["keras float32"])
    for name, values in speeds.items():
        row = {
            "net": net,
            "side": name,
            "images_per_second": round(float(np.median(values)), 1),
            "ratio": round(float(np.median(np.array(values) / peer)), 3),
            "rounds": arguments.rounds,
        }
        print(
            f"{name:26s} {row['images_per_second']:8.1f} images/s "
            f"{row['ratio']:.2f}x"
        )
        if not arguments.smoke:
            rows.append(
                RESULTS / "train_step.jsonl", {**row, **rows.provenance()}
            )


if __name__ == "__main__":
    main()
