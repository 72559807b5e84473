"""Strategies: on which devices and machines a model is trained."""

import contextlib
import functools
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

import keras

from keras_jft import checks
from keras_jft.training import keras_internals, precision
from keras_jft.training.distribution import worker_data

NAMES = ("auto", "one_device", "mirrored", "multi_worker", "parameter_server")
PATIENCE = 120
"""Seconds without a chief after which a process assumes the run has ended."""


def strategy(
    name: str = "auto",
    *,
    devices: Sequence[str] | str | None = None,
    resolver: Any = None,
    gradients: str | None = None,
) -> Any:
    """Return a strategy: the devices and processes on which to train.

    Make the backbone, the model, its optimizer and its metrics inside
    `strategy.scope()`; then `fit`, `evaluate` and `predict` work as on one
    device. Several devices need the TensorFlow backend.

    `"multi_worker"` reads the environment variable `TF_CONFIG`, which `python
    -m keras_jft.training.launch` sets on one machine. Every process runs the
    same script and makes its strategy before anything runs on a device.

    `"parameter_server"` reads it too, with the jobs "chief", "worker" and "ps".
    In the chief, this function returns, and the script continues as on one
    device. In workers and servers, it serves the chief, and ends the process
    when the chief has ended.

    With both, TensorFlow's servers listen on all interfaces and run any graph
    that is sent to them: keep their ports in a private network
    (`docs/clusters.md`).

    Args:
        name: `"auto"`: as `TF_CONFIG` says; without it, all accelerators of
            this machine. `"one_device"`. `"mirrored"`: a copy of the model on
            each device, every batch split over them. `"multi_worker"`: the
            same, over processes. `"parameter_server"`: asynchronous; each
            worker has batches of its own, and servers have the variables.
        devices: Names of the devices for `"mirrored"`, such as `["GPU:0",
            "GPU:1"]`, or of the one for `"one_device"`; by default all, or the
            first.
        resolver: A `tf.distribute.cluster_resolver.ClusterResolver` for
            `"parameter_server"`, in place of `TF_CONFIG`.
        gradients: `"bfloat16"`: replicas of `"mirrored"` and `"multi_worker"`
            round gradients to this type to exchange them, in half of the bytes
            (`docs/scale.md`). Weights and optimizer keep theirs. By default,
            gradients are not rounded.

    Returns:
        A `tf.distribute.Strategy`; on other backends, an object with `scope()`.

    Raises:
        ValueError: If the name is unknown, the backend cannot use several
            devices, or `TF_CONFIG` does not match the name.

    Example:

    >>> with keras_jft.training.strategy("one_device").scope():
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.count_params()
    3
    """
    checks.one_of("name", name, NAMES)
    checks.one_of("gradients", gradients, (None, "bfloat16"))
    if isinstance(devices, str):
        raise ValueError(
            '`devices` must be a list, such as ["GPU:0"]. Received: '
            f"{devices!r}."
        )
    if resolver is not None:
        if name != "parameter_server" or gradients:
            raise ValueError(
                '`resolver` is for "parameter_server". Received: '
                f"strategy({name!r}, resolver={resolver!r}, "
                f"gradients={gradients!r})."
            )
        return _parameter_server(resolver)
    task = _task()
    if name == "auto":
        name = _fitting(task)
    if gradients and name == "parameter_server":
        raise ValueError(
            '"parameter_server" exchanges gradients as they are. Received: '
            f"gradients={gradients!r}. Leave it out."
        )
    if name in ("multi_worker", "parameter_server"):
        _check_cluster(name, task)
    if keras.backend.backend() == "tensorflow":
        return _tensorflow(name, devices, gradients)
    if name != "one_device":
        raise ValueError(
            f"strategy({name!r}) needs KERAS_BACKEND=tensorflow. Received: "
            f"KERAS_BACKEND={keras.backend.backend()}. On JAX, call "
            "`keras.distribution.set_distribution(keras.distribution."
            "DataParallel(auto_shard_dataset=False))` before the model is made."
        )
    return _OneDevice()


class _OneDevice:
    """The strategy of a backend that needs none."""

    scope = staticmethod(contextlib.nullcontext)


def _task():
    """Return the cluster of `TF_CONFIG` and the job of this process."""
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
    if "ps" in task["cluster"]:
        return "parameter_server"
    if sum(map(len, task["cluster"].values())) > 1:
        return "multi_worker"
    if len(precision.accelerators()) > 1:
        backend = keras.backend.backend()
        return "mirrored" if backend == "tensorflow" else "one_device"
    return "one_device"


