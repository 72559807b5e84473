"""What does a distribution strategy cost on one machine?

Question: images a second of `fit` of the small studies' net (32 px, global
batch 128, 200 labels) on one device, on two logical devices of one process
(`mirrored`) and in two processes (`multi_worker`), all on the same cores: what
is lost is the cost of the strategy itself.

Command:

    python benchmarks/speed/strategies.py

Each round starts the sides anew, in turn; the ratio is the median over the
rounds. Rows go to benchmarks/results/strategies.jsonl.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import time

# Big arrays given back to the system at every step make page faults dominate
# on virtual machines. glibc reads these when a process starts.
MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "1000000000",
}
RESULTS = pathlib.Path(__file__).parent.parent / "results"
SIDES = ("one_device", "mirrored", "multi_worker")
SAID = re.compile(r"images/s: ([\d.]+)")


def measure(side, steps, batch):
    """Prints the images a second of one side; runs in its own process."""
    import keras
    import numpy as np
    import tensorflow as tf

    import keras_jft as jft

    if side == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, devices)
    strategy = jft.training.strategy(side)
    rng = np.random.default_rng(0)
    count = steps * batch
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype="uint8")
    labels = rng.integers(0, 200, (count, 2)).astype("int32")
    data = tf.data.Dataset.from_tensor_slices((images, labels))
    data = data.batch(batch, drop_remainder=True).prefetch(2)
    with strategy.scope(), jft.training.dtype_policy("fastest"):
        backbone = jft.ResNet(
            (1, 1, 1, 1),
            width=16,
            block="basic",
            stem="small",
            bn_momentum=0.9,
            image_shape=(32, 32, 3),
        )
        model = jft.MultiLabelClassifier(backbone, 200)
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9))

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds = time.perf_counter() - self.began

    clock = Clock()
    model.fit(data, epochs=2, verbose=0, callbacks=[clock])
    print(f"images/s: {count / clock.seconds:.1f}", flush=True)


def images_a_second(side, steps, batch):
    """The speed that a fresh process, or a cluster of two, measures."""
    script = [__file__, "--side", side]
    script += ["--steps", str(steps), "--batch", str(batch)]
    launcher = ["-m", "keras_jft.training.launch", "--workers", "2"]
    before = launcher if side == "multi_worker" else []
    done = subprocess.run(
        [sys.executable, *before, *script],
        env={**os.environ, **MALLOC},
        capture_output=True,
        text=True,
    )
    speeds = [float(speed) for speed in SAID.findall(done.stdout)]
    if not speeds:
        raise RuntimeError(f"{side} measured nothing:\n{done.stderr[-2000:]}")
    return float(min(speeds))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.side:
        measure(arguments.side, arguments.steps, arguments.batch)
        return
    if arguments.smoke:
        arguments.rounds, arguments.steps, arguments.batch = 1, 2, 16
    speeds = {side: [] for side in SIDES}
    for _ in range(arguments.rounds):
        for side in SIDES:
            speeds[side].append(
                images_a_second(side, arguments.steps, arguments.batch)
            )
    _report(speeds, arguments)


def _report(speeds, arguments):
    import numpy as np

    from keras_jft.scaling import rows

    peer = np.array(speeds["one_device"])
    for side, values in speeds.items():
        row = {
            "side": side,
            "batch": arguments.batch,
            "images_per_second": round(float(np.median(values)), 1),
            "ratio": round(float(np.median(np.array(values) / peer)), 3),
            "rounds": arguments.rounds,
        }
        print(
            f"{side:14s} {row['images_per_second']:8.1f} images/s "
            f"{row['ratio']:.2f}x"
        )
        if not arguments.smoke:
            rows.append(
                RESULTS / "strategies.jsonl", {**row, **rows.provenance()}
            )


if __name__ == "__main__":
    main()
