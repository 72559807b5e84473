"""How fast is Faster R-CNN, and what do its boxes cost?

Question: which share of a training step is not convolutions (proposals with
their suppression, both samplings, the crops and their gradient)? How fast are a
step and a prediction, compared with the same model of stock Keras layers, with
KerasCV's RetinaNet on our backbone and, with a feature pyramid, with
torchvision's on the same images? How fast is the gradient of the crops,
compared with other ways to compute it? Each step has one image of 600 x 1024
with 8 boxes.

Commands:

    python benchmarks/speed/detection.py
    python benchmarks/speed/detection.py --depth 101 --rounds 2
    python benchmarks/speed/detection.py --torch PYTHON \\
        --sides keras_jft "keras_jft fpn"

All sides run in one process, in turn, but torchvision, which runs in the Python
that `--torch` names, if any, with as many proposals and samples as ours. Ratios
are medians over the rounds. Rows go to
benchmarks/results/detection_speed.jsonl.

RetinaNet takes 608 x 1024, as its pyramid needs sides of multiples of 32.

Result in mixed_bfloat16 (2 cores of an AMD EPYC, 24 GB, TensorFlow 2.21, Keras
3.15.1; 3 rounds and 2, 4 minutes each):

                          ResNet-50               ResNet-101
                          a step   predicted      a step   predicted
    keras_jft             2.03 s   0.66/s         2.96 s   0.54/s
    stock layers          1.17x    0.61/s         1.18x    0.47/s
    KerasCV's RetinaNet   1.27x    1.28/s         1.17x    0.99/s

    proposals             9 ms                    7 ms
    both samplings        9 ms                    9 ms
    64 crops, gradient   84 ms                   54 ms
    all, of a step        5.1%                    2.4%
    peak memory          2.7 GB                  3.4 GB

Earlier runs of ResNet-50, on a machine whose speed drifts, gave 1.84 and 2.19 s
a step, and 3.6% for boxes. RetinaNet, of one stage, predicts twice as fast and
trains more slowly.

    gradient of crops         64          300
    keras_jft                 58 ms       255 ms
    two matrix products       67 ms       237 ms
    tf.image                   7 ms        19 ms, wrong by 14% of the largest

On a CPU the threads of tf.image's gradient add to the same features at once,
and some of it is lost; ours is exact for what that costs.
"""

import argparse
import pathlib
import resource
import tempfile
import time
from unittest import mock

import kept_memory

kept_memory.restart()

import keras
import numpy as np
import tensorflow as tf
import torch_vision

import keras_jft as jft
from keras_jft.backbones import resnet
from keras_jft.scaling.rows import rows
from keras_jft.transfer.heads.faster_rcnn import stages

RESULTS = pathlib.Path(__file__).parent.parent / "results"
CLASSES, BOXES = 80, 8


class StockNormalization(keras.layers.BatchNormalization):
    """Keras's layer on its moving statistics, whose gamma and beta train."""

    def __init__(self, *args, mode, **kwargs):
        super().__init__(*args, **kwargs)

    def call(self, inputs, training=None, mask=None):
        """Normalize `inputs` by the moving statistics."""
        return super().call(inputs, training=False)


