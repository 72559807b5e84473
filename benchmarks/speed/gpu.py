"""How near do training steps come to the peak of a GPU, on JAX?

Question: images per second of a training step in mixed bfloat16, on data that
is on the device, and the share of the device's bfloat16 peak: ResNet-50 beside
PyTorch, eager and by `torch.compile`; a head of 18,291 labels on it; DeepLab on
ResNet-101 at 513 x 513; Faster R-CNN on ResNet-50 at 600 x 1024.

Command:

    python benchmarks/speed/gpu.py

Each item is a process of its own, with a limit of seconds, which takes steps
until its share of that is used. A row is written as soon as an item ends, so
that a limit on the whole call loses no more than the item it cuts off; an item
that fails or takes too long has a row that says so. All limits together are 6
minutes. Rows go to gpu.jsonl in benchmarks/results, or to `--out`.

The floating-point operations of a step are counted as three times those of the
products and convolutions in the forward pass of a training step, as JAX traces
it (a multiply-add is 2): the backward pass computes a product for the inputs
and one for the weights. Normalization, losses and the optimizer are not
counted. That is 23.1 GFLOP per image for ResNet-50 at 224 px, where PyTorch's
are taken to be as many. `--peak` is what the shares refer to, by default the
790 teraflop/s of an H200; the item `product` times one large product of
bfloat16 on the same device.

The package does without TensorFlow on JAX, apart from `tf.data`; here it is
hidden even where it is installed. PyTorch is only timed if it is installed.

There are no results yet: it has only run in small, on a CPU.
"""

import argparse
import importlib.util
import json
import math
import os
import pathlib
import subprocess
import sys
import time

import numpy as np

HERE = pathlib.Path(__file__).parent
RESULTS = HERE.parent / "results"
# Item: seconds that it may take, images in a batch.
ITEMS = {
    "product": (15, 1),
    "resnet50": (65, 256),
    "torch.compile resnet50": (65, 256),
    "torch resnet50": (20, 256),
    "many labels": (60, 256),
    "deeplab": (65, 32),
    "faster_rcnn": (70, 8),
}
LABELS = 18_291
TINY = 2  # Images in a batch of `--smoke`.


# === Items: functions that return the model and a batch ===


def resnet50(jft, batch, *, smoke):
    side, classes = (32, 10) if smoke else (224, 1000)
    model = jft.Classifier(_backbone(jft, 50, (side, side), smoke), classes)
    model.compile(_sgd())
    return model, (_images(batch, side, side), _integers(classes, batch))


def many_labels(jft, batch, *, smoke):
    side, labels = (32, 100) if smoke else (224, LABELS)
    backbone = _backbone(jft, 50, (side, side), smoke)
    model = jft.MultiLabelClassifier(backbone, labels, label_prior=2 / labels)
    model.compile(_sgd())
    return model, (_images(batch, side, side), _integers(labels, batch, 2))


def deeplab(jft, batch, *, smoke):
    side, classes = (33, 5) if smoke else (513, 21)
    backbone = _backbone(jft, 101, (side, side), smoke)
    model = jft.DeepLabASPP(backbone, classes, bn_mode="affine")
    model.compile(_sgd())
    masks = _integers(classes, batch, side, side, 1).astype("uint8")
    return model, (_images(batch, side, side), masks)


def faster_rcnn(jft, batch, *, smoke):
    size, few = (600, 1024), {}
    if smoke:
        size = 64, 96
        few = {"rpn_filters": 8, "head_samples": 8, "num_proposals": 8}
    model = jft.FasterRCNN(_backbone(jft, 50, size, smoke), 80, **few)
    model.compile(_sgd())
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.6, (batch, 8, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.05, 0.4, low.shape)], -1)
    boxes = (boxes * np.tile(size[::-1], 2)).astype("float32")
    truth = {"boxes": boxes, "labels": _integers(80, batch, 8)}
    return model, ({"images": _images(batch, *size)}, truth)


NETS = {
    "resnet50": resnet50,
    "many labels": many_labels,
    "deeplab": deeplab,
    "faster_rcnn": faster_rcnn,
}


def _backbone(jft, depth, size, smoke):
    if smoke:
        return jft.ResNet(
            (1, 1, 1, 1), width=4, block="basic", image_shape=(*size, 3)
        )
    return jft.ResNet.from_depth(depth, image_shape=(*size, 3))


def _sgd():
    import keras

    return keras.optimizers.SGD(0.01, momentum=0.9)


def _images(batch, height, width):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (batch, height, width, 3), dtype="uint8")


def _integers(below, *shape):
    return np.random.default_rng(1).integers(0, below, shape).astype("int32")


# === Counting and timing ===


def products(jaxpr):
    """Return the floating-point operations of products and convolutions.

    A loop of unknown length counts once, and of branches the dearest.

    Args:
        jaxpr: What `jax.make_jaxpr` returns, or an inner one.
    """
    found = 0
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        name, about = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracted, _), _ = about["dimension_numbers"]
            left = equation.invars[0].aval.shape
            sums = math.prod(left[axis] for axis in contracted)
            found += 2 * math.prod(equation.outvars[0].aval.shape) * sums
        elif name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            outputs = kernel[about["dimension_numbers"].rhs_spec[0]]
            sums = math.prod(kernel) // outputs
            found += 2 * math.prod(equation.outvars[0].aval.shape) * sums
        else:
            inner = [products(part) for part in _inner(about.values())] or [0]
            times = about["length"] if name == "scan" else 1
            found += times * (max if name == "cond" else sum)(inner)
    return found


