import dataclasses
import errno
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from keras_jft.scaling.rows import rows
from keras_jft.scaling.study import claims, study
from keras_jft.scaling.study.config_id import config_id


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    num_examples: float
    seed: int = 0
    blocks: tuple[int, ...] = (1, 1)


CONFIGS = [Config(num_examples=n, seed=s) for n in (300, 1000) for s in (0, 1)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.jsonl"


class Run:
    """Counts its runs; raises on the configs in `faults`."""

    def __init__(self, **faults):
        self.seen = []
        self.faults = faults

    def __call__(self, config):
        self.seen.append(config)
        error = self.faults.get(f"n{config.num_examples}_{config.seed}")
        if error:
            raise error
        return {"task": "classification", "top1": config.num_examples / 1000}


def test_each_config_gives_one_row_with_all_there_is_to_know(path):
    result = study.Study(CONFIGS, path, run=Run()).run()
    assert result == rows.read(path)
    assert [row["num_examples"] for row in result] == [300, 300, 1000, 1000]
    row = result[1]
    assert row["task"] == "classification"
    assert row["seed"] == 1
    assert row["top1"] == 0.3
    assert row["config"] == {"num_examples": 300, "seed": 1, "blocks": [1, 1]}
    assert row["wall_seconds"] >= 0
    assert {"time", "cpu", "cores", "version_keras"} <= set(row)


def test_a_second_study_runs_only_what_is_new(path):
    study.Study(CONFIGS[:2], path, run=Run()).run()
    run = Run()
    again = study.Study(CONFIGS[::-1], path, run=run)
    assert again.dry_run() == CONFIGS[:1:-1]
    result = again.run()
    assert run.seen == CONFIGS[:1:-1]
    # In the order of this study's configs, whoever ran them.
    assert [row["num_examples"] for row in result] == [1000, 1000, 300, 300]
    assert len(rows.read(path)) == 4


def test_a_failed_run_is_a_row_and_does_not_stop_the_rest(path, capsys):
    run = Run(n300_1=FloatingPointError("the loss is nan"))
    result = study.Study(CONFIGS, path, run=run).run()
    assert [row.get("error") for row in result] == [
        None,
        "FloatingPointError: the loss is nan",
        None,
        None,
    ]
    assert result[1]["config"]["seed"] == 1
    assert "the loss is nan" in capsys.readouterr().err
    # It is done, unless asked for.
    assert study.Study(CONFIGS, path, run=Run()).dry_run() == []
    again = study.Study(CONFIGS, path, run=Run(), retry_failed=True)
    assert again.dry_run() == [CONFIGS[1]]
    assert not any("error" in row for row in again.run())
    assert again.dry_run() == []


def test_without_a_terminal_each_run_is_a_line_as_it_ends(path, capfd):
    """A failed one, too."""
    said = []

    def run(config):
        said.append(capfd.readouterr().err)
        if config == CONFIGS[2]:
            raise FloatingPointError("the loss is nan")
        return {"task": "classification", "top1": 0.5}

    study.Study(CONFIGS[:1], path, run).run()
    capfd.readouterr()
    study.Study(CONFIGS, path, run).run()
    said.append(capfd.readouterr().err)
    # What was said by the time that the third, and the last, began.
    line = "2/4 task=classification num_examples=300 seed=1 done in 0 s"
    assert line in said[2].splitlines()
    assert "3/4 num_examples=1000 seed=0 failed in 0 s" in said[3].splitlines()
    # And no bar after the last.
    assert said[-1].splitlines()[-1].startswith("4/4 ")


@pytest.mark.parametrize("returned", [None, 0.5, [0.5], "top1"])
def test_a_run_that_returns_no_scores_is_a_failed_run(path, returned):
    with pytest.raises(ValueError, match="`run` must return a dict of scores"):
        study.Study(CONFIGS[:1], path, run=lambda config: returned).run()
    (row,) = rows.read(path)
    assert row["error"].startswith("ValueError: `run` must return")


@pytest.mark.parametrize("kind", [ValueError, TypeError])
def test_a_mistake_in_the_first_run_ends_the_study(path, capsys, kind):
    faults = {f"n{c.num_examples}_{c.seed}": kind("no such") for c in CONFIGS}
    run = Run(**faults)
    with pytest.raises(kind, match="no such") as error:
        study.Study(CONFIGS, path, run=run).run()
    assert run.seen == CONFIGS[:1] and len(rows.read(path)) == 1
    assert "retry_failed=True" in error.value.__notes__[0]
    # Python prints what ends the program; it is not printed before.
    assert "no such" not in capsys.readouterr().err
    again = study.Study(CONFIGS, path, run=Run())
    assert again.dry_run() == CONFIGS[1:]
    again.run()
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "Not repeated: 1 run that failed before." in said
        and "retry_failed=True" in said
    )
    study.Study(CONFIGS, path, run=Run(), retry_failed=True).run()
    assert "failed before" not in capsys.readouterr().err