# Strategy: jobs that its cluster must have, options of the launcher.
_CLUSTERS = {
    "multi_worker": ({"worker"}, "--workers 2"),
    "parameter_server": (
        {"chief", "worker", "ps"},
        "--workers 2 --servers 2",
    ),
}


def _check_cluster(name, task):
    jobs = {job for job, addresses in task["cluster"].items() if addresses}
    wanted, options = _CLUSTERS[name]
    if name == "multi_worker":
        jobs.discard("chief")
    if jobs != wanted or task["type"] is None:
        raise ValueError(
            f"strategy({name!r}) needs the environment variable TF_CONFIG with "
            f"the jobs {sorted(wanted)}, no others, and this process's task. "
            f"Received: TF_CONFIG={os.environ.get('TF_CONFIG')!r}. On one "
            "machine, start the script by `python -m keras_jft.training.launch "
            f"{options} script.py`; `docs/clusters.md` has Kubernetes and "
            "Slurm."
        )


def _tensorflow(name, devices, gradients):
    import tensorflow as tf

    if name == "multi_worker":
        return _exchanging(_multi_worker(), gradients)
    if name == "parameter_server":
        return _parameter_server()
    if name == "mirrored":
        if not devices:
            kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
            devices = [d.name for d in tf.config.list_logical_devices(kind)]
        return _exchanging(_mirrored(tuple(devices)), gradients)
    if devices:
        return tf.distribute.OneDeviceStrategy(devices[0])
    return tf.distribute.get_strategy()


def _exchanging(strategy, gradients):
    keras_internals.exchange_in(strategy, gradients)
    return strategy


# Cached: every strategy numbers its reductions from the same start, so one of
# two strategies over the same devices would wait for reductions of the other.


@functools.cache
def _mirrored(devices):
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


@functools.cache
def _multi_worker():
    import tensorflow as tf

    return tf.distribute.MultiWorkerMirroredStrategy()


@functools.cache
def _parameter_server(resolver=None):
    import tensorflow as tf

    _allow_two_steps()
    if resolver is None:
        # Servers refuse the default, which names no protocol.
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver(
            rpc_layer="grpc"
        )
    workers = resolver.cluster_spec().num_tasks("worker")
    worker_data.register(resolver.task_id or 0, workers)
    if resolver.task_type in ("worker", "ps"):
        _serve(resolver)
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    if strategy.num_replicas_in_sync > 1:
        raise ValueError(
            "A worker of a parameter-server cluster trains on one accelerator. "
            f"Received workers with {strategy.num_replicas_in_sync}. Start one "
            "worker per accelerator, each with CUDA_VISIBLE_DEVICES set."
        )
    return strategy


def _allow_two_steps():
    """Let TensorFlow run two operations at once, also on a single core.

    A worker has its next step in advance. TensorFlow starts a thread per core:
    with one, which that step takes, the current step would wait forever.
    """
    if len(os.sched_getaffinity(0)) == 1:
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", "2")


def _serve(resolver):
    """Serve the chief of a cluster; end this process after the chief ends.

    The process waits for its first connection to the chief without a limit.
    Later, it ends with code 0 if no process has listened at the chief's address
    for `PATIENCE` seconds. A chief that is restarted within that time can
    continue with it.

    Args:
        resolver: A `tf.distribute.cluster_resolver.ClusterResolver`; the task
            is this process.
    """
    import tensorflow as tf

    # Fail at once, and do not wait, if no process listens at an address.
    os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")
    cluster = resolver.cluster_spec()
    tf.distribute.Server(
        cluster,
        job_name=resolver.task_type,
        task_index=resolver.task_id,
        protocol=resolver.rpc_layer or "grpc",
    )
    task = resolver.task_type, resolver.task_id
    port = cluster.task_address(*task).rpartition(":")[2]
    print(*task, f"serves at port {port}, to all interfaces", flush=True)
    _wait_while_up(cluster.task_address("chief", 0))
    print(*task, "ends: the chief is gone", flush=True)
    # A TensorFlow server cannot be stopped, and its threads outlive `exit`.
    sys.stderr.flush()
    os._exit(0)


def _wait_while_up(address, patience=None, interval=1.0):
    """Wait until a process listens at `address`, then until none does.

    Args:
        address: `"host:port"`.
        patience: Seconds without a listener; `PATIENCE` by default.
        interval: Seconds between two attempts to connect.
    """
    patience = PATIENCE if patience is None else patience
    # Count attempts, not seconds: this process may have been paused.
    seen, missed = False, 0
    while not seen or missed * interval < patience:
        listens = _listens(address)
        seen, missed = seen or listens, 0 if listens else missed + 1
        time.sleep(interval)


def _listens(address):
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5):
            return True
    except OSError:
        return False