def _inner(values):
    """Yield the jaxprs among the parameters of an equation."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _inner(value)
        elif hasattr(value, "eqns") or hasattr(value, "jaxpr"):
            yield value


def timed(step, seconds, most=200):
    """Return the median seconds of a step that waits until it is done.

    Args:
        step: A function without arguments.
        seconds: For how long to repeat it, at least 3 times.
        most: Most repetitions.
    """
    taken, began = [], time.perf_counter()
    while len(taken) < 3 or (
        len(taken) < most and time.perf_counter() - began < seconds
    ):
        start = time.perf_counter()
        step()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def net_row(name, batch, seconds, *, smoke):
    """Return a row of one of our nets."""
    import jax

    import keras_jft as jft

    # On a CPU XLA may lack a product of bfloat16.
    policy = "float32" if smoke else "mixed_bfloat16"
    with jft.training.dtype_policy(policy):
        model, (x, y) = NETS[name](jft, batch, smoke=smoke)
    model.optimizer.build(model.trainable_variables)
    x, y = jax.device_put((x, y))
    trained = [v.value for v in model.trainable_variables]
    others = [v.value for v in model.non_trainable_variables]

    def forward(trained, others, x, y):
        inputs = model.step_inputs(x, y)
        return model.stateless_call(trained, others, inputs, training=True)[0]

    flop = 3 * products(jax.make_jaxpr(forward)(trained, others, x, y))
    of_optimizer = [v.value for v in model.optimizer.variables]
    of_metrics = [v.value for v in model.metrics_variables]
    state = trained, others, of_optimizer, of_metrics
    compiled = jax.jit(model.train_step, donate_argnums=0)

    def step():
        nonlocal state
        logs, state = compiled(state, (x, y))
        jax.block_until_ready(state)
        return logs

    began = time.perf_counter()
    logs = step()
    first = time.perf_counter() - began
    loss = float(logs["loss"])
    if not math.isfinite(loss):
        raise FloatingPointError(f"The loss of {name} is {loss}.")
    step()
    return _row(timed(step, seconds), batch, flop, first_step_s=round(first, 1))


def product_row(seconds, *, smoke):
    """Return a row of one large product."""
    import jax
    import jax.numpy as jnp

    n = 64 if smoke else 16_384
    a = jnp.ones((n, n), "bfloat16")
    multiply = jax.jit(jnp.matmul)

    def step():
        multiply(a, a).block_until_ready()

    step()
    return _row(timed(step, seconds), 1, 2 * n**3)


def torch_row(batch, seconds, *, compiled, smoke):
    """Return a row of PyTorch's ResNet-50."""
    import torch_resnet

    side, classes = (32, 10) if smoke else (224, 1000)
    step = torch_resnet.trainer(
        "resnet50", side, batch, classes, "bfloat16", compiled
    )
    began = time.perf_counter()
    step()
    first = time.perf_counter() - began
    step()
    flop = 23.15e9 * batch * (side / 224) ** 2
    return _row(timed(step, seconds), batch, flop, first_step_s=round(first, 1))


def _row(step, batch, flop, **about):
    return {
        "batch": batch,
        "step_ms": round(1e3 * step, 3),
        "images_per_second": round(batch / step, 1),
        "gflop_per_image": round(flop / batch / 1e9, 3),
        "teraflops": round(flop / step / 1e12, 2),
        **about,
    }


# === Processes ===


def measure(name, batch, seconds, *, smoke):
    """Return the row of an item, in its own process."""
    if name == "product":
        row = product_row(seconds, smoke=smoke)
    elif name.startswith("torch"):
        compiled = name.startswith("torch.compile")
        row = torch_row(batch, seconds, compiled=compiled, smoke=smoke)
    else:
        row = net_row(name, batch, seconds, smoke=smoke)
    from keras_jft.scaling.rows import rows

    return {**row, **rows.provenance()}


def started(name, arguments, limit):
    """Return the row of an item from a process of its own."""
    batch = TINY if arguments.smoke else arguments.batch or ITEMS[name][1]
    call = {"name": name, "batch": batch, "smoke": arguments.smoke}
    call["seconds"] = 0 if arguments.smoke else limit / 6
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        # PyTorch shares the device, if it comes next.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    if arguments.smoke:
        environment["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
        limit = 600
    try:
        process = subprocess.run(
            [sys.executable, __file__, "--measure", json.dumps(call)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"more than {limit:.0f} s"}
    if process.returncode:
        return {"error": process.stderr.strip()[-400:]}
    return json.loads(process.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", nargs="+", choices=ITEMS, default=[*ITEMS])
    parser.add_argument("--batch", type=int, help="images, if not the item's")
    parser.add_argument("--peak", type=float, default=790, help="teraflop/s")
    parser.add_argument("--limit", type=float, default=360, help="seconds")
    parser.add_argument("--out", default=RESULTS / "gpu.jsonl", help="of rows")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        # Hidden, as if it were not installed.
        sys.modules["tensorflow"] = None
        print(json.dumps(measure(**arguments.measure)))
        return

    from keras_jft.scaling.rows import rows

    ends = time.monotonic() + arguments.limit
    for name in arguments.items:
        if name.startswith("torch") and not importlib.util.find_spec("torch"):
            print(f"{name}: PyTorch is not installed, so it is not timed.")
            continue
        left = ends - time.monotonic()
        if left < 5:
            print(f"{name}: no time is left.")
            continue
        row = {"item": name}
        row |= started(name, arguments, min(left, ITEMS[name][0]))
        if "teraflops" in row:
            row["share_of_peak"] = round(row["teraflops"] / arguments.peak, 4)
            row["peak_teraflops"] = arguments.peak
        words = ("images_per_second", "teraflops", "share_of_peak", "error")
        print(name, {key: row[key] for key in words if key in row}, flush=True)
        if not arguments.smoke:
            rows.append(arguments.out, row)


if __name__ == "__main__":
    main()
