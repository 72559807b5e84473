"""Run a script as every worker of `multi_worker`, on the nodes of Ray.

    python examples/ray_multi_worker.py --workers 2 examples/multi_worker.py

Ray finds the machines; the rest is as without it (see docs/clusters.md). Each
worker is an actor, which says where it can be reached, is told where all are
(TF_CONFIG), and runs the script in a process of its own. Without a cluster, at
`RAY_ADDRESS` or started by `ray start`, all workers are on this machine. If one
fails, the others are stopped: start again, and the script resumes from its
checkpoint, in a folder or bucket that all nodes can read.
"""

import argparse
import json
import os
import random
import socket
import subprocess
import sys

import ray

from keras_jft.training.distribution import launch


@ray.remote
class Worker:
    """One worker, wherever Ray puts it."""

    def address(self):
        """Return where the others reach this worker."""
        # As the launcher: no port that systems use for outgoing connections.
        for port in random.SystemRandom().sample(launch.PORTS, k=100):
            try:
                with socket.create_server(("", port)):
                    return f"{ray.util.get_node_ip_address()}:{port}"
            except OSError:  # In use.
                continue
        raise OSError("This node has no free port for a worker.")

    def run(self, command, addresses, index):
        """Run the command as one of the workers; return its exit code."""
        config = {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": index},
        }
        environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
        return subprocess.call(command, env=environment)


def main(command, workers, cpus, gpus):
    """Return the exit code of the first worker that fails, or 0."""
    ray.init(include_dashboard=False)
    needs = {"num_cpus": cpus, "num_gpus": gpus}
    place = Worker.options(**needs, scheduling_strategy="SPREAD")
    actors = [place.remote() for _ in range(workers)]
    addresses = ray.get([actor.address.remote() for actor in actors])
    running = [
        actor.run.remote(command, addresses, index)
        for index, actor in enumerate(actors)
    ]
    code = 0
    while running and not code:
        ended, running = ray.wait(running)
        code = ray.get(ended[0])
    ray.shutdown()  # It ends what the actors have started, too.
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cpus", type=float, default=1, help="of a worker")
    parser.add_argument("--gpus", type=float, default=0, help="of a worker")
    parser.add_argument("script", help="a path that all nodes have")
    parser.add_argument("options", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    command = [sys.executable, "-u", given.script, *given.options]
    sys.exit(main(command, given.workers, given.cpus, given.gpus))
