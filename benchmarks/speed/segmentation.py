"""How fast is DeepLab on ResNet-101 at 513 x 513, and which kernels make it so?

Question: how many seconds do a training step and an inference of one image
take, compared with the same graph without fused batch normalization, with the
same graph of Keras's own layers, with KerasCV's DeepLabV3+ (its ResNet-101,
output stride 32, 512 x 512), with our adapter of it, and with torchvision's
DeepLabV3 on ResNet-101 on the same images? How many does each way
to run a dilated convolution on a CPU take, forward and with both gradients?

Commands:

    python benchmarks/speed/segmentation.py --part models --rounds 3 \\
        --torch PYTHON
    python benchmarks/speed/segmentation.py --part kernels --rounds 9

All sides run in one process, in turn; medians over the rounds, and medians of
the ratios of a round. torchvision runs in the Python that `--torch` names, if
any. Rows go to benchmarks/results/speed_segmentation.jsonl.

Result of the models (mixed_bfloat16, batch 1, ResNet-101, 2 cores of an AMD
EPYC, 24 GB, TensorFlow 2.21, Keras 3.15.1, KerasCV 0.9; seconds):

                                   step           inference
    keras_jft                      3.38           1.10
    without fused normalization    3.94  1.12x    1.28  1.16x
    keras layers                   4.67  1.33x    1.33  1.18x
    keras_jft v3+                  1.43  0.42x    0.40  0.37x
    keras_cv v3+                   2.04  0.61x    0.55  0.51x

KerasCV's net is faster than ASPP-L because it is a different one: at output
stride 32, its conv4 and conv5 have a quarter and a sixteenth of the positions
of stride 8. The same head on our backbone takes 0.70 of its time. The choices
of `keras_jft.layers.Conv2D` (one shifted product for the branches, the
convolution as it is for the backbone) make the difference between "keras
layers" and "without fused normalization": 4.67 and 3.94 s per step.

Result of the kernels (mixed_bfloat16, oneDNN on, 5 rounds, shared cores; times
as long as Keras's way, by space to batch; step, inference), 65 x 65 features:

    channels, rate         256, 2     512, 4     2048 to 21, 6  2048 to 21, 24
    as it is              0.94 0.93  0.83 0.97    1.37 2.65       0.33 0.77
    gradients written out 0.94 0.95  0.75 0.91    1.36 2.62       0.39 0.70
    image to columns      2.46 1.25  1.51 1.18    9.05 1.93       3.78 1.27
    nine products         2.62 1.40  1.60 1.14    9.43 1.05       3.57 0.70
    one product, shifted  2.35 1.48  1.52 1.39    0.54 0.52       0.20 0.29

`keras_jft.layers.Conv2D` uses the second line for the first two columns and the
last line for the others. Without oneDNN (`TF_ENABLE_ONEDNN_OPTS=0`, which needs
`--dtype float32`) TensorFlow has no gradients for "as it is".

Cost: 4 minutes of models, 1 of kernels, each on free cores.
"""

import argparse
import contextlib
import functools
import os
import pathlib
import tempfile
import time
import unittest.mock

import kept_memory

kept_memory.restart()
# TensorFlow reads it once, when it is imported.
ONEDNN = os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf
import torch_vision

import keras_jft as jft
from keras_jft import layers
from keras_jft.layers import convolution
from keras_jft.scaling.rows import rows

RESULTS = pathlib.Path(__file__).parent.parent / "results"
CLASSES = 21
# Inputs, outputs and rate of conv4's, conv5's and two branches' convolutions.
CONVOLUTIONS = ((256, 256, 2), (512, 512, 4), (2048, 21, 6), (2048, 21, 24))


# === Whole models ===


def aspp(side, depth):
    """Return our model, as the recipe trains it."""
    backbone = jft.ResNet.from_depth(depth, image_shape=(side, side, 3))
    model = jft.DeepLabASPP(backbone, CLASSES, bn_mode="affine")
    model.compile(**jft.transfer.recipe("deeplab_aspp", "voc2012"))
    return model


