"""Train with many labels on several workers, with the results of one device.

    python -m keras_jft.training.launch --workers 2 examples/multi_worker.py

Each process runs this script; on a cluster, TF_CONFIG must be set (see
docs/clusters.md). Without a cluster it trains on the devices of this machine.
Worker 0 prints the progress, and writes checkpoints and the model. If a worker
dies, restart everything: the run continues from its last checkpoint, which all
workers must be able to read.
"""

import argparse
import pathlib

import keras

import keras_jft as jft
from keras_jft import checks


def main(num_examples, epochs, directory):
    # The strategy comes first: TensorFlow must join the cluster before it runs.
    strategy = jft.training.strategy("auto")
    keras.utils.set_random_seed(0)
    data = jft.data.load("synthetic", num_examples=num_examples)
    # Global batches: each worker takes its share of every one.
    batches = jft.data.batches(
        data, batch_size=64, transforms="flip", training=True
    )
    with strategy.scope():
        backbone = jft.ResNet(
            (1, 1, 1, 1),
            width=16,
            block="basic",
            stem="small",
            bn_momentum=0.9,
            image_shape=(32, 32, 3),
        )
        model = jft.MultiLabelClassifier(
            backbone, len(data.info.label_names), label_prior=0.05
        )
        rate = jft.training.warmup_cosine(0.02, steps=epochs * len(batches))
        model.compile(keras.optimizers.SGD(rate, momentum=0.9))
    model.fit(
        batches,
        epochs=epochs,
        callbacks=[jft.training.Checkpoint(directory, save_every=50)],
        verbose=2,
    )
    model.save(directory / "model.keras")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--num-examples", type=int, default=2_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument(
        "--directory", type=pathlib.Path, default="multi_worker"
    )
    given = parser.parse_args()
    with checks.on_command_line():
        main(given.num_examples, given.epochs, given.directory)
