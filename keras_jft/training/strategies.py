"""One function for every way of using devices and machines."""

import contextlib
import functools
import json
import os

import keras

from keras_jft import checks
from keras_jft.training import precision

NAMES = ("auto", "one_device", "mirrored", "multi_worker")


def strategy(name="auto", *, devices=None):
    """How a model is trained: on which devices, in which processes.

    Make the backbone, the model, its optimizer and its metrics inside
    `strategy.scope()`; then `fit`, `evaluate` and `predict` work as on one
    device. Several devices need the TensorFlow backend.

    `"multi_worker"` reads the environment variable `TF_CONFIG`, which `python
    -m keras_jft.training.launch` sets on one machine. Every process runs the
    same script, and makes its strategy before anything runs on a device.

    Args:
        name: `"auto"`: what `TF_CONFIG` describes, else all accelerators of
            this machine. `"one_device"`. `"mirrored"`: a copy of the model on
            each device, every batch split over them. `"multi_worker"`: the
            same, over processes.
        devices: Names of devices for `"mirrored"`, such as `["GPU:0",
            "GPU:1"]`, or of the one for `"one_device"`. Default: all, or the
            first.

    Returns:
        A `tf.distribute.Strategy`; on other backends, something with `scope()`.

    Raises:
        ValueError: If the name is unknown, the backend has one device only,
            or `TF_CONFIG` does not fit the name.

    Example:

    >>> with keras_jft.training.strategy("one_device").scope():
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.count_params()
    3
    """
    checks.one_of("name", name, NAMES)
    task = _task()
    if name == "auto":
        name = _fitting(task)
    if name == "multi_worker":
        _check_cluster(task)
    if keras.backend.backend() == "tensorflow":
        return _tensorflow(name, devices)
    if name != "one_device":
        raise ValueError(
            f"strategy({name!r}) needs KERAS_BACKEND=tensorflow. Received: "
            f"KERAS_BACKEND={keras.backend.backend()}. On JAX, call "
            "`keras.distribution.set_distribution(keras.distribution."
            "DataParallel(auto_shard_dataset=False))` before the model is made."
        )
    return _OneDevice()


class _OneDevice:
    """What a backend does by itself."""

    scope = staticmethod(contextlib.nullcontext)


def _task():
    """`TF_CONFIG`: `{"cluster": {job: [address, ...]}, "task": {...}}`."""
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        config = json.loads(text)
        cluster = {job: list(a) for job, a in config.get("cluster", {}).items()}
        return {"cluster": cluster, "type": config.get("task", {}).get("type")}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            "`TF_CONFIG` must be JSON such as "
            '{"cluster": {"worker": ["host:port", "host:port"]}, "task": '
            f'{{"type": "worker", "index": 0}}}}. Received: {text!r}.'
        ) from error


def _fitting(task):
    if sum(map(len, task["cluster"].values())) > 1:
        return "multi_worker"
    if len(precision.accelerators()) > 1:
        backend = keras.backend.backend()
        return "mirrored" if backend == "tensorflow" else "one_device"
    return "one_device"


def _check_cluster(task):
    jobs = set(task["cluster"])
    if "worker" not in jobs or "ps" in jobs or task["type"] is None:
        raise ValueError(
            'strategy("multi_worker") needs the environment variable TF_CONFIG '
            'with the job "worker", no "ps", and this process\'s task. '
            f"Received: TF_CONFIG={os.environ.get('TF_CONFIG')!r}. On one "
            "machine, start the script by `python -m keras_jft.training.launch "
            "--workers 2 script.py`; `docs/clusters.md` has Kubernetes and "
            "Slurm."
        )


def _tensorflow(name, devices):
    import tensorflow as tf

    if name == "multi_worker":
        return _multi_worker()
    if name == "mirrored":
        if not devices:
            kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
            devices = [d.name for d in tf.config.list_logical_devices(kind)]
        return _mirrored(tuple(devices))
    if devices:
        return tf.distribute.OneDeviceStrategy(devices[0])
    return tf.distribute.get_strategy()


# TensorFlow numbers the reductions of each strategy from the same start: of two
# over the same devices one would wait for what the other sends.


@functools.cache
def _mirrored(devices):
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


@functools.cache
def _multi_worker():
    import tensorflow as tf

    return tf.distribute.MultiWorkerMirroredStrategy()
