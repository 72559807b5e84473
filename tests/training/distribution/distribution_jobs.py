"""Models on JAX devices: what one process of one or of several does."""

import os
import pathlib

import jax
import keras
import numpy as np
from cluster_jobs import many_label
from jax.experimental import multihost_utils
from keras import distribution

from keras_jft import training
from keras_jft.training.distribution import jax_layouts

SIZE, BATCH = 24, 8


def part(index, count):
    """A contract batch of the images of each batch that a process sees."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (SIZE, 16, 16, 3)).astype("uint8")
    labels = rng.integers(-1, 5, (SIZE, 3)).astype("int32")
    rows = np.arange(SIZE).reshape(-1, count, BATCH // count)[:, index].ravel()
    return {"images": images[rows], "labels": labels[rows]}


def distribute(name):
    """Says how Keras uses the devices."""
    if name == "one_device":
        new = None
    elif name == "data_parallel":
        new = distribution.DataParallel(auto_shard_dataset=False)
    else:
        # Two processes have a device each: these split the head.
        shape = (jax.device_count() // 2, 2)
        mesh = distribution.DeviceMesh(shape, ("batch", "model"))
        layouts = training.layout_map(mesh)
        new = distribution.ModelParallel(
            layout_map=layouts, auto_shard_dataset=False
        )
    distribution.set_distribution(new)


def build():
    """A model, the same whenever it is built."""
    keras.utils.set_random_seed(1)
    model = many_label(frozen=False, shards=2)
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, name="sgd")
    model.compile(optimizer, l2=1e-3, metrics=[])
    return model


def train(index, count, run):
    """Weights, optimizer, logits of a model that is fit for two epochs.

    Several processes stop after the first and go on from a checkpoint.
    """
    data, size = part(index, count), BATCH // count
    fit = {"batch_size": size, "shuffle": False, "verbose": 0}
    model = build()
    if jax.process_count() > 1:
        model.fit(data, epochs=1, callbacks=[training.Checkpoint(run)], **fit)
        multihost_utils.sync_global_devices("the first process has written")
        model = build()
        fit["callbacks"] = [training.Checkpoint(run)]
    model.fit(data, epochs=2, **fit)
    model.save(f"{run}.keras")
    yield "steps", np.array(model.optimizer.iterations)
    yield "logits", model.predict(data, batch_size=size, verbose=0)
    for variable in [*model.weights, *model.optimizer.variables]:
        yield variable.path, jax_layouts.on_host(variable)
        held = variable.value.addressable_shards[0]
        yield f"held {variable.path}", held.data.shape


def main(path, names):
    """Trains under each of the names, separated by commas.

    Leaves in the file `path` weights, predictions and the shapes of what a
    device holds. With the variables of `keras.distribution.initialize` in the
    environment it trains on this process's part of every batch, or of the head.
    """
    index, count = 0, 1
    if "KERAS_DISTRIBUTION_NUM_PROCESSES" in os.environ:
        distribution.initialize()
        count = int(os.environ["KERAS_DISTRIBUTION_NUM_PROCESSES"])
        index = int(os.environ["KERAS_DISTRIBUTION_PROCESS_ID"])
    results = {}
    for name in names.split(","):
        distribute(name)
        run = pathlib.Path(path).parent / f"{name} of {count}"
        # Processes that split the head of one model see every image.
        seen = (0, 1) if name == "model_parallel" else (index, count)
        for key, value in train(*seen, run):
            results[f"{name} {key}".replace("/", "|")] = value
    np.savez(path, **results)
