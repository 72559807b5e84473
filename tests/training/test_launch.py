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
