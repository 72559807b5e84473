"""Asynchronous training in real processes, some of which are killed."""

import contextlib
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time

import cluster_jobs
import keras
import numpy as np
import pytest
import server_jobs as jobs

from keras_jft import training
from keras_jft.training.checkpoints.checkpoint import saved
from keras_jft.training.distribution import launch, parameter_server

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.slow
TIMEOUT = 300
# Of a launcher: its tasks have imported TensorFlow as it has.
FORK = multiprocessing.get_context("fork")


class _Forked:
    """A task that is forked, as the launcher sees a process of its own."""

    def __init__(self, process):
        self.process = process

    def poll(self):
        """The exit code, or None."""
        return self.process.exitcode

    def wait(self, timeout):
        """Returns when it has ended; raises if it has not."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired("task", timeout)


def _start(task, command, guard):
    """What `launch._start` does, without importing TensorFlow again."""
    process = FORK.Process(target=_work, args=(task, command, guard.pid))
    process.start()
    return task, _Forked(process), process


def _work(task, command, group):
    os.setpgid(0, group)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.environ.update(task.environment)
    jobs.main(*command)


def _launch(job, folder, count, log):
    """What the process of the launcher does."""
    with open(log, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    launch._start = _start
    launch._end_on_signals()
    sys.exit(launch.launch((job, folder), workers=count, servers=count))


class Cluster:
    """A launcher with a chief, workers and as many servers."""

    def __init__(self, job, folder, count):
        self.folder = folder
        self.log = folder / f"{job}.log"
        self.process = cluster_jobs.FORK.Process(
            target=_launch, args=(job, folder, count, self.log)
        )
        self.process.start()

    def wait_for(self, condition):
        """Returns when it holds; fails with the log if the cluster ends."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            ended = self.process.exitcode is not None
            if ended or time.monotonic() > deadline:
                pytest.fail(self.log.read_text()[-6000:])
            time.sleep(0.05)

    def wait_for_step(self, step):
        """Returns when so many steps are handed out."""
        path = self.folder / "step"
        self.wait_for(lambda: path.exists() and _number(path) >= step)

    def kill(self, *tasks):
        """Kills tasks such as `"worker_0"`; returns their process numbers."""
        numbers = [self.number(task) for task in tasks]
        for number in numbers:
            os.kill(number, signal.SIGKILL)
        return numbers

    def number(self, task):
        """The process number of a task."""
        return _number(self.folder / f"{task}.pid")

    def wait(self):
        """The exit code and the log."""
        self.process.join(TIMEOUT)
        return self.process.exitcode, self.log.read_text()


def _number(path):
    return int(path.read_text() or 0)