def test_two_runs_that_fail_alike_end_the_study(path, capsys):
    faults = {f"n{c.num_examples}_{c.seed}": OSError("gone") for c in CONFIGS}
    run = Run(**faults)
    with pytest.raises(RuntimeError, match="OSError: gone .as above.*retry_f"):
        study.Study(CONFIGS, path, run=run).run()
    assert run.seen == CONFIGS[:2]
    assert capsys.readouterr().err.count("OSError: gone") == 1


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.keras"),
        # As HDF5 and TensorFlow tell it.
        RuntimeError(f"Can't write data ({os.strerror(errno.ENOSPC)})"),
    ],
)
def test_a_full_disk_ends_the_study_and_loses_nothing(path, error):
    run = Run(n300_1=error)
    with pytest.raises(type(error), match="No space left") as caught:
        study.Study(CONFIGS, path, run=run).run()
    (note,) = caught.value.__notes__
    assert "Make room, and start it again" in note
    assert len(run.seen) == 2
    run.faults = {}
    again = study.Study(CONFIGS, path, run=run, retry_failed=True).run()
    assert run.seen[2:] == CONFIGS[1:]
    assert not any("error" in row for row in again)


def test_a_mistake_after_a_run_that_succeeded_is_that_run_s_own(path):
    run = Run(n300_1=ValueError("too few"), n1000_0=ValueError("too few"))
    found = study.Study(CONFIGS, path, run=run).run()
    assert ["error" in row for row in found] == [False, True, True, False]


def test_an_interrupt_stops_and_says_how_to_go_on(path, capsys):
    run = Run(n1000_0=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        study.Study(CONFIGS, path, run=run).run()
    said = " ".join(capsys.readouterr().err.split())
    assert "2 of 4 runs left" in said
    assert "Run the same study again to continue" in said
    run = Run()
    study.Study(CONFIGS, path, run=run).run()
    assert run.seen == CONFIGS[2:]


KILLED = """
import os, signal, sys
sys.path.insert(0, {folder!r})
from test_study import CONFIGS, Run, study

class Killed(Run):
    def __call__(self, config):
        if len(self.seen) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(config)

study.Study(CONFIGS, {path!r}, run=Killed()).run()
"""


def test_a_killed_study_goes_on_and_repeats_nothing(path):
    folder = str(pathlib.Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(folder=folder, path=str(path))],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert len(rows.read(path)) == 2
    run = Run()
    result = study.Study(CONFIGS, path, run=run).run()
    assert run.seen == CONFIGS[2:]
    assert len(result) == len(rows.read(path)) == 4


SHARED = """
import os, sys, time
sys.path.insert(0, {folder!r})
from test_study import Config, Run, study

class Slow(Run):
    def __call__(self, config):
        time.sleep(0.02)
        return {{**super().__call__(config), "process": os.getpid()}}

configs = [Config(num_examples=n + 1) for n in range(40)]
open({ready!r} + sys.argv[1], "w").close()
while len([f for f in os.listdir({path!r}) if f.startswith("ready")]) < 2:
    time.sleep(0.01)
study.Study(configs, {path!r} + "/rows.jsonl", run=Slow()).run()
"""


def test_two_processes_share_a_study_and_do_nothing_twice(tmp_path):
    code = SHARED.format(
        folder=str(pathlib.Path(__file__).parent),
        path=str(tmp_path),
        ready=str(tmp_path / "ready"),
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, name],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stderr=subprocess.PIPE,
        )
        for name in "ab"
    ]
    for process in processes:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error.decode()
    done = rows.read(tmp_path / "rows.jsonl")
    assert sorted(row["num_examples"] for row in done) == [*range(1, 41)]
    assert len({row["process"] for row in done}) == 2


def test_the_outlook_is_that_of_what_is_left(path):
    study.Study(CONFIGS[:3], path, run=Run()).run()
    found = study.Study(CONFIGS, path, run=Run()).outlook()
    assert found.runs == 1
    assert found.hours < 0.01


def test_the_outlook_of_a_new_study_goes_by_rows_of_others(path, tmp_path):
    other = tmp_path / "other.jsonl"
    like = study.Study(CONFIGS[:2], other, run=Run()).run()
    like = [{**row, "wall_seconds": 1800.0} for row in like]
    new = study.Study([Config(num_examples=300, seed=9)], path, run=Run())
    assert "unknown" in str(new.outlook())
    assert str(new.outlook(like=like)) == (
        "1 run left, 0 images of pre-training, about 0.50 device-hours"
    )
    assert not path.exists()


