"""A study on engines of others: every row once, whatever dies."""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import pathlib
import signal
import sys
import threading
import time
from unittest import mock

import executor_jobs as jobs
import pytest

from keras_jft.scaling.rows import rows
from keras_jft.scaling.study import executors, study
from keras_jft.scaling.study.config_id import config_id

SPAWN = multiprocessing.get_context("spawn")


@contextlib.contextmanager
def _process_pool(folder):
    pool = concurrent.futures.ProcessPoolExecutor(2, SPAWN)
    with pool:
        yield pool


@contextlib.contextmanager
def _dask(folder):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor()


@contextlib.contextmanager
def _submitit(folder):
    submitit = pytest.importorskip("submitit")
    # It waits this long for the file of a job that was killed.
    with mock.patch.object(submitit.Job, "_results_timeout_s", 1):
        yield submitit.LocalExecutor(folder / "submitit")


@contextlib.contextmanager
def _ray(folder):
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    executor = executors.RayTasks(num_cpus=1)
    yield executor
    executor.shutdown()
    ray.shutdown()


ENGINES = {
    "processes": lambda folder: executors.Processes(2),
    "process_pool": _process_pool,
    "dask": _dask,
    "submitit": _submitit,
    "ray": _ray,
}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_worker_costs_no_row(engine, tmp_path, monkeypatch):
    # Of workers that do not inherit what this process can import.
    folders = [str(pathlib.Path(__file__).parent), os.getcwd()]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))
    configs, path = jobs.configs(tmp_path), tmp_path / "rows.jsonl"
    if engine == "submitit":  # It starts Python for every run.
        configs = configs[::2]
    with ENGINES[engine](tmp_path) as executor:
        found = study.Study(configs, path, run=jobs.run).run(executor)
    keys = [row["key"] for row in rows.read(path)]
    assert sorted(keys) == sorted(map(config_id, configs))
    assert not any("error" in row for row in found)
    assert os.getpid() not in {row["process"] for row in found}
    begun = jobs.begun(tmp_path)
    # Pre-trained once for two runs; what was lost was done once again.
    pretrained = [n for name, n in begun.items() if "pretrained" in name]
    assert set(pretrained) == {1}
    assert begun.pop("began-300-2") == 2
    if engine != "process_pool":  # All it does is lost with any worker.
        assert set(begun.values()) == {1}


def _noted(folder, name):
    """Wait for a file that a worker writes."""
    while not list(folder.glob(name)):
        time.sleep(0.02)


def test_of_a_run_that_kills_each_worker_there_is_a_row_that_says_so(
    tmp_path, capsys
):
    configs = jobs.configs(tmp_path, kills=9)
    with concurrent.futures.ProcessPoolExecutor(2, SPAWN) as executor:
        found = study.Study(configs, tmp_path / "rows", jobs.run).run(executor)
    assert ["error" in row for row in found] == [False, False, True, False]
    assert "The worker was lost twice" in found[2]["error"]
    assert jobs.begun(tmp_path)["began-300-2"] == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "done again: num_examples=300 seed=2" in said
    assert "num_examples=300 seed=2 failed" in said


def test_an_error_of_a_worker_is_told_with_its_traceback(tmp_path):
    configs = jobs.configs(tmp_path)[:1]
    with executors.Processes(1) as executor:
        rows = study.Study(configs, tmp_path / "rows", jobs.fail).run(executor)
    assert rows[0]["error"] == "Unsendable: [Errno the disk] is gone"


def test_a_run_that_cannot_be_sent_ends_the_study_without_a_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    for run in (lambda config: {}, jobs.unreadable):
        with executors.Processes(1) as executor:
            started = study.Study(jobs.configs(tmp_path), path, run=run)
            with pytest.raises((AttributeError, ImportError)) as error:
                started.run(executor)
        assert "in a module that workers can import" in error.value.__notes__[0]
    assert not path.exists()


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_an_interrupt_ends_the_runs_and_says_how_to_go_on(tmp_path, capsys):
    """Ctrl-C, with one run going on and the others waiting."""

    def interrupt():
        _noted(tmp_path, "waits-*")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    configs = jobs.configs(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        study.Study(configs, tmp_path / "rows", jobs.wait).run("processes:1")
    thread.join()
    said = " ".join(capsys.readouterr().err.split())
    assert "4 of 4 runs left" in said
    (file,) = tmp_path.glob("waits-*")
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.name.partition("-")[2]), 0)


def test_threads_are_an_executor_as_well(tmp_path):
    configs = jobs.configs(tmp_path, kills=0)
    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        found = study.Study(
            configs, tmp_path / "rows", run=lambda config: jobs.run(config)
        ).run(executor)
    assert len(found) == 4
    assert set(jobs.begun(tmp_path).values()) == {1}


def test_runs_wait_for_a_pre_training_and_go_on_where_it_failed(tmp_path):
    order = []

    def run(config):
        order.append((config.num_examples, config.seed))
        time.sleep(0.1)
        if config.seed == 1:
            raise FloatingPointError("the loss is nan")
        return {"top1": 0.5}

    configs = jobs.configs(tmp_path)
    configs = [config for config in configs if config.num_examples == 300]
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        study.Study(configs, tmp_path / "rows", run=run).run(executor)
    assert order == [(300, 1), (300, 2)]


def test_what_is_no_executor_is_refused(tmp_path):
    started = study.Study(jobs.configs(tmp_path), tmp_path / "rows", jobs.run)
    with pytest.raises(ValueError, match="`executor` must have a method `subm"):
        started.run(executor=object())
    fork = multiprocessing.get_context("fork")
    with (
        concurrent.futures.ProcessPoolExecutor(1, fork) as executor,
        pytest.raises(ValueError, match="must not fork.*get_context"),
    ):
        started.run(executor)


@pytest.mark.parametrize(
    "name", ["processes", "processes:two", "dask:8786", "slurm", "", "ray:1"]
)
def test_a_name_of_no_executor_is_refused_with_those_there_are(name, tmp_path):
    with (
        pytest.raises(ValueError, match="must be processes:N, dask://HOST"),
        executors.open_executor(name, tmp_path),
    ):
        pass


def test_settings_of_submitit_are_those_of_its_executor(tmp_path, monkeypatch):
    submitit = pytest.importorskip("submitit")
    local = functools.partial(submitit.AutoExecutor, cluster="local")
    monkeypatch.setattr(submitit, "AutoExecutor", local)
    for name, minutes in (("", 24 * 60), (":timeout_min=9,slurm_qos=a", 9)):
        with executors.open_executor(f"submitit{name}", tmp_path) as executor:
            assert executor.folder == tmp_path
            assert executor._executor.parameters["timeout_min"] == minutes
    with (
        pytest.raises(ValueError, match="KEY=VALUE.*timeout"),
        executors.open_executor("submitit:timeout=600", tmp_path),
    ):
        pass


def test_without_its_package_an_executor_says_what_to_install(monkeypatch):
    for package, name in (("ray", "ray"), ("distributed", "dask://a:1")):
        monkeypatch.setitem(sys.modules, package, None)
        with (
            pytest.raises(ImportError, match=f"{package}.*keras_jft.cluster"),
            executors.open_executor(name, pathlib.Path()),
        ):
            pass
