"""Starts a cluster on this machine: one process a task, all of one script.

    python -m keras_jft.training.launch --workers 2 script.py --its --options
    python -m keras_jft.training.launch --workers 2 --servers 2 script.py

Every process gets its task in the environment variable `TF_CONFIG`, at a free
port of 127.0.0.1; `keras_jft.training.strategy` reads it. Lines of output
begin with the task that wrote them.

Workers alone train synchronously: when one dies the launcher stops the others
and returns the code of the dead; else it returns 0 when all are done.

With parameter servers there is a chief besides, and the run is over when it
ends. A worker that dies is started again, a few times; a server that dies has
taken variables along, so that the chief gets a minute to say so.
"""

import argparse
import collections
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

RESTARTS = 3
"""How often a worker is started again before the run is given up."""
PATIENCE = 60
"""Seconds that a chief has to end after one of its servers has."""


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One process of a cluster.

    Attributes:
        job: `"worker"`; with parameter servers also `"chief"` and `"ps"`.
        index: Number in its job; without servers, worker 0 is the chief.
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
        servers: Number of parameter servers. If any, there is a chief besides.

    Returns:
        A list of `Task`s.

    Example:

    >>> from keras_jft.training import launch
    >>> [task.name for task in launch.tasks(workers=2)]
    ['worker 0', 'worker 1']
    >>> [task.name for task in launch.tasks(workers=1, servers=1)]
    ['chief 0', 'worker 0', 'ps 0']
    """
    counts = {"worker": workers}
    if servers:
        counts = {"chief": 1, "worker": workers, "ps": servers}
    names = [(job, i) for job, count in counts.items() for i in range(count)]
    cluster = {job: [] for job in counts}
    for (job, _), port in zip(names, _free_ports(len(names)), strict=True):
        cluster[job].append(f"127.0.0.1:{port}")
    return [
        Task(job, i, {**os.environ, "TF_CONFIG": _config(cluster, job, i)})
        for job, i in names
    ]


def _config(cluster, job, index):
    task = {"type": job, "index": index}
    return json.dumps({"cluster": cluster, "task": task})


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(count)
        ]
        return [s.getsockname()[1] for s in sockets]


def launch(command, workers, servers=0):
    """Runs a command as every task of a cluster on this machine.

    Args:
        command: Program and arguments.
        workers: Number of workers.
        servers: Number of parameter servers.

    Returns:
        The exit code of the run; `128 + n` if signal n ended it.
    """
    running = []
    try:
        for task in tasks(workers, servers):
            running.append(_start(task, command))
        wait = _wait_for_chief if servers else _wait_for_all
        return wait(running, command)
    finally:
        _stop(running)


def _wait_for_all(running, command):
    while True:
        codes = [process.poll() for _, process, _ in running]
        for (task, *_), code in zip(running, codes, strict=True):
            if code:
                return _tell(task, code)
        if all(code == 0 for code in codes):
            return 0
        time.sleep(0.1)


def _wait_for_chief(running, command):
    restarts, lost = collections.Counter(), None
    while True:
        for place, (task, process, _) in enumerate(running):
            code = process.poll()
            if task.job == "chief" and code is not None:
                return _tell(task, code) if code else 0
            if task.job == "ps" and code is not None and lost is None:
                lost = _tell(task, code), time.monotonic() + PATIENCE
            if task.job == "worker" and code:
                _tell(task, code)
                restarts[task] += 1
                if restarts[task] > RESTARTS:
                    return _code(code)
                running[place] = _start(task, command)
        if lost is not None and time.monotonic() > lost[1]:
            return lost[0] or 1
        time.sleep(0.1)


def _tell(task, code):
    print(f"[{task.name}] ended with code {_code(code)}", flush=True)
    return _code(code)


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
    return task, process, echo


def _echo(task, process):
    with process.stdout as lines:
        for line in lines:
            sys.stdout.write(f"[{task.name}] {line}")
            sys.stdout.flush()


def _stop(running, grace=5):
    """Ends all processes and what they started; shows their last lines."""
    processes = [process for _, process, _ in running]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        deadline = time.monotonic() + grace
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
    for *_, echo in running:
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
        "--servers",
        type=int,
        default=0,
        help="parameter servers: train asynchronously, under a chief",
    )
    parser.add_argument("script")
    parser.add_argument("options", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    if given.workers < 1:
        parser.error(f"--workers must be positive, not {given.workers}")
    if given.servers < 0:
        parser.error(f"--servers must not be negative: {given.servers}")
    # A launcher that is told to stop takes its cluster along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    command = [sys.executable, "-u", given.script, *given.options]
    return launch(command, given.workers, given.servers)


if __name__ == "__main__":
    sys.exit(main())
