"""What the workers and servers of an asynchronous cluster do: serve."""

import os
import socket
import sys
import time

PATIENCE = 120
"""Seconds without a chief after which a process takes the run to be over."""


def serve(resolver):
    """Serves the chief of a cluster; ends this process when it is gone.

    A process that the chief has not reached yet waits for it without end. One
    that it has reached ends with code 0 when nobody has listened at the
    chief's address for `PATIENCE` seconds. A chief that is started again
    within them finds it where it was.

    Args:
        resolver: A `tf.distribute.cluster_resolver.ClusterResolver`; the task
            is this process.
    """
    import tensorflow as tf

    # An address where nobody listens is an error at once, not a wait.
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
    wait_while_up(cluster.task_address("chief", 0))
    print(*task, "ends: the chief is gone", flush=True)
    # A TensorFlow server cannot be stopped, and its threads outlive `exit`.
    sys.stderr.flush()
    os._exit(0)


def wait_while_up(address, patience=None, interval=1.0):
    """Returns when somebody listened at `address` and then nobody any more.

    Args:
        address: `"host:port"`.
        patience: Seconds without anybody; `PATIENCE` by default.
        interval: Seconds between two looks.
    """
    patience = PATIENCE if patience is None else patience
    seen, missed = False, 0  # Looks, not seconds: this process may be paused.
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
