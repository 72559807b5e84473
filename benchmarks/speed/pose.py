"""How fast is the pose estimator, and what do its targets and votes cost?

Question: how many people per second in inference and in training at 353 x 257
(ResNet-101, output stride 8, mixed_bfloat16 if the CPU has it)? How much of a
training step is spent on targets and losses, including upsampling, with two
people in the background? And how fast is Hough voting compared with a loop over
pixels?

Command:

    python benchmarks/speed/pose.py

Everything is timed in turn, round by round; times are medians. The loop votes
for one of the 17 keypoints and counts 17 times. Rows go to
benchmarks/results/speed_pose.jsonl.

Result (ResNet-101, batch 4, mixed_bfloat16, 3 rounds, 1 minute; 2 cores of an
AMD EPYC, 24 GB, TensorFlow 2.21, Keras 3.15.1): 2.43 people per second in
inference, 0.81 in training, of which targets and losses take 1.1%. Votes take
58 ms per person, 28 times less than the loop.
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
from keras_jft.transfer.heads.pose import decoding

RESULTS = pathlib.Path(__file__).parent.parent / "results"
PEOPLE = 3  # In a crop: the one it is of, and two more.


def estimator(depth, size):
    """Return a compiled estimator with its outputs and targets."""
    with jft.training.dtype_policy("fastest"):
        if depth:
            backbone = jft.ResNet.from_depth(depth, image_shape=(*size, 3))
        else:
            backbone = jft.ResNet(
                (1, 1, 1, 1), width=16, block="basic", image_shape=(*size, 3)
            )
        model = jft.PoseEstimator(backbone, radius=25 * size[0] / 353)
    model.compile(keras.optimizers.SGD(1e-4, momentum=0.9))
    return model


def people(batch, size):
    """Return keypoints `(batch, PEOPLE, 17, 3)` at random in the crops."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0, size[::-1], (batch, PEOPLE, 17, 2))
    seen = np.full((batch, PEOPLE, 17, 1), 2)
    return np.concatenate([places, seen], axis=-1).astype("float32")


def compiled_loss(model):
    """Compute targets and losses, and their gradient by the outputs."""
    loss = model.default_loss()

    @tf.function
    def step(outputs, targets):
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            value = loss(targets, outputs)
        return tape.gradient(value, outputs)

    return step


def loop(heat, offsets, radius):
    """Compute the votes for one keypoint (equation 1), pixel by pixel."""
    height, width = heat.shape
    scores = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            x = column + offsets[0, row, column]
            y = row + offsets[1, row, column]
            left, top = int(np.floor(x)), int(np.floor(y))
            for i in (top, top + 1):
                for j in (left, left + 1):
                    if 0 <= i < height and 0 <= j < width:
                        share = (1 - abs(x - j)) * (1 - abs(y - i))
                        scores[i, j] += share * heat[row, column]
    return scores / (np.pi * radius**2)


def measure(depth, size, batch, rounds):
    """Return the seconds of each side, medians over rounds."""
    model = estimator(depth, size)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, *size, 3), "uint8")
    targets = people(batch, size)
    outputs = tf.constant(model(images, training=False))
    loss = compiled_loss(model)
    heat, offsets = decoding.maps(outputs, size, model.output_stride)
    vote = tf.function(
        lambda outputs: decoding.best(
            decoding.vote(
                *decoding.maps(outputs, size, model.output_stride),
                model.radius,
            )
        )
    )
    one = np.array(heat[0, 0]), np.array(offsets[0, 0])
    sides = {
        "inference": lambda: model.predict_on_batch(images),
        "training": lambda: model.train_on_batch(images, targets),
        "loss": lambda: loss(outputs, tf.constant(targets)).numpy(),
        "decode": lambda: vote(outputs)["scores"].numpy(),
        "loop": lambda: loop(*one, model.radius),
    }
    times = {side: [] for side in sides}
    for number in range(rounds + 1):
        for side, run in sides.items():
            began = time.perf_counter()
            run()
            if number:  # The first round traces.
                times[side].append(time.perf_counter() - began)
    return {side: float(np.median(taken)) for side, taken in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=101)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    size = (353, 257)
    if arguments.smoke:
        arguments.depth, arguments.batch, arguments.rounds = 0, 2, 1
        size = (65, 49)
    seconds = measure(arguments.depth, size, arguments.batch, arguments.rounds)
    batch = arguments.batch
    row = {
        "depth": arguments.depth,
        "batch": batch,
        "rounds": arguments.rounds,
        "policy": jft.training.fastest_dtype_policy(),
        "people_per_second_inference": batch / seconds["inference"],
        "people_per_second_training": batch / seconds["training"],
        "loss_share": seconds["loss"] / seconds["training"],
        "decode_ms_per_person": 1e3 * seconds["decode"] / batch,
        "loop_ms_per_person": 17e3 * seconds["loop"],
        "decode_speedup": 17 * seconds["loop"] / (seconds["decode"] / batch),
    }
    for name, value in row.items():
        print(name, round(value, 4) if isinstance(value, float) else value)
    if not arguments.smoke:
        rows.append(RESULTS / "speed_pose.jsonl", {**row, **rows.provenance()})


if __name__ == "__main__":
    main()
