import contextlib
import os
import subprocess
import sys
import threading

import pytest

from keras_jft.scaling.study import claims

HOLDER = """
import sys
from keras_jft.scaling.study import claims
with claims.claim({path!r}, "00ff") as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def other_process(path):
    """Another process that tries to hold a config; yields what it says."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(path=path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        text=True,
    ) as holder:
        yield holder, holder.stdout.readline()
        holder.kill()


def test_one_process_holds_a_config_and_its_death_gives_it_back(tmp_path):
    path = str(tmp_path / "rows.jsonl")
    with other_process(path) as (holder, said):
        assert said == "True\n"
        with claims.claim(path, "00ff") as mine:
            assert not mine
        with claims.claim(path, "0100") as mine:
            assert mine
        holder.kill()
        holder.wait()
        with claims.claim(path, "00ff") as mine:
            assert mine


def test_a_config_is_held_against_other_threads_and_paths_to_it(tmp_path):
    path, folder = tmp_path / "rows.jsonl", tmp_path / "link"
    folder.symlink_to(tmp_path)
    with claims.claim(path, "00ff") as mine:
        assert mine
        for same in (path, str(path), folder / "rows.jsonl"):
            with claims.claim(same, "00ff") as mine:
                assert not mine
    pytest.importorskip("fsspec")
    url = f"memory:/{path}"
    with claims.claim(url, "00ff") as mine:
        assert mine
        with claims.claim(url, "00ff") as mine:
            assert not mine
    with claims.claim(path, "00ff") as mine:
        assert mine


def test_who_waits_for_a_config_gets_it_when_its_holder_ends(tmp_path):
    path = str(tmp_path / "rows.jsonl")
    got = threading.Event()

    def wait():
        with claims.wait(path, "00ff", pause=0.01):
            got.set()

    with other_process(path) as (holder, said):
        assert said == "True\n"
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not got.wait(0.2)
        holder.kill()
        waiting.join(20)
    assert got.is_set()


def test_a_config_is_held_while_others_of_its_process_come_and_go(tmp_path):
    path = str(tmp_path / "rows.jsonl")
    with claims.claim(path, "00ff"):
        with claims.claim(path, "0100"), claims.claim(path, "0101"):
            pass
        with claims.claim(path, "00ff"):
            pass
        with other_process(path) as (_, said):
            assert said == "False\n"
    assert not claims._HELD