def v3_plus(side, depth):
    """Our adapter of KerasCV's head, on our backbone."""
    side -= side % 32
    backbone = jft.ResNet.from_depth(depth, image_shape=(side, side, 3))
    model = jft.DeepLabV3Plus(backbone, CLASSES)
    model.compile(**jft.transfer.recipe("deeplab_v3_plus", "voc2012"))
    return model


def keras_cv(side, depth):
    """Return KerasCV's head on KerasCV's backbone."""
    import keras_cv

    side -= side % 32
    backbone = keras_cv.models.ResNetBackbone(
        stackwise_filters=[64, 128, 256, 512],
        stackwise_blocks=[*jft.backbones.resnet.DEPTHS[depth][1]],
        stackwise_strides=[1, 2, 2, 2],
        include_rescaling=True,
        input_shape=(side, side, 3),
    )
    model = keras_cv.models.DeepLabV3Plus(backbone, CLASSES)
    model.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        jit_compile=False,
    )
    return model


def stock(*names):
    """Replace our kernels by Keras's while a graph is traced."""
    stack = contextlib.ExitStack()
    for cls, method in (
        (layers.FusedBatchNormalization, "_has_kernel"),
        (layers.Conv2D, "_is_plain"),
    ):
        if method in names:
            stack.enter_context(
                unittest.mock.patch.object(cls, method, lambda *_: False)
            )
    return stack


SIDES = {
    "keras_jft": (aspp, ()),
    "without fused normalization": (aspp, ("_has_kernel",)),
    "keras layers": (aspp, ("_has_kernel", "_is_plain")),
    "keras_jft v3+": (v3_plus, ()),
    "keras_cv v3+": (keras_cv, ()),
}


def compare_models(arguments):
    """Return rows with the seconds of a step and an inference of each side."""
    side, depth = (64, 50) if arguments.smoke else (513, 101)
    runs = {}
    for name in arguments.sides:
        make, patched = SIDES[name]
        with jft.training.dtype_policy(arguments.dtype), stock(*patched):
            model = make(side, depth)
            images, masks = _data(*model.input.shape[1:3])
            runs["step", name] = _step(model, images, masks)
            runs["inference", name] = _inference(model, images)
            for kind in ("step", "inference"):  # The first call traces.
                runs[kind, name]()
        print(f"{name} is ready", flush=True)
    if arguments.torch:
        dtype = arguments.dtype.removeprefix("mixed_")
        peer = _torchvision(arguments.torch, side, dtype)
        for kind in ("step", "inference"):
            runs[kind, "torchvision v3"] = functools.partial(peer.run, kind)
            peer.run(kind)
    return _rows(runs, arguments, "keras_jft")


def _data(height, width):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1, height, width, 3), dtype="uint8")
    return images, rng.integers(0, CLASSES, (1, height, width, 1), "uint8")


def _torchvision(python, side, dtype):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "data.npz")
        images, masks = _data(side, side)
        np.savez(path, images=images, masks=masks)
        peer = torch_vision.Peer(python, "deeplab", path, dtype, CLASSES)
        peer.run("inference")  # It has read the file.
    return peer


def _step(model, images, masks):
    images, masks = tf.constant(images), tf.constant(masks)
    return lambda: model.train_on_batch(images, masks)


def _inference(model, images):
    images = tf.constant(images)
    return lambda: model.predict_on_batch(images)


# === Kernels of a dilated convolution ===


def _space_to_batch(x, kernel, rate):
    return tf.nn.convolution(x, kernel, padding="SAME", dilations=rate)


def _as_it_is(x, kernel, rate):
    """Convolve with TensorFlow's kernels; oneDNN computes the gradient."""
    return tf.nn.conv2d(x, kernel, 1, "SAME", dilations=rate)


def _written_out(x, kernel, rate):
    """Convolve, with gradients made of convolutions and products."""
    return convolution._dilated(x, kernel, (rate, rate))


def _columns(x, kernel, rate):
    """Convolve by one product of the nine shifted images side by side."""
    windows = tf.concat([*_windows(x, rate)], axis=-1)
    flat = tf.reshape(kernel, (1, 1, -1, kernel.shape[-1]))
    return convolution._product(windows, flat)


