"""Train with many labels asynchronously, by parameter servers, as in the paper.

    python -m keras_jft.training.launch --workers 2 --servers 2 \\
        examples/parameter_server.py

Each process runs this script; on a cluster, TF_CONFIG must be set (see
docs/clusters.md). Workers and servers stay in the call that creates the
strategy; the chief continues, hands out steps and prints the progress. A worker
may die and come back. If a server dies, restart everything: the run continues
from its last checkpoint.
"""

import argparse
import pathlib

import keras

import keras_jft as jft
from keras_jft import checks


def main(num_examples, epochs, directory):
    strategy = jft.training.strategy("parameter_server")
    # Only the chief gets here.
    keras.utils.set_random_seed(0)
    data = jft.data.load("synthetic", num_examples=num_examples)
    test = jft.data.load("synthetic", split="test", num_examples=256)
    # Each step is one whole batch on one worker.
    batches = jft.data.batches(
        data, batch_size=32, transforms="flip", training=True
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
            backbone, len(data.info.label_names), shards=4, label_prior=0.05
        )
        rate = jft.training.warmup_cosine(0.02, steps=epochs * len(batches))
        model.compile(keras.optimizers.SGD(rate, momentum=0.9))
    model.fit(
        batches,
        validation_data=jft.data.batches(test, batch_size=32),
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
        "--directory", type=pathlib.Path, default="parameter_server"
    )
    given = parser.parse_args()
    with checks.on_command_line():
        main(given.num_examples, given.epochs, given.directory)
