"""Workers that Ray starts find each other, and end together."""

import pathlib
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("ray")
EXAMPLE = pathlib.Path(__file__).parents[2] / "examples/ray_multi_worker.py"

# Sums the ranks of the workers over the cluster.
SUMS = """
import json, os, pathlib, sys
import keras_jft as jft
strategy = jft.training.strategy("auto")
import tensorflow as tf
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
rank = lambda: tf.constant(index + 1.0)
total = strategy.reduce("SUM", strategy.run(rank), axis=None)
text = f"{index} of {strategy.num_replicas_in_sync}: {float(total)}"
pathlib.Path(sys.argv[1], str(index)).write_text(text)
"""
# Worker 1 fails as soon as worker 0, which would wait for it, is there.
FAILS = """
import json, os, pathlib, sys, time
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
pid = pathlib.Path(sys.argv[1], "pid")
if index == 0:
    pid.write_text(str(os.getpid()))
    time.sleep(600)
while not pid.exists() or not pid.read_text():
    time.sleep(0.1)
sys.exit(3)
"""


def _run(folder, code):
    script = folder / "script.py"
    script.write_text(code)
    words = [EXAMPLE, "--workers", 2, "--cpus", 0.5, script, folder]
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_workers_reduce_over_the_cluster(tmp_path):
    done = _run(tmp_path, SUMS)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for index in (0, 1):
        assert (tmp_path / str(index)).read_text() == f"{index} of 2: 3.0"


def test_a_worker_that_fails_ends_the_others(tmp_path):
    done = _run(tmp_path, FAILS)
    assert done.returncode == 3, done.stdout[-2000:] + done.stderr[-2000:]
    running = pathlib.Path("/proc", (tmp_path / "pid").read_text(), "cmdline")
    deadline = time.monotonic() + 60
    while running.exists() and running.read_bytes():  # Empty: it has ended.
        assert time.monotonic() < deadline, "worker 0 still runs"
        time.sleep(0.1)