def _products(x, kernel, rate):
    """Convolve by adding nine products."""
    return tf.add_n(
        [
            convolution._product(window, kernel[i, j][None, None])
            for (i, j), window in zip(
                np.ndindex(3, 3), _windows(x, rate), strict=True
            )
        ]
    )


def _windows(x, rate):
    return convolution._windows(x, (3, 3), (rate, rate))


def _shifted_sum(x, kernel, rate):
    return convolution._shifted_sum(x, kernel, (rate, rate))


KERNELS = {
    "keras (space to batch)": _space_to_batch,
    "as it is": _as_it_is,
    "gradients written out": _written_out,
    "image to columns": _columns,
    "nine products": _products,
    "one product, shifted": _shifted_sum,
}


def compare_kernels(arguments):
    """Return rows with the milliseconds of each kernel and convolution."""
    found, side = [], 9 if arguments.smoke else 65
    dtype = keras.DTypePolicy(arguments.dtype).compute_dtype
    # The others only have other sizes.
    convolutions = CONVOLUTIONS[::2] if arguments.smoke else CONVOLUTIONS
    for inputs, outputs, rate in convolutions:
        x = tf.cast(tf.random.normal((1, side, side, inputs)), dtype)
        kernel = tf.random.normal((3, 3, inputs, outputs), 0, 0.02)
        kernel = tf.cast(kernel, dtype)
        runs = {}
        for name, convolve in KERNELS.items():
            if ONEDNN == "1" or convolve != _as_it_is:
                runs["step", name] = _gradients(convolve, x, kernel, rate)
            runs["inference", name] = _forward(convolve, x, kernel, rate)
        about = {"inputs": inputs, "outputs": outputs, "rate": rate}
        for run in runs.values():  # The first call traces.
            run()
        found += _rows(runs, arguments, "keras (space to batch)", about)
    return found


def _forward(convolve, x, kernel, rate):
    function = tf.function(lambda x, kernel: convolve(x, kernel, rate))
    return lambda: function(x, kernel)


def _gradients(convolve, x, kernel, rate):
    @tf.function
    def gradients(x, kernel):
        outputs = convolve(x, kernel, rate)
        return tf.gradients(outputs, [x, kernel], outputs)

    return lambda: gradients(x, kernel)


# === Rows ===


def _rows(runs, arguments, peer, about=None):
    """Time `runs` in turn; print and return one row for each."""
    seconds = {key: [] for key in runs}
    for _ in range(arguments.rounds):
        for key, run in runs.items():
            began = time.perf_counter()
            run()
            seconds[key].append(time.perf_counter() - began)
    found = []
    for (kind, name), values in seconds.items():
        ratios = np.array(values) / seconds[kind, peer]
        row = {
            "part": arguments.part,
            "kind": kind,
            "side": name,
            "dtype": arguments.dtype,
            "onednn": {"0": "off", "1": "on"}[ONEDNN],
            **(about or {}),
            "seconds": round(float(np.median(values)), 4),
            "ratio": round(float(np.median(ratios)), 3),
            "rounds": arguments.rounds,
        }
        found.append(row)
        print(
            *(about or {}).values(),
            f"{kind:10s} {name:28s} {row['seconds']:8.4f} s "
            f"{row['ratio']:6.2f} of {peer}",
            flush=True,
        )
    return found


PARTS = {"models": compare_models, "kernels": compare_kernels}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, default="kernels")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=[*SIDES])
    parser.add_argument("--torch", help="a Python that has torchvision")
    parser.add_argument("--dtype", default="fastest")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.dtype == "fastest":
        arguments.dtype = jft.training.fastest_dtype_policy()
    if arguments.smoke:
        arguments.rounds = 1
    for row in PARTS[arguments.part](arguments):
        if not arguments.smoke:
            path = RESULTS / "speed_segmentation.jsonl"
            rows.append(path, {**row, **rows.provenance()})


if __name__ == "__main__":
    main()
