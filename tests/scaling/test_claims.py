import os
import subprocess
import sys
import threading

from keras_jft.scaling import claims

HOLDER = """
import sys
from keras_jft.scaling import claims
with claims.claim({path!r}, "00ff") as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


def test_one_process_holds_a_config_and_its_death_gives_it_back(tmp_path):
    path = str(tmp_path / "rows.jsonl")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(path=path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "True\n"
        with claims.claim(path, "00ff") as mine:
            assert not mine
        with claims.claim(path, "0100") as mine:
            assert mine
        holder.kill()
        holder.wait()
        with claims.claim(path, "00ff") as mine:
            assert mine


def test_who_waits_for_a_config_gets_it_when_its_holder_ends(tmp_path):
    path = str(tmp_path / "rows.jsonl")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(path=path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        text=True,
    )
    got = threading.Event()

    def wait():
        with claims.claim(path, "00ff", wait=True) as mine:
            assert mine
            got.set()

    with holder:
        assert holder.stdout.readline() == "True\n"
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not got.wait(0.2)
        holder.kill()
        waiting.join(20)
        assert got.is_set()