@contextlib.contextmanager
def _cluster(job, folder, count=2):
    cluster = Cluster(job, folder, count)
    try:
        yield cluster
    finally:
        cluster.process.terminate()
        cluster.process.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a cluster left: its workers were killed, then a server."""
    folder = tmp_path_factory.mktemp("servers")
    with _cluster("killed,others,endless", folder) as cluster:
        cluster.wait_for_step(8)
        cluster.kill("worker_0", "worker_1")
        for worker in range(2):  # Both are back, and at work.
            cluster.wait_for(lambda w=worker: len(_readers(folder, w)) == 2)
        (killed,) = cluster.kill("worker_1")
        cluster.wait_for(lambda: cluster.number("worker_1") != killed)
        (folder / "go_on").touch()
        cluster.wait_for((folder / "others.json").exists)
        cluster.wait_for(lambda: len(_saved(folder)) > 1)
        cluster.kill("ps_1")
        killed = time.monotonic()
        code, log = cluster.wait()
        (folder / "server.json").write_text(
            json.dumps(
                {"code": code, "log": log, "seconds": time.monotonic() - killed}
            )
        )
    return folder


def _readers(folder, worker):
    """Files of what each process of a worker read."""
    return list(folder.glob(f"read_by_worker_{worker}_*"))


def _saved(folder):
    return saved(folder / "run")


def _read(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


# === Workers are killed ===


def test_every_step_is_done_though_workers_are_killed(folder):
    found = _read(folder, "killed")
    assert found["iterations"] == jobs.STEPS
    assert len(_readers(folder, 0)) == 2
    assert len(_readers(folder, 1)) in (2, 3)
    assert found["history"]["loss"][0] > 0
    assert set(found["history"]) == {"loss", "val_loss", "val_map"}


def test_variables_spread_over_the_servers_with_their_slots(folder):
    places = _read(folder, "killed")["places"]
    servers = [f"/job:ps/replica:0/task:{i}" for i in range(2)]
    shards = [places[f"head_logits/kernel_{i}"] for i in range(6)]
    for server in servers:
        assert sum(place.startswith(server) for place in shards) == 3
    assert all(place.startswith(tuple(servers)) for place in places.values())
    for i, shard in enumerate(shards):
        slot = f"head_logits_kernel_{i}_momentum"
        assert [p for k, p in places.items() if k.endswith(slot)] == [shard]


def test_evaluating_and_predicting_agree_with_the_saved_model_alone(folder):
    found = _read(folder, "killed")
    np.testing.assert_allclose(
        found["evaluated"], found["evaluated_alone"], rtol=1e-5
    )
    assert found["history"]["val_loss"][0] == pytest.approx(
        found["evaluated"][0], rel=1e-5
    )
    assert found["difference"] < 1e-5


# === What else the chief does ===


def test_the_learning_rate_follows_the_count_of_the_chief(folder):
    found = _read(folder, "others")
    assert found["iterations"] == jobs.STEPS
    # The gradient is 1: each step subtracts its rate. Halved for the second.
    total = 10 * 1.0 + (jobs.STEPS - 10) / 64
    assert found["weights"] == [-total, -total / 2]


def test_workers_read_what_the_others_do_not(folder):
    read = _read(folder, "others")["read"]
    assert len(read) == 2
    first, second = (set(numbers) for numbers in read.values())
    assert not first & second
    assert first and second


def test_all_heads_train(folder):
    histories = _read(folder, "others")["heads"]
    assert set(histories) == {"one_label", "segmenter"}
    for history in histories.values():
        assert np.isfinite(history["loss"]).all()


def test_a_detector_trains_like_on_one_device(folder):
    # One batch per epoch, at whose end the chief waits: no gradient is stale.
    _, expected = cluster_jobs.train(
        cluster_jobs.detector,
        cluster_jobs.boxes(),
        training.strategy("one_device"),
        size=3,
        test=False,
    )
    found = _read(folder, "others")["detector"]
    assert set(found) == set(expected)
    assert abs(expected["loss"][1] - expected["loss"][0]) > 0.01
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-4)


def test_a_loss_that_is_not_finite_stops_training_at_once(folder):
    found = _read(folder, "others")
    assert re.match(
        "The loss is nan in step [12] of the run", found["not_finite"]
    )
    # Those were handed out before: two a worker.
    assert found["steps_until_stopped"] <= 2 * 2 + 1


# === A server is killed ===


def test_when_a_server_is_killed_the_chief_says_what_to_do(folder):
    found = _read(folder, "server")
    assert found["seconds"] < 60
    assert found["code"] not in (0, None)
    assert "RuntimeError: The chief lost a parameter server" in found["log"]
    assert "start chief, workers and servers again" in found["log"]


def test_a_run_that_lost_a_server_goes_on_from_its_checkpoint(folder):
    newest = _saved(folder)[-1]
    with _cluster("resumed", folder, count=1) as cluster:  # Now a smaller one.
        code, log = cluster.wait()
    assert code == 0, log[-6000:]
    found = _read(folder, "resumed")
    assert found["began"] >= int(newest.stem.removeprefix("step-"))
    assert found["iterations"] == found["epochs"] * jobs.STEPS


# === What is refused ===


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_split": 0.5}, "pass `validation_data`"),
        ({"class_weight": {0: 2.0}}, "weights in the data"),
    ],
)
def test_arguments_that_workers_cannot_follow_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        parameter_server._check(_model("sgd"), options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_ema": True}, "use_ema"),
        ({"gradient_accumulation_steps": 2}, "gradient_accumulation_steps"),
    ],
)
def test_optimizers_that_keep_more_than_slots_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        model = _model(keras.optimizers.SGD(0.1, **options))
        parameter_server._check(model, {})


def _model(optimizer):
    inputs = keras.Input((2,))
    model = training.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(optimizer, "mse")
    return model