def test_a_key_names_the_values_and_nothing_else():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Reordered:
        blocks: list[int]
        seed: float
        num_examples: int

    config = Config(num_examples=300.0)
    same = Reordered(num_examples=300, seed=0.0, blocks=[1, 1])
    assert config_id(config) == config_id(same)
    others = [
        Config(num_examples=301),
        Config(num_examples=300, seed=1),
        Config(num_examples=300, blocks=(1, 2)),
        Config(num_examples=300, blocks=(1,)),
    ]
    assert len({config_id(c) for c in [config, *others]}) == 5


def test_a_key_outlives_a_field_that_is_added():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Wider(Config):
        mixup: float = dataclasses.field(default=0.0, metadata={"added": True})
        inner: object = None

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Nested(Config):
        inner: object = None

    old, new = Config(num_examples=300), Wider(num_examples=300)
    assert config_id(Nested(num_examples=300)) == config_id(new)
    assert config_id(dataclasses.replace(new, mixup=0.2)) != config_id(new)
    # The same one level down.
    nested = [Nested(num_examples=300, inner=c) for c in (new, old)]
    plain = Nested(num_examples=300, inner=Nested(num_examples=300))
    assert config_id(nested[0]) == config_id(plain) != config_id(nested[1])
    # And in a list, as transforms are.
    listed = [
        Nested(num_examples=300, inner=[c.inner]) for c in (*nested, plain)
    ]
    assert config_id(listed[0]) == config_id(listed[2]) != config_id(listed[1])


def test_a_key_outlives_the_process():
    # By hand: sha256 of {"blocks": [1, 1], "num_examples": 300, "seed": 0}.
    assert config_id(Config(num_examples=300)) == "4957e941b67c24c9"


def test_what_is_no_config_is_refused(path):
    with pytest.raises(ValueError, match="instance of a dataclass.*dict"):
        study.Study([{"seed": 0}], path, run=Run())
    with pytest.raises(ValueError, match="Received twice, at 0 and 2"):
        study.Study([*CONFIGS[:2], CONFIGS[0]], path, run=Run())
    with pytest.raises(ValueError, match="Received: object"):
        study.Study([Config(num_examples=object())], path, run=Run())


@pytest.mark.parametrize("run", [None, 5, {}])
def test_a_run_is_a_callable(path, run):
    with pytest.raises(ValueError, match="`run` must be a callable"):
        study.Study(CONFIGS, path, run=run)


@pytest.mark.parametrize("configs", [None, CONFIGS[0], 3])
def test_configs_are_several(path, configs):
    with pytest.raises(ValueError, match="`configs` must be a list"):
        study.Study(configs, path, run=Run())


def test_a_run_that_another_thread_does_is_one_run(path, capsys):
    config = CONFIGS[0]
    with claims.claim(path, config_id(config)):
        study.Study([config], path, run=Run()).run()
    said = " ".join(capsys.readouterr().err.split())
    assert "Other processes or threads are doing 1 run, to be added" in said


def test_rows_go_into_a_file_of_json_lines(tmp_path):
    for wrong in (tmp_path, tmp_path / "rows.csv"):
        with pytest.raises(ValueError, match="`path` must name a JSON lines"):
            study.Study(CONFIGS, wrong, run=Run())


def test_a_caller_can_wait_for_runs_that_another_does_or_gives_up(path):
    held = [claims.claim(path, config_id(config)) for config in CONFIGS[:2]]
    for holding in held:
        assert holding.__enter__()
    run = Run()
    waiting = []

    def wait():
        waiting.extend(study.Study(CONFIGS, path, run).run(wait=True))

    thread = threading.Thread(target=wait)
    thread.start()
    while len(run.seen) < 2:
        time.sleep(0.01)
    # The first is done by its holder, and the second is given up.
    row = {**rows.read(path)[0], "key": config_id(CONFIGS[0]), "top1": 0.7}
    rows.append(path, row)
    for holding in held:
        holding.__exit__(None, None, None)
    thread.join()
    assert run.seen == [CONFIGS[2], CONFIGS[3], CONFIGS[1]]
    assert [row["top1"] for row in waiting] == [0.7, 0.3, 1.0, 1.0]


def test_threads_share_a_study_and_do_nothing_twice(path):
    start, seen = threading.Barrier(3), []

    def run(config):
        seen.append(config)
        time.sleep(0.02)
        return {"top1": 0.5}

    def work():
        start.wait()
        study.Study(CONFIGS, path, run=run).run()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(config_id, seen)) == sorted(map(config_id, CONFIGS))
    assert len(rows.read(path)) == len(CONFIGS)
