import os
import subprocess
import sys

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
