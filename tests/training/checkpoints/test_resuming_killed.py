import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[3]
SCRIPT = ROOT / "benchmarks" / "reliability.py"


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What the benchmark leaves behind, and the row that it prints."""
    folder = tmp_path_factory.mktemp("killed")
    process = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "4", "--folder", folder],
        env={"PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    return folder, json.loads(process.stdout.splitlines()[-1])


def test_a_run_that_is_killed_ends_with_the_weights_of_one_that_is_not(killed):
    folder, row = killed
    assert row["kills"] == 4
    assert row["identical"] == row["runs"] >= 1
    with np.load(folder / "whole/final.npz") as whole:
        assert len(whole.files) > 20
        for path in folder.glob("run*/final.npz"):
            with np.load(path) as run:
                for name in whole.files:
                    np.testing.assert_array_equal(run[name], whole[name])


def test_a_kill_costs_little_more_than_a_save_interval(killed):
    folder, row = killed
    # One step is saved; a second may wait to be written by the thread.
    assert row["most_steps_lost"] <= 2
    for path in folder.glob("run*/steps"):
        assert sorted(set(map(int, path.read_text().split()))) == list(
            range(1, 31)
        )
    for path in folder.glob("run*/run"):
        names = sorted(p.name for p in path.iterdir())
        assert names == [f"step-{step:010d}.npz" for step in (28, 29, 30)]
