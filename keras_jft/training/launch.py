"""Starts a cluster on this machine: one process a task, all of one script.

    python -m keras_jft.training.launch --workers 2 script.py --its --options

Every process gets its task in the environment variable `TF_CONFIG`, at a free
port of 127.0.0.1; `keras_jft.training.strategy` reads it. Lines of output
begin with the task that wrote them.

When one worker dies the launcher stops the others and returns the code of the
dead; else it returns 0 when all are done.
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
        index: Number of the worker; 0 is the chief.
        environment: Environment variables, `TF_CONFIG` among them.
    """

    index: int
    environment: dict

    @property
    def name(self):
        """What its lines of output begin with."""
        return f"worker {self.index}"


def tasks(workers):
    """The tasks of a cluster at free ports of this machine, chief first.

    Args:
        workers: Number of workers.

    Returns:
        A list of `Task`s.

    Example:

    >>> from keras_jft.training import launch
    >>> [task.name for task in launch.tasks(workers=2)]
    ['worker 0', 'worker 1']
    """
    cluster = {"worker": [f"127.0.0.1:{p}" for p in _free_ports(workers)]}
    return [
        Task(index, {**os.environ, "TF_CONFIG": _config(cluster, index)})
        for index in range(workers)
    ]


def _config(cluster, index):
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": cluster, "task": task})


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(count)
        ]
        return [s.getsockname()[1] for s in sockets]


def launch(command, workers):
    """Runs a command as every task of a cluster on this machine.

    Args:
        command: Program and arguments.
        workers: Number of workers.

    Returns:
        The exit code of the run; `128 + n` if signal n ended it.
    """
    running = []
    try:
        for task in tasks(workers):
            running.append(_start(task, command))
        while True:
            codes = [process.poll() for _, process, _ in running]
            for (task, *_), code in zip(running, codes, strict=True):
                if code:
                    print(f"[{task.name}] ended with code {_code(code)}")
                    return _code(code)
            if all(code == 0 for code in codes):
                return 0
            time.sleep(0.1)
    finally:
        _stop(running)


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
    parser.add_argument("script")
    parser.add_argument("options", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    if given.workers < 1:
        parser.error(f"--workers must be positive, not {given.workers}")
    # A launcher that is told to stop takes its cluster along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    command = [sys.executable, "-u", given.script, *given.options]
    return launch(command, given.workers)


if __name__ == "__main__":
    sys.exit(main())
