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

On 2 cores of an AMD EPYC without AMX (24 GB, PyTorch 2.13.0):

                                small            resnet50
    keras float32            1086 images/s      6.0 images/s
    keras_jft float32        1262  1.17x        7.7  1.29x
    keras mixed_bfloat16     1063  0.99x        8.2  1.38x
    keras_jft mixed_bfloat16 1689  1.60x       13.2  2.19x
    torch bfloat16                             13.9  2.27x
    products float32         2215  2.04x        9.4  1.54x
    products bfloat16        4155  3.81x       18.0  2.96x

The last two lines: had a step nothing to do but its products, at the rate of
one large product. Another run of resnet50, its cores shared, gave 1.20x and
1.97x, and 1.44x for PyTorch.
"""

import argparse
import functools
import importlib.util
import pathlib
import subprocess
import sys
import time

import kept_memory

NETS = {"small": (32, 64, 200), "resnet50": (224, 16, 1000)}
"""Net: side in pixels, batch, classes."""


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", choices=NETS, default="small")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=60, help="in a round")
    parser.add_argument("--batch", type=int, help="images, if not the net's")
    parser.add_argument("--backend", choices=("tensorflow", "jax"))
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--smoke", action="store_true")
    return parser.parse_args()


ARGUMENTS = parse()
# Keras reads its backend when it is imported.
kept_memory.restart(
    **({"KERAS_BACKEND": ARGUMENTS.backend} if ARGUMENTS.backend else {})
)

import keras
import numpy as np
from keras import ops

import keras_jft as jft
from keras_jft.scaling import rows

HERE = pathlib.Path(__file__).parent
RESULTS = HERE.parent / "results"
OPTIMIZER = {"learning_rate": 0.01, "momentum": 0.9}
# Forward and backward of an image, counted from the shapes of the products.
GFLOP = {"small": 0.097, "resnet50": 22.9}
# Dense bfloat16 teraflop/s by NVIDIA's data sheets.
PEAKS = {"H100 PCIe": 756, "H100": 989, "H200": 989, "A100": 312, "L4": 121}
ACCELERATOR = rows.provenance()["accelerator"] or ""
# Columns of a row: the side that the ratio is to.
RATIOS = {
    "ratio": "keras float32",
    "ratio_bfloat16": "keras mixed_bfloat16",
    "ratio_torch": "torch bfloat16",
}


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


def data(net, batch, steps):
    """Images, targets for our loss and targets for Keras's."""
    side, _, classes = NETS[net]
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


def keras_side(model, batch, x, y):
    """A function that times the steps of one `fit`, without the first."""
    model.fit(x[:batch], y[:batch], batch_size=batch, verbose=0)  # Traces.

    def images_a_second():
        clock = _Clock()
        model.fit(x, y, batch_size=batch, verbose=0, callbacks=[clock])
        seconds = clock.times[-1] - clock.times[0]
        return batch * (len(clock.times) - 1) / seconds

    return images_a_second


def torch_side(net, batch, steps, *, compiled):
    """A function that times steps of PyTorch, in a process of its own."""
    side, _, classes = NETS[net]
    numbers = (side, batch, classes, int(compiled))
    process = subprocess.Popen(
        [sys.executable, HERE / "torch_resnet.py", *map(str, numbers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def images_a_second():
        print(steps - 1, file=process.stdin, flush=True)
        return batch * (steps - 1) / float(process.stdout.readline())

    images_a_second()  # Compiles, warms up.
    return images_a_second


def product_side(net, dtype):
    """A function that times a matrix product: images a second, had a step
    nothing else to do and its own products this size.
    """
    n = 8192 if ACCELERATOR else 2048
    a = ops.cast(np.random.default_rng(0).normal(0, 1, (n, n)), dtype)

    def images_a_second():
        began = time.perf_counter()
        for _ in range(8):
            product = ops.matmul(a, a)
        float(product[0, 0])  # Waits.
        flop = 8 * 2 * n**3 / (time.perf_counter() - began)
        return flop / (1e9 * GFLOP[net])

    images_a_second()
    return images_a_second


def sides(net, batch, steps, dtypes):
    """`{name: function}`: who is timed, in turn."""
    images, ids, dense = data(net, batch, steps)
    made = {}
    for dtype in dtypes:
        for name, make, targets in (
            ("keras", stock, dense),
            ("keras_jft", ours, ids),
        ):
            model = make(net, dtype)
            made[f"{name} {dtype}"] = keras_side(model, batch, images, targets)
    if net == "resnet50" and importlib.util.find_spec("torch"):
        peer = functools.partial(torch_side, net, batch, steps)
        made["torch bfloat16"] = peer(compiled=False)
        if ARGUMENTS.compile:
            made["torch.compile bfloat16"] = peer(compiled=True)
    for dtype in dtypes:
        dtype = dtype.removeprefix("mixed_")
        made[f"product {dtype}"] = product_side(net, dtype)
    return made


def row(net, name, speeds):
    """One side's medians over the rounds, and ratios of paired rounds."""
    speed = float(np.median(speeds[name]))
    columns = {"net": net, "side": name, "images_per_second": round(speed, 1)}
    for column, peer in RATIOS.items():
        if peer in speeds:
            ratios = np.array(speeds[name]) / np.array(speeds[peer])
            columns[column] = round(float(np.median(ratios)), 3)
    teraflops = speed * GFLOP[net] / 1e3
    columns["teraflops"] = round(teraflops, 3)
    for device, peak in PEAKS.items():
        if device in ACCELERATOR and "share_of_peak" not in columns:
            columns["share_of_peak"] = round(teraflops / peak, 3)
    return columns


def main():
    net, rounds, steps = ARGUMENTS.net, ARGUMENTS.rounds, ARGUMENTS.steps
    dtypes = ["float32", jft.training.fastest_dtype_policy()]
    if ARGUMENTS.smoke:
        rounds, steps, dtypes = 1, 2, dtypes[1:]
    batch = ARGUMENTS.batch or NETS[net][1]

    timed = sides(net, batch, steps, dict.fromkeys(dtypes))
    speeds = {name: [] for name in timed}
    for _ in range(rounds):
        for name, images_a_second in timed.items():
            speeds[name].append(images_a_second())

    for name in timed:
        columns = row(net, name, speeds) | {"batch": batch, "rounds": rounds}
        print(
            f"{name:26s} {columns['images_per_second']:8.1f} images/s",
            *(f"{key} {columns[key]:.2f}" for key in RATIOS if key in columns),
        )
        if not ARGUMENTS.smoke:
            rows.append(
                RESULTS / "train_step.jsonl", {**columns, **rows.provenance()}
            )


if __name__ == "__main__":
    main()
