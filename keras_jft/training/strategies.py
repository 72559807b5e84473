"""One function for every way of using devices and machines."""

import functools
import json
import os

import keras

from keras_jft import checks

NAMES = ("auto", "one_device", "mirrored", "multi_worker", "parameter_server")


def strategy(name="auto", *, devices=None):
    """How a model is trained: where its variables are, and who computes.

    Make the backbone, the model and `compile` it inside `strategy.scope()`;
    then `fit`, `evaluate` and `predict` work as on one device. On TensorFlow
    make it before anything runs on a device.

    `"multi_worker"` and `"parameter_server"` read the environment variable
    `TF_CONFIG`, which `python -m keras_jft.training.launch` sets on one
    machine. Every process runs the same script. Under `"parameter_server"`
    only the chief returns from this function: workers and servers serve it
    until they are stopped.

    Args:
        name: `"auto"`: what `TF_CONFIG` describes, else all accelerators of
            this machine. `"one_device"`. `"mirrored"`: a copy of the model on
            each device, every batch split over them. `"multi_worker"`: the
            same, over processes. `"parameter_server"`: variables on servers,
            workers that update them when each is done with its batch
            (asynchronous, as the paper trained).
        devices: Names of devices for `"mirrored"`, such as `["GPU:0",
            "GPU:1"]`, or of the one for `"one_device"`. Default: all, or the
            first.

    Returns:
        A `tf.distribute.Strategy`; on JAX, a
        `keras.distribution.DataParallel`. Both have `scope()`.

    Raises:
        ValueError: If the name is unknown, or `TF_CONFIG` does not fit it.

    Example:

    >>> with keras_jft.training.strategy("one_device").scope():
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.count_params()
    3

    References:
        Dean et al. 2012, "Large Scale Distributed Deep Networks" (Downpour).
    """
    checks.one_of("name", name, NAMES)
    task = _task()
    if name == "auto":
        name = _fitting(task)
    if name in ("multi_worker", "parameter_server"):
        _check_cluster(name, task)
    builders = {"tensorflow": _tensorflow, "jax": _jax}
    backend = keras.backend.backend()
    if backend not in builders:
        raise ValueError(
            "Strategies exist on the backends tensorflow and jax. Received: "
            f"KERAS_BACKEND={backend}."
        )
    return builders[backend](name, task, devices)


def _task():
    """`TF_CONFIG`: `{"cluster": {job: [address, ...]}, "task": {...}}`."""
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        config = json.loads(text)
        cluster = {job: list(a) for job, a in config.get("cluster", {}).items()}
        task = config.get("task", {})
        return {
            "cluster": cluster,
            "type": task.get("type"),
            "index": int(task.get("index", 0)),
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            "`TF_CONFIG` must be JSON such as "
            '{"cluster": {"worker": ["host:port", "host:port"]}, "task": '
            f'{{"type": "worker", "index": 0}}}}. Received: {text!r}.'
        ) from error


def _fitting(task):
    if "ps" in task["cluster"]:
        return "parameter_server"
    if sum(map(len, task["cluster"].values())) > 1:
        return "multi_worker"
    from keras_jft.training import precision

    return "mirrored" if len(precision.accelerators()) > 1 else "one_device"


def _check_cluster(name, task):
    jobs = {"multi_worker": ("worker",), "parameter_server": ("worker", "ps")}
    missing = [job for job in jobs[name] if not task["cluster"].get(job)]
    if missing or task["type"] is None:
        raise ValueError(
            f"strategy({name!r}) needs the environment variable TF_CONFIG "
            f"with the jobs {list(jobs[name])} in its cluster and this "
            f"process's task. Received: TF_CONFIG="
            f"{os.environ.get('TF_CONFIG')!r}. On one machine, start the "
            "script by `python -m keras_jft.training.launch --workers 2 "
            "script.py`; `docs/clusters.md` has Kubernetes and Slurm."
        )


def _tensorflow(name, task, devices):
    import tensorflow as tf

    if name == "one_device":
        if devices:
            return tf.distribute.OneDeviceStrategy(devices[0])
        return tf.distribute.get_strategy()
    if name == "mirrored":
        if not devices:
            kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
            devices = [d.name for d in tf.config.list_logical_devices(kind)]
        return _mirrored(tuple(devices))
    if name == "multi_worker":
        return _multi_worker()
    from keras_jft.training import parameter_server

    return parameter_server.connect(task)


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


def _jax(name, task, devices):
    if name == "parameter_server":
        raise ValueError(
            'strategy("parameter_server") is TensorFlow\'s. Received: '
            "KERAS_BACKEND=jax. Set KERAS_BACKEND=tensorflow, or take "
            '"multi_worker".'
        )
    if name == "multi_worker":
        addresses = task["cluster"]["worker"]
        keras.distribution.initialize(
            job_addresses=addresses[0],
            num_processes=len(addresses),
            process_id=task["index"],
        )
    if name == "one_device":
        devices = (devices or keras.distribution.list_devices())[:1]
    return keras.distribution.DataParallel(
        devices=devices, auto_shard_dataset=False
    )
