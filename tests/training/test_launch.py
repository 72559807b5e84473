"""Real processes without TensorFlow: what the launcher does with them."""

import json
import sys
import textwrap
import time

import pytest

from keras_jft.training import launch


def _script(folder, code):
    path = folder / "script.py"
    path.write_text(
        "import json, os, pathlib, sys, time\n"
        "config = json.loads(os.environ['TF_CONFIG'])\n"
        "index = config['task']['index']\n"
        f"folder = pathlib.Path({str(folder)!r})\n" + textwrap.dedent(code)
    )
    return str(path)


def test_every_task_has_the_same_cluster_and_its_own_port():
    everyone = launch.tasks(workers=3)
    configs = [json.loads(t.environment["TF_CONFIG"]) for t in everyone]
    addresses = configs[0]["cluster"]["worker"]
    assert len(set(addresses)) == 3
    assert {a.split(":")[0] for a in addresses} == {"127.0.0.1"}
    for index, config in enumerate(configs):
        assert config["cluster"] == {"worker": addresses}
        assert config["task"] == {"type": "worker", "index": index}


def test_output_is_prefixed_and_the_code_is_zero(tmp_path, capfd):
    script = _script(tmp_path, "print('hello', *sys.argv[1:])")
    assert launch.main(["--workers", "2", script, "--lr", "1"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert sorted(lines) == [
        "[worker 0] hello --lr 1",
        "[worker 1] hello --lr 1",
    ]


def test_when_one_worker_dies_all_end_with_its_code(tmp_path, capfd):
    script = _script(
        tmp_path,
        """
        if index == 1:
            sys.exit(7)
        time.sleep(300)
        """,
    )
    began = time.monotonic()
    assert launch.launch([sys.executable, script], workers=3) == 7
    assert time.monotonic() - began < 60
    assert "[worker 1] ended with code 7" in capfd.readouterr().out


def test_a_killed_worker_gives_the_code_of_its_signal(tmp_path):
    script = _script(tmp_path, "os.kill(os.getpid(), 9)")
    assert launch.launch([sys.executable, script], workers=1) == 128 + 9


def test_a_number_of_workers_below_one_is_refused(capsys):
    with pytest.raises(SystemExit):
        launch.main(["--workers", "0", "script.py"])
    assert "--workers must be positive, not 0" in capsys.readouterr().err


# === With parameter servers ===


def _run_with_servers(folder, code, monkeypatch, patience=1):
    monkeypatch.setattr(launch, "PATIENCE", patience)
    script = _script(folder, "job = config['task']['type']\n" + code)
    return launch.launch([sys.executable, script], workers=2, servers=1)


def test_servers_come_with_a_chief_and_share_the_description():
    everyone = launch.tasks(workers=2, servers=2)
    configs = [json.loads(t.environment["TF_CONFIG"]) for t in everyone]
    cluster = configs[0]["cluster"]
    assert {job: len(a) for job, a in cluster.items()} == {
        "chief": 1,
        "worker": 2,
        "ps": 2,
    }
    assert len(set(sum(cluster.values(), []))) == 5
    assert all(config["cluster"] == cluster for config in configs)
    assert [tuple(config["task"].values()) for config in configs] == [
        ("chief", 0),
        ("worker", 0),
        ("worker", 1),
        ("ps", 0),
        ("ps", 1),
    ]


@pytest.mark.parametrize("code", [0, 5])
def test_the_run_ends_with_its_chief(tmp_path, monkeypatch, code):
    script = f"sys.exit({code}) if job == 'chief' else time.sleep(300)"
    assert _run_with_servers(tmp_path, script, monkeypatch) == code


def test_a_worker_that_dies_is_started_again(tmp_path, monkeypatch, capfd):
    script = """
if job == 'chief':
    while not (folder / 'third').exists():
        time.sleep(0.05)
elif (job, index) == ('worker', 1):
    names = ['first', 'second', 'third']
    name = next(n for n in names if not (folder / n).exists())
    (folder / name).touch()
    if name != 'third':
        os.kill(os.getpid(), 9)
    time.sleep(300)
else:
    time.sleep(300)
"""
    assert _run_with_servers(tmp_path, script, monkeypatch) == 0
    shown = capfd.readouterr().out
    assert shown.count("[worker 1] ended with code 137") == 2


def test_a_worker_that_always_dies_ends_the_run(tmp_path, monkeypatch):
    script = "sys.exit(9) if job == 'worker' else time.sleep(300)"
    assert _run_with_servers(tmp_path, script, monkeypatch) == 9


def test_a_chief_may_say_what_it_lost_with_a_server(tmp_path, monkeypatch):
    script = """
if job == 'ps':
    sys.exit(3)
time.sleep(1.5 if job == 'chief' else 300)
sys.exit(4)
"""
    assert _run_with_servers(tmp_path, script, monkeypatch, 60) == 4
    # ... but not for ever.
    assert _run_with_servers(tmp_path, script, monkeypatch, 0) == 3


def test_a_number_of_servers_below_zero_is_refused(capsys):
    with pytest.raises(SystemExit):
        launch.main(["--servers", "-1", "script.py"])
    assert "--servers must not be negative: -1" in capsys.readouterr().err
