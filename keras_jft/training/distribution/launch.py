"""Start a cluster on this machine: one process per task, all of one script.

    python -m keras_jft.training.launch --workers 2 script.py --its --options
    python -m keras_jft.training.launch --workers 2 --servers 2 script.py

Each process finds its task, with a free port of this machine, in the
environment variable `TF_CONFIG`, which `keras_jft.training.strategy` reads.
Each line of output begins with the task that wrote it.

Tasks connect to each other at 127.0.0.1, but TensorFlow's servers listen on all
interfaces, and no option changes that. Anyone who reaches their ports can run
graphs in the tasks without a password: `docs/clusters.md` says how to close
them.

Workers without servers train synchronously. If one dies, the launcher stops the
others and returns its exit code; otherwise it returns 0 when all have ended.

With parameter servers there is also a chief, and the run ends when it ends. A
worker that dies is restarted a few times. If a server dies, its variables are
lost, so the chief gets a minute to report that and end.

The tasks, and processes that they start, end together with the launcher,
whether it ends by Ctrl-C, a signal, a closed terminal or SIGKILL.
"""

import argparse
import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

RESTARTS = 3
"""How often a worker is restarted before the run is given up."""
PATIENCE = 60
"""Seconds that a chief has to end after a server has ended."""
GRACE = 5
"""Seconds that tasks have to end after the signal to do so."""
PORTS = range(10_000, 32_768)
"""Range of ports, outside those that systems use for outgoing connections, so
that a port stays free until its task listens there."""
OPEN = (
    "TensorFlow's servers listen on all interfaces of this machine, not on "
    "127.0.0.1 alone, and run any graph that is sent to them: keep these ports "
    "behind a firewall or in a private network (docs/clusters.md)."
)
"""What the launcher prints before it starts the first task."""


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
        """The name that begins its lines of output."""
        return f"{self.job} {self.index}"


