"""What does a distribution strategy cost on one machine, and asynchrony?

Question: images per second of `fit`, and the loss on test images after the same
number of training images, of the small studies' net (32 px, batch 128, 286
labels of the synthetic world) on one device, on two logical devices of one
process (`mirrored`), in two processes (`multi_worker`), and asynchronously with
a chief, two workers and two servers (`parameter_server`), all on the same
cores? The difference in speed is the cost of the strategy itself, and that in
loss the cost of stale gradients.

Command:

    python benchmarks/speed/strategies.py

Each seed starts all sides again, in turn; the ratio is the median over the
seeds. A row of each goes to benchmarks/results/strategies.jsonl. Cost: five
minutes on 2 cores, which all five processes of `parameter_server` share.

Result so far, on 2 cores, with 40 steps of 128 images per epoch and four
epochs, of which the last is timed; two seeds of one_device and multi_worker,
one of the others:

| | images/s of one_device | test loss by seed |
|---|---|---|
| one_device | 1 | 20.48, 20.87 |
| mirrored | 0.87 | 20.79 |
| multi_worker | 0.90, 0.90 | 20.79, 20.82 |
| parameter_server | 0.70 | -, 21.73 |
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import kept_memory

RESULTS = pathlib.Path(__file__).parent.parent / "results"
EPOCHS = 4
# Side: what starts it.
LAUNCHER = ("-m", "keras_jft.training.launch", "--workers")
SIDES = {
    "one_device": (),
    "mirrored": (),
    "multi_worker": (*LAUNCHER, "2"),
    "parameter_server": (*LAUNCHER, "2", "--servers", "2"),
}
SAID = re.compile(r"images/s: ([\d.]+), test loss: ([\d.]+)")


def measure(side, steps, batch, seed, folder):
    """Print the speed and loss of one side; run in its own process."""
    import keras
    import tensorflow as tf

    import keras_jft as jft

    if side == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, devices)
    strategy = jft.training.strategy(side)
    keras.utils.set_random_seed(seed)
    train, test = cached(steps * batch, folder)
    batches = jft.data.batches(train, batch, training=True, seed=seed)
    with strategy.scope(), jft.training.dtype_policy("fastest"):
        backbone = jft.ResNet(
            (1, 1, 1, 1),
            width=16,
            block="basic",
            stem="small",
            bn_momentum=0.9,
            image_shape=(32, 32, 3),
        )
        model = jft.MultiLabelClassifier(
            backbone, len(train.info.label_names), label_prior=0.05
        )
        model.compile(keras.optimizers.SGD(0.02, momentum=0.9))

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds = time.perf_counter() - self.began

    clock = Clock()
    model.fit(batches, epochs=EPOCHS, verbose=0, callbacks=[clock])
    speed = steps * batch / clock.seconds
    loss = model.evaluate(jft.data.batches(test, batch), verbose=0)
    loss = loss[0] if isinstance(loss, list) else loss
    print(f"images/s: {speed:.1f}, test loss: {loss:.4f}", flush=True)


def cached(count, folder):
    """Return training and test images, rendered on the first call."""
    import keras_jft as jft

    return [
        jft.data.cache(
            jft.data.load("synthetic", split=split, num_examples=number),
            pathlib.Path(folder, split),
        )
        for split, number in (("train", count), ("test", count // 4))
    ]


def run(side, arguments, seed, folder):
    """Run a new process or cluster; return images per second, test loss."""
    started = (*LAUNCHER, "1") if arguments.smoke else SIDES[side]
    options = {
        "side": side,
        "steps": arguments.steps,
        "batch": arguments.batch,
        "seed": seed,
        "folder": folder,
    }
    script = [__file__]
    for name, value in options.items():
        script += [f"--{name}", str(value)]
    done = subprocess.run(
        [sys.executable, *started, *script],
        env={**os.environ, **kept_memory.ENVIRONMENT},
        capture_output=True,
        text=True,
    )
    said = [tuple(map(float, numbers)) for numbers in SAID.findall(done.stdout)]
    if not said:
        raise RuntimeError(
            f"{side} measured nothing:\n{done.stdout[-2000:]}\n"
            f"{done.stderr[-2000:]}"
        )
    return min(said)  # Of two workers, that of the slower.


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    for name, kind in (("side", str), ("seed", int), ("folder", str)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    steps, batch = arguments.steps, arguments.batch
    if arguments.side:
        measure(arguments.side, steps, batch, arguments.seed, arguments.folder)
        return
    if arguments.smoke:
        arguments.seeds, arguments.steps, arguments.batch = [0], 2, 16
        # The rest starts likewise; a second worker would do the same.
        arguments.sides = ("multi_worker",)
    found = {side: [] for side in arguments.sides}
    with tempfile.TemporaryDirectory() as folder:
        cached(arguments.steps * arguments.batch, folder)
        for seed in arguments.seeds:
            for side in arguments.sides:
                found[side].append(run(side, arguments, seed, folder))
                _keep(side, seed, found[side][-1], arguments)
    _report(found)


def _keep(side, seed, measured, arguments):
    from keras_jft.scaling.rows import rows

    speed, loss = measured
    print(f"{side} {seed}: {speed} images/s, test loss {loss}", flush=True)
    row = {
        "side": side,
        "seed": seed,
        "batch": arguments.batch,
        "images": EPOCHS * arguments.steps * arguments.batch,
        "images_per_second": speed,
        "test_loss": loss,
    }
    if not arguments.smoke:
        path = RESULTS / "strategies.jsonl"
        rows.append(path, {**row, **rows.provenance()})


def _report(found):
    import numpy as np

    peer = np.array(found[next(iter(found))])[:, 0]
    for side, values in found.items():
        speeds, losses = np.array(values).T
        print(
            f"{side:16s} {np.median(speeds):8.1f} images/s "
            f"{np.median(speeds / peer):.2f}x, test loss {losses.mean():.3f} "
            f"± {losses.std(ddof=len(losses) > 1):.3f}"
        )


if __name__ == "__main__":
    main()