def backbone(arguments, multiple=1):
    """Return our ResNet, for images whose sides are multiples of a number."""
    shape = (*(-(-side // multiple) * multiple for side in arguments.size), 3)
    if arguments.smoke:
        return jft.ResNet((1, 1, 1, 1), width=16, image_shape=shape)
    return jft.ResNet.from_depth(arguments.depth, image_shape=shape)


def ours(arguments):
    """Return `FasterRCNN`."""
    few = {"rpn_filters": 32, "head_samples": 8, "num_proposals": 16}
    options = few if arguments.smoke else {}
    return jft.FasterRCNN(backbone(arguments), CLASSES, **options)


def with_pyramid(arguments):
    """Return `FasterRCNN` with a feature pyramid."""
    few = {"head_samples": 8, "num_proposals": 16, "neck_filters": 8}
    options = few if arguments.smoke else {}
    net = backbone(arguments, multiple=32)
    return jft.FasterRCNN(net, CLASSES, neck="fpn", **options)


def stock(arguments):
    """Return `FasterRCNN` on a ResNet of Keras's own layers."""
    with (
        mock.patch.object(
            resnet, "FusedBatchNormalization", StockNormalization
        ),
        mock.patch.object(resnet, "Conv2D", keras.layers.Conv2D),
    ):
        return ours(arguments)


def retinanet(arguments):
    """Return KerasCV's RetinaNet on our ResNet, for multiples of 32."""
    return jft.RetinaNet(backbone(arguments, multiple=32), CLASSES)


# How a model is built, and what the sides of its images are multiples of.
SIDES = {
    "keras_jft": (ours, 1),
    "stock layers": (stock, 1),
    "keras_jft fpn": (with_pyramid, 32),
    "keras_cv retinanet": (retinanet, 32),
}


def batch_of(size, images):
    """Return a contract batch of noise and boxes."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.6, (images, BOXES, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.05, 0.4, low.shape)], -1)
    boxes *= np.tile(size[::-1], 2)
    return {
        "images": rng.integers(0, 256, (images, *size, 3), dtype="uint8"),
        "bounding_boxes": {
            "boxes": boxes.astype("float32"),
            "labels": rng.integers(0, CLASSES, (images, BOXES)).astype("int32"),
        },
    }


def padded(batch, multiple):
    """Pad the images of a batch to multiples of a number."""
    height, width = batch["images"].shape[1:3]
    margins = [(0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0)]
    return {**batch, "images": np.pad(batch["images"], margins)}


class _Clock(keras.callbacks.Callback):
    """Records when each step ended."""

    def start(self, *arguments):
        self.times = []

    def stop(self, batch, logs=None):
        self.times.append(time.perf_counter())

    on_epoch_begin = on_predict_begin = start
    on_train_batch_end = on_predict_batch_end = stop


class Torchvision:
    """Torchvision's detector, with the `fit` and `predict` of `seconds`."""

    def __init__(self, python, batch):
        dtype = jft.training.fastest_dtype_policy().removeprefix("mixed_")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "data.npz")
            np.savez(path, images=batch["images"], **batch["bounding_boxes"])
            self._peer = torch_vision.Peer(
                python, "faster_rcnn", path, dtype, CLASSES
            )
            self._peer.run("inference")  # It has read the file.

    def fit(self, batch, batch_size, verbose, callbacks):
        """Take as many steps as Keras would."""
        self._repeat("step", batch, *callbacks)

    def predict(self, batch, batch_size, verbose, callbacks):
        """Predict as many images as Keras would."""
        self._repeat("inference", batch, *callbacks)

    def _repeat(self, kind, batch, clock):
        clock.start()
        for i in range(len(batch["images"])):
            self._peer.run(kind)
            clock.stop(i)


def seconds(run, batch):
    """Return seconds per step of `fit` or `predict`, without the first."""
    clock = _Clock()
    run(batch, batch_size=1, verbose=0, callbacks=[clock])
    return float(np.mean(np.diff(clock.times)))


def of_function(function, *arguments, repeats=5):
    """Return the seconds of a compiled function, the least of several calls."""
    function = tf.function(function)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for output in tf.nest.flatten(function(*arguments)):
            output.numpy()
        times.append(time.perf_counter() - start)
    return min(times)


def box_seconds(model, batch):
    """Return the seconds of the parts of a step that are not convolutions."""
    one = {
        "images": batch["images"][:1],
        **{k: v[:1] for k, v in batch["bounding_boxes"].items()},
    }
    outputs = model(one, training=True)
    size = outputs["image_sizes"]
    height, width = (-(-side // 16) for side in batch["images"].shape[1:3])
    channels = model.backbone.pyramid_outputs["P4"].shape[-1]
    features = tf.random.normal((1, height, width, channels))
    layer = model.get_layer
    anchors = layer("rpn_anchors")(features)
    truth = [tf.constant(one[key]) for key in ("boxes", "labels")]
    found = layer("rpn_proposals")(
        anchors, outputs["rpn_logits"], outputs["rpn_codes"], size
    )
    images = tf.constant(one["images"])

    def crops(features):
        with tf.GradientTape() as tape:
            tape.watch(features)
            crops = layer("head_regions")(
                features, outputs["proposals"], images
            )
        return tape.gradient(crops, features)

    return {
        "proposals": of_function(
            lambda: layer("rpn_proposals")(
                anchors, outputs["rpn_logits"], outputs["rpn_codes"], size
            )
        ),
        "rpn_sampling": of_function(
            lambda: layer("rpn_sampling")(anchors, size, *truth, training=True)
        ),
        "head_sampling": of_function(
            lambda: layer("head_sampling")(found, *truth, training=True)
        ),
        "crops": of_function(crops, features),
    }


def crop_gradients(size, channels, number):
    """Return milliseconds and errors of each way to differentiate crops."""
    rng = np.random.default_rng(0)
    height, width = (-(-side // 16) for side in size)
    features = tf.random.normal((1, height, width, channels))
    low = rng.uniform(0, 0.6, (1, number, 2))
    high = low + rng.uniform(0.03, 0.4, low.shape)
    boxes = tf.constant(np.concatenate([low, high], -1).astype("float32"))
    upstream = tf.random.normal((number, 14, 14, channels))
    images = tf.zeros(number, "int32")

    def gradient(crop):
        def run(features):
            with tf.GradientTape() as tape:
                tape.watch(features)
                crops = crop(features)
            return tape.gradient(crops, features, output_gradients=upstream)

        return run

    def theirs(features):
        yxyx = tf.gather(boxes[0], [1, 0, 3, 2], axis=-1)
        return tf.image.crop_and_resize(features, yxyx, images, [14, 14])

    def weights(low, high, side):
        steps = tf.range(14, dtype="float32") / 13
        at = low[:, None] + steps * (high - low)[:, None]
        nodes = tf.range(side, dtype="float32")
        return tf.maximum(1 - tf.abs(at[..., None] * (side - 1) - nodes), 0)

    def separable(features):
        x1, y1, x2, y2 = (boxes[0, :, i] for i in range(4))
        rows, columns = weights(y1, y2, height), weights(x1, x2, width)
        wide = tf.matmul(columns[:, None], upstream, transpose_a=True)
        wide = tf.reshape(wide, (number * 14, -1))
        return tf.matmul(
            tf.reshape(rows, (number * 14, -1)), wide, transpose_a=True
        )

    ways = {
        "keras_jft": gradient(lambda x: stages.crop(x, boxes, 14)),
        "tf.image": gradient(theirs),
        "two matrix products": separable,
    }
    expected = ways["two matrix products"](features)
    scale = tf.reduce_max(tf.abs(expected))
    errors = {
        name: float(
            tf.reduce_max(
                tf.abs(tf.reshape(way(features), expected.shape) - expected)
            )
            / scale
        )
        for name, way in ways.items()
    }
    for name, way in ways.items():
        yield {
            "way": name,
            "crops": number,
            "milliseconds": round(1e3 * of_function(way, features), 1),
            "largest_error": round(errors[name], 6),
        }


def report(arguments, **row):
    print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)
    if not arguments.smoke:
        row = {"depth": arguments.depth, **row, **rows.provenance()}
        rows.append(RESULTS / "detection_speed.jsonl", row)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=(600, 1024))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=[*SIDES])
    parser.add_argument("--torch", help="a Python that has torchvision")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    sides = {name: SIDES[name] for name in arguments.sides}
    if arguments.smoke:
        arguments.rounds, arguments.size = 1, (64, 96)
        # Tested as heads.
        for name in ("keras_cv retinanet", "keras_jft fpn"):
            sides.pop(name, None)
    # The first is not counted.
    batch = batch_of(arguments.size, 2 if arguments.smoke else 3)

    models, times = {}, {}
    with jft.training.dtype_policy("fastest"):
        for name, (build, multiple) in sides.items():
            models[name] = build(arguments)
            models[name].compile(**jft.transfer.recipe("faster_rcnn", "coco"))
            run = models[name].fit, models[name].predict
            given = padded(batch, multiple)
            times[name] = [
                [seconds(r, given)] for r in run
            ]  # The first call traces.
            if name == "keras_jft":
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    if arguments.torch:
        name, sides = "torchvision fpn", {**sides, "torchvision fpn": (None, 1)}
        models[name] = Torchvision(arguments.torch, batch)
        run = models[name].fit, models[name].predict
        times[name] = [[seconds(r, batch)] for r in run]
    for _ in range(arguments.rounds):
        for name, model in models.items():
            given = padded(batch, sides[name][1])
            for run, values in zip(
                (model.fit, model.predict), times[name], strict=True
            ):
                values.append(seconds(run, given))

    peer = np.array(times["keras_jft"])[:, 1:]
    for name, values in times.items():
        values = np.array(values)[:, 1:]
        step, prediction = np.median(values, axis=1)
        ratios = np.median(values / peer, axis=1)
        report(
            arguments,
            side=name,
            step_seconds=round(step, 3),
            step_ratio=round(ratios[0], 3),
            predicted_images_per_second=round(1 / prediction, 2),
            predict_ratio=round(ratios[1], 3),
            rounds=arguments.rounds,
        )
    step = np.median(peer[0])
    parts = box_seconds(models["keras_jft"], batch)
    report(
        arguments,
        side="boxes",
        share=round(sum(parts.values()) / step, 4),
        peak_gigabytes=round(peak, 2),
        **{f"{k}_milliseconds": round(1e3 * v, 1) for k, v in parts.items()},
    )
    for number in (4,) if arguments.smoke else (64, 300):
        channels = 16 if arguments.smoke else 1024
        for row in crop_gradients(arguments.size, channels, number):
            report(arguments, side="gradient of crops", **row)


if __name__ == "__main__":
    main()
