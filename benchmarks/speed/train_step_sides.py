"""Time the sides of train_step.py in one process, on request.

TensorFlow only reads some settings when it is imported, so each needs a process
of its own. train_step.py starts this script, which prints the names of its
sides and then, for each name on standard input, the images per second of a
round; both as JSON.
"""

import functools
import importlib.util
import json
import pathlib
import subprocess
import sys
import time

import keras
import numpy as np
from keras import ops

import keras_jft as jft
from keras_jft.scaling.rows import rows

HERE = pathlib.Path(__file__).parent
NETS = {"small": (32, 64, 200), "resnet50": (224, 16, 1000)}
"""Net: side in pixels, batch, classes."""
OPTIMIZER = {"learning_rate": 0.01, "momentum": 0.9}
# Forward and backward of an image, counted from the shapes of the products.
GFLOP = {"small": 0.097, "resnet50": 22.9}
ACCELERATOR = rows.provenance()["accelerator"] or ""


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
    """Return the same net of Keras's layers, with Keras's loss and `fit`."""
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
    """Return images, targets for our loss and targets for Keras's."""
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
    """Return a function that times the steps of a `fit`, without the first."""
    model.fit(
        x[:batch], y[:batch], batch_size=batch, verbose=0
    )  # The first call traces.

    def images_a_second():
        clock = _Clock()
        model.fit(x, y, batch_size=batch, verbose=0, callbacks=[clock])
        seconds = clock.times[-1] - clock.times[0]
        return batch * (len(clock.times) - 1) / seconds

    return images_a_second


def torch_side(net, dtype, batch, steps, python, *, compiled):
    """Return a function that times steps of PyTorch in its own process."""
    side, _, classes = NETS[net]
    about = {"net": net, "side": side, "batch": batch, "classes": classes}
    about |= {"dtype": dtype, "compiled": compiled}
    process = subprocess.Popen(
        [python, HERE / "torch_resnet.py", json.dumps(about)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def images_a_second():
        print(steps - 1, file=process.stdin, flush=True)
        return batch * (steps - 1) / float(process.stdout.readline())

    images_a_second()  # Compiles, warms up.
    return images_a_second


def product_side(net, dtype, n):
    """Return a function that times a matrix product of `n` rows and columns.

    It gives the images per second if a step only did its products, at the rate
    of one large product.
    """
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


def sides(
    net, batch, steps, *, dtypes, compiled=False, product=None, torch=None
):
    """Return `{name: function}` of the sides to time.

    Args:
        net: A name in `NETS`.
        batch: Images.
        steps: Of a round.
        dtypes: Dtype policies.
        compiled: Whether PyTorch is timed by `torch.compile` too.
        product: Rows and columns of the large product, if not the usual.
        torch: The Python that has PyTorch; by default this one, if it has.
    """
    images, ids, dense = data(net, batch, steps)
    made = {}
    for dtype in dtypes:
        for name, make, targets in (
            ("keras", stock, dense),
            ("keras_jft", ours, ids),
        ):
            model = make(net, dtype)
            made[f"{name} {dtype}"] = keras_side(model, batch, images, targets)
    plain = [dtype.removeprefix("mixed_") for dtype in dtypes]
    if torch is None and importlib.util.find_spec("torch"):
        torch = sys.executable
    if torch is None:
        print("PyTorch is not installed: not timed.", file=sys.stderr)
    else:
        peer = functools.partial(
            torch_side, net, batch=batch, steps=steps, python=torch
        )
        for dtype in plain:
            made[f"torch {dtype}"] = peer(dtype, compiled=False)
            if compiled:
                made[f"torch.compile {dtype}"] = peer(dtype, compiled=True)
    product = product or (8192 if ACCELERATOR else 2048)
    for dtype in plain:
        made[f"product {dtype}"] = product_side(net, dtype, product)
    return made


def main():
    answers, sys.stdout = sys.stdout, sys.stderr  # What libraries print.
    arguments = json.loads(sys.argv[1])
    timed = sides(**arguments)
    print(json.dumps([*timed]), file=answers, flush=True)
    for line in sys.stdin:
        speed = timed[line.strip()]()
        print(json.dumps(speed), file=answers, flush=True)


if __name__ == "__main__":
    main()