def tasks(workers, servers=0):
    """Return the tasks of a cluster at free ports of this machine, chief first.

    Args:
        workers: Number of workers.
        servers: Number of parameter servers. If any, there is also a chief.

    Returns:
        A list of `Task`s.

    Example:

    >>> from keras_jft.training.distribution import launch
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
    shared = {**os.environ, "no_grpc_proxy": _no_proxy()}
    return [
        Task(job, i, {**shared, "TF_CONFIG": _config(cluster, job, i)})
        for job, i in names
    ]


def _no_proxy():
    """Return the hosts that gRPC reaches directly, not through a proxy."""
    names = ("no_grpc_proxy", "no_proxy")
    given = next((os.environ[n] for n in names if os.environ.get(n)), "")
    return ",".join(filter(None, [given, "127.0.0.1"]))


def _config(cluster, job, index):
    task = {"type": job, "index": index}
    return json.dumps({"cluster": cluster, "task": task})


def _free_ports(count):
    """Return ports that are free on all interfaces, as TensorFlow needs."""
    found = set()
    # Seeded by the system: two runs of a script must not choose the same ports.
    for port in random.SystemRandom().sample(PORTS, k=len(PORTS)):
        with (
            contextlib.suppress(OSError),
            socket.create_server(("", port)),
        ):
            found.add(port)
        if len(found) == count:
            return sorted(found)
    raise ValueError(
        f"A cluster of {count} tasks needs as many free ports between "
        f"{PORTS.start} and {PORTS.stop - 1}. Found: {len(found)}."
    )


def launch(command, workers, servers=0):
    """Run a command as every task of a cluster on this machine.

    Args:
        command: Program and arguments.
        workers: Number of workers.
        servers: Number of parameter servers.

    Returns:
        The exit code of the run; `128 + n` if signal n ended it.
    """
    everyone = tasks(workers, servers)
    ports = [_address(task).rpartition(":")[2] for task in everyone]
    _say(f"[launcher] ports {', '.join(ports)}: {OPEN}", sys.stderr)
    guard, running = _guard(), []
    try:
        for task in everyone:
            running.append(_start(task, command, guard))
        wait = _wait_for_chief if servers else _wait_for_all
        return wait(running, lambda task: _start(task, command, guard))
    finally:
        _stop(running, guard)


def _address(task):
    config = json.loads(task.environment["TF_CONFIG"])
    return config["cluster"][task.job][task.index]


# This program leads the process group of all tasks and their children. Its
# standard input is a pipe that closes when the launcher ends, even by SIGKILL,
# which a process cannot catch.
_GUARD = """
import os, signal, sys, time
for name in ("SIGHUP", "SIGINT", "SIGTERM"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
sys.stdin.read()
os.killpg(0, signal.SIGTERM)
time.sleep(float(sys.argv[1]))
os.killpg(0, signal.SIGKILL)
"""


def _guard():
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD, str(GRACE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )


def _wait_for_all(running, start):
    while True:
        codes = [process.poll() for _, process, _ in running]
        for (task, *_), code in zip(running, codes, strict=True):
            if code:
                return _tell(task, code)
        if all(code == 0 for code in codes):
            return 0
        time.sleep(0.1)


def _wait_for_chief(running, start):
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
                running[place] = start(task)
        if lost is not None and time.monotonic() > lost[1]:
            return lost[0] or 1
        time.sleep(0.1)


def _tell(task, code):
    _say(f"[{task.name}] ended with code {_code(code)}", sys.stdout)
    return _code(code)


def _say(text, stream):
    # In one call, since several tasks may print at the same time.
    with contextlib.suppress(OSError):  # The terminal may be closed.
        stream.write(f"{text}\n")
        stream.flush()


def _start(task, command, guard):
    process = subprocess.Popen(
        command,
        env=task.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        process_group=guard.pid,
    )
    echo = threading.Thread(target=_echo, args=(task, process), daemon=True)
    echo.start()
    return task, process, echo


def _echo(task, process):
    with process.stdout as lines:
        for line in lines:
            _say(f"[{task.name}] {line.removesuffix(chr(10))}", sys.stdout)


def _stop(running, guard):
    """End all tasks and their children; print their last lines."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(guard.pid, number)
        deadline = time.monotonic() + GRACE
        for _, process, _ in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
    guard.communicate()
    for *_, echo in running:
        echo.join(GRACE)


def _code(code):
    return 128 - code if code < 0 else code


def main(arguments=None):
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_jft.training.launch",
        description="Run a script as every task of a cluster on one machine.",
        epilog=f"""example:
  python -m keras_jft.training.launch --workers 2 train.py --epochs 3

{textwrap.fill(OPEN, 78)}""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that train; default 2"
    )
    parser.add_argument(
        "--servers",
        type=int,
        default=0,
        help="parameter servers: train asynchronously, under a chief",
    )
    parser.add_argument("script", help="a Python file, run by every task")
    parser.add_argument(
        "options", nargs=argparse.REMAINDER, help="what the script is given"
    )
    given = parser.parse_args(arguments)
    if given.workers < 1:
        parser.error(f"--workers must be positive, not {given.workers}")
    if given.servers < 0:
        parser.error(f"--servers must not be negative: {given.servers}")
    if not pathlib.Path(given.script).exists():
        parser.error(
            f"there is no script {given.script!r} in {os.getcwd()}; options of "
            "the launcher come before the script, its own after it"
        )
    _end_on_signals()
    command = [sys.executable, "-u", given.script, *given.options]
    return launch(command, given.workers, given.servers)


def _end_on_signals():
    """Let a launcher that is told to stop end its cluster too."""

    def end(number, frame):
        sys.exit(128 + number)

    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        # Under `nohup`, a closed terminal must not end the run.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    # If its output is closed, as by `| head`, the launcher ends like any other
    # program; the guard then ends the tasks.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
