"""Starts a cluster on this machine: one process a task, all of one script.

    python -m keras_jft.training.launch --workers 2 script.py --its --options
    python -m keras_jft.training.launch --workers 2 --servers 2 script.py

Every process gets its task in the environment variable `TF_CONFIG`, at a free
port of 127.0.0.1; `keras_jft.training.strategy` reads it. Lines of output
begin with the task that wrote them.

The launcher returns the chief's code when that is done. When one of several
synchronous workers dies it stops the others and returns the code of the dead.
With `--servers` a chief is started beside the workers; a worker that dies is
started again, up to `--restarts` times each, and only a dead server ends it.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One process of a cluster.

    Attributes:
        job: `"worker"`, `"chief"` or `"ps"`.
        index: Number of the task in its job.
        environment: Environment variables, `TF_CONFIG` among them.
    """

    job: str
    index: int
    environment: dict

    @property
    def name(self):
        """What its lines of output begin with."""
        return f"{self.job} {self.index}"


def tasks(workers, servers=0):
    """The tasks of a cluster at free ports of this machine, chief first.

    Args:
        workers: Number of workers.
        servers: Number of parameter servers. 0: the workers are synchronous,
            and worker 0 is the chief.

    Returns:
        A list of `Task`s.

    Example:

    >>> [task.name for task in tasks(workers=1, servers=1)]
    ['chief 0', 'worker 0', 'ps 0']
    """
    counts = {"chief": 1 if servers else 0, "worker": workers, "ps": servers}
    ports = iter(_free_ports(sum(counts.values())))
    cluster = {
        job: [f"127.0.0.1:{next(ports)}" for _ in range(count)]
        for job, count in counts.items()
        if count
    }
    return [
        Task(
            job,
            index,
            {
                **os.environ,
                "TF_CONFIG": json.dumps(
                    {"cluster": cluster, "task": {"type": job, "index": index}}
                ),
            },
        )
        for job, addresses in cluster.items()
        for index in range(len(addresses))
    ]


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(count)
        ]
        return [s.getsockname()[1] for s in sockets]


def launch(command, workers, servers=0, restarts=3):
    """Runs a command as every task of a cluster on this machine.

    Args:
        command: Program and arguments.
        workers: Number of workers.
        servers: Number of parameter servers.
        restarts: How often a worker is started again, if there are servers.

    Returns:
        The exit code of the run; `128 + n` if signal n ended it.
    """
    everyone = tasks(workers, servers)
    processes = {}
    left = {task: restarts if servers else 0 for task in everyone}
    try:
        for task in everyone:
            processes[task] = _start(task, command)
        while True:
            time.sleep(0.1)
            codes = {task: p.poll() for task, (p, _) in processes.items()}
            chief = everyone[0]
            if servers and codes[chief] is not None:
                return _code(codes[chief])
            for task, code in codes.items():
                if code is None or (code == 0 and not servers):
                    continue
                print(f"[{task.name}] ended with code {_code(code)}")
                if task.job != "worker" or not left[task]:
                    return _code(code) or 1
                left[task] -= 1
                processes[task] = _start(task, command)
            if all(code == 0 for code in codes.values()):
                return 0
    finally:
        _stop(processes.values())


def _start(task, command):
    process = subprocess.Popen(
        command,
        env=task.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    echo = threading.Thread(target=_echo, args=(task, process), daemon=True)
    echo.start()
    return process, echo


def _echo(task, process):
    for line in process.stdout:
        sys.stdout.write(f"[{task.name}] {line}")
        sys.stdout.flush()


def _stop(running, grace=5):
    """Ends all processes and what they started; shows their last lines."""
    processes = [process for process, _ in running]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        deadline = time.monotonic() + grace
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
    for _, echo in running:
        echo.join(grace)


def _code(code):
    return 128 - code if code < 0 else code


def main(arguments=None):
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_jft.training.launch",
        description="Run a script as every task of a cluster on one machine.",
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--servers", type=int, default=0, help="parameter servers"
    )
    parser.add_argument(
        "--restarts", type=int, default=3, help="of a worker, beside servers"
    )
    parser.add_argument("script")
    parser.add_argument("options", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    if given.workers < 1 or given.servers < 0:
        parser.error("--workers must be positive, --servers not negative")
    # A launcher that is told to stop takes its cluster along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    return launch(
        [sys.executable, "-u", given.script, *given.options],
        given.workers,
        given.servers,
        given.restarts,
    )


if __name__ == "__main__":
    sys.exit(main())
