"""Workers in processes of their own train like one device."""

import contextlib
import json
import os
import re
import signal
import time

import cluster_jobs as jobs
import keras
import numpy as np
import pytest

from keras_jft import training
from keras_jft.training.distribution import launch

pytestmark = pytest.mark.slow

pytest.importorskip("tensorflow")
TIMEOUT = 300


def _work(environment, names, folder, log):
    """What the process of one worker does."""
    with open(log, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    jobs.main(names, folder)


@contextlib.contextmanager
def _workers(count, folder, names):
    """Processes of a cluster, each with a log; none outlives the test."""
    processes = []
    try:
        for task in launch.tasks(count):
            log = folder / f"log{task.index}"
            arguments = (task.environment, names, folder, log)
            process = jobs.FORK.Process(target=_work, args=arguments)
            process.start()
            processes.append(process)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join()


def _wait_for(condition, processes, folder):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        ended = any(p.exitcode for p in processes)
        if ended or time.monotonic() > deadline:
            logs = [path.read_text()[-3000:] for path in folder.glob("log*")]
            pytest.fail("\n=== next worker ===\n".join(logs))
        time.sleep(0.1)


def _results(folder, job, count):
    return [
        dict(np.load(folder / f"{job}_worker{index}.npz"))
        for index in range(count)
    ]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder that two workers filled."""
    folder = tmp_path_factory.mktemp("two")
    with _workers(2, folder, "statistics,boxed,orders") as processes:
        _wait_for(
            lambda: all(p.exitcode == 0 for p in processes), processes, folder
        )
    return folder


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """The folder that three workers filled before their chief was killed."""
    folder = tmp_path_factory.mktemp("three")
    with _workers(3, folder, "equal,whole,killed") as processes:
        _wait_for(
            lambda: processes[0].exitcode == -signal.SIGKILL,
            processes[1:],
            folder,
        )
        killed = time.monotonic()
        for process in processes[1:]:
            process.join(TIMEOUT)
        codes = [process.exitcode for process in processes[1:]]
        seconds = time.monotonic() - killed
    logs = [(folder / f"log{index}").read_text() for index in (1, 2)]
    return folder, codes, seconds, logs


@pytest.fixture(scope="module")
def again(three):
    """The same folder, after all three were started again."""
    folder, *_ = three
    with _workers(3, folder, "resumed") as processes:
        _wait_for(
            lambda: all(p.exitcode == 0 for p in processes), processes, folder
        )
    return folder


def test_three_workers_train_like_one_device(three):
    folder, *_ = three
    model, history = jobs.train(
        jobs.many_label,
        jobs.batch(),
        training.strategy("one_device"),
        jobs.top_two,
    )
    weights = jobs.arrays(model)
    logits = model.predict(jobs.batch(), batch_size=4, verbose=0)
    results = _results(folder, "equal", 3)
    for result in results:
        np.testing.assert_allclose(result.pop("logits"), logits, atol=1e-5)
        for key, values in json.loads(str(result.pop("history"))).items():
            np.testing.assert_allclose(values, history[key], rtol=2e-6)
        assert set(result) == set(weights)
        for path, weight in result.items():
            np.testing.assert_allclose(
                weight, weights[path], atol=1e-6, err_msg=path
            )
            np.testing.assert_array_equal(weight, results[0][path])


def test_two_workers_train_a_detector_like_one_device(two):
    model, history = jobs.train(
        jobs.detector,
        jobs.boxes(),
        training.strategy("one_device"),
        size=2,
        test=False,
    )
    weights = jobs.arrays(model)
    for result in _results(two, "boxed", 2):
        for key, values in json.loads(str(result.pop("history"))).items():
            np.testing.assert_allclose(values, history[key], rtol=1e-5)
        assert set(result) == set(weights)
        for path, weight in result.items():
            np.testing.assert_allclose(
                weight, weights[path], atol=1e-5, err_msg=path
            )


def test_all_workers_end_with_the_same_moving_statistics(two):
    first, second = _results(two, "statistics", 2)
    assert {"bn/moving_mean", "bn/moving_variance"} < set(first)
    assert np.abs(first["bn/moving_mean"]).max() > 0
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


@pytest.mark.parametrize(
    ("given", "count", "shuffled"),
    [
        ("whole", 13, True),
        ("weighted", 13, True),
        ("split", 9, True),  # A quarter of 13 is for validation.
        ("in_order", 13, False),
    ],
)
def test_two_workers_see_every_example_once_in_a_pass(
    given, count, shuffled, two
):
    shares = _results(two, "orders", 2)
    passes = []
    for number in range(2):
        seen = []
        for share in shares:
            ends = [0, *share[f"{given}_passes"]]
            seen.append(share[given][ends[number] : ends[number + 1]])
            assert len(seen[-1]) >= count // 2 - 2  # Nobody does all.
        np.testing.assert_array_equal(
            np.sort(np.concatenate(seen)), np.arange(count)
        )
        passes.append(np.concatenate(seen).tolist())
    assert (passes[0] != passes[1]) == shuffled


@pytest.mark.parametrize(
    ("given", "says"),
    {
        "own_arrays": r"data differ from another's.*shape \(13, 2\)",
        "own_sizes": "data differ from another's.*Give each worker all",
        "unseeded": r"shuffle` that has no seed.*shuffle\(..., seed=0\)",
        "own_seeds": "data differ from another's.*shuffled by",
        "own_order": "data differ from another's.*'seed': ",
        "shuffled_batches": "a `PyDataset` with shuffle=True",
        "alike": "^none$",
        "batches": "^none$",
    }.items(),
)
def test_workers_refuse_data_in_orders_of_their_own(given, says, two):
    for result in _results(two, "orders", 2):
        assert re.search(says, str(result[given])), result[given]


def test_the_chief_alone_writes_checkpoints(two):
    saved = sorted(path.name for path in (two / "of_worker0").iterdir())
    assert saved == ["1.keras", "2.keras"]
    assert not list((two / "of_worker1").glob("*"))
    # Six steps, saved after the sixth: the last weights, averaged.
    model = keras.saving.load_model(two / "of_worker0" / "2.keras")
    result = _results(two, "statistics", 2)[0]
    for path, weight in jobs.arrays(model).items():
        np.testing.assert_allclose(weight, result[path], atol=1e-7)


def test_the_chief_alone_writes_logs(two):
    header, *epochs = (two / "logs" / "log.csv").read_text().splitlines()
    assert header.startswith("epoch,")
    assert [line.split(",")[0] for line in epochs] == ["0", "1"]
    lines = (two / "logs" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


def test_when_the_chief_is_killed_the_others_say_so(three):
    _, codes, seconds, logs = three
    assert seconds < 60
    for index, code, log in zip((1, 2), codes, logs, strict=True):
        assert code not in (0, None)
        assert f"RuntimeError: worker {index} lost a worker of" in log
        assert "start every worker again" in log


def test_started_again_they_end_like_workers_that_were_not_killed(again):
    uninterrupted, *_ = _results(again, "whole", 3)
    assert uninterrupted.pop("steps") == 12
    for resumed in _results(again, "resumed", 3):
        # Killed after 9 steps; saved after 6, when an epoch ended, and 8.
        assert resumed.pop("steps") in (4, 6)
        assert set(resumed) == set(uninterrupted)
        for path, weight in uninterrupted.items():
            np.testing.assert_allclose(
                resumed[path], weight, atol=1e-6, err_msg=path
            )
