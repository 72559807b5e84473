"""The scripts of docs/clusters.md, submitted to a real Slurm of two nodes."""

import json
import os
import pathlib
import subprocess
import sys

import cluster_jobs as jobs
import numpy as np
import one_machine_slurm
import pytest
from cluster_page import block

from keras_jft import training

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[3]
# What a person types: the chief of the first job is killed while it trains.
SUBMITTED = """
sbatch --wait --nodes=2 --output=first.log job.sh
echo "status $?, after the last checkpoint: $(($(date +%s) - $(ls -1 run/step* |
    tail -1 | xargs stat -c %Y))) s"
sbatch --wait --nodes=2 --output=second.log job.sh
echo "status $?"
cd servers
sbatch --wait --nodes=2 --ntasks=5 --output=tasks.jsonl job.sh
"""
TRAIN = f"""
import pathlib, sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
import cluster_jobs
folder = pathlib.Path.cwd()
again = (folder / "run").exists()
cluster_jobs.main("resumed" if again else "equal,whole,killed", folder)
"""

# What each task of parameter servers is told, and where.
TELL = """
import os, socket
print(f'["{socket.gethostname()}", {os.environ["TF_CONFIG"]}]', flush=True)
"""


def _submitted(folder):
    """Submit what is in a folder; return what was printed."""
    tool = [sys.executable, one_machine_slurm.__file__, "--folder"]
    bin = pathlib.Path(sys.executable).parent
    done = subprocess.run(
        [*tool, str(folder / "slurm"), "--", "bash", "-c", SUBMITTED],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{bin}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    logs = [path.read_text()[-3000:] for path in folder.glob("*.log")]
    print(done.stdout, done.stderr[-2000:], *logs, sep="\n")
    return done.stdout


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory):
    """The folder that jobs of two nodes left, and what their user saw."""
    why = one_machine_slurm.missing()
    if why:
        pytest.skip(f"No Slurm: {why}")
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "servers").mkdir()
    for there, part, code in (
        (folder, "Synchronous training", TRAIN),
        (folder / "servers", "Parameter servers", TELL),
    ):
        (there / "job.sh").write_text(block(part, "Slurm"))
        (there / "train.py").write_text(code)
    return folder, _submitted(folder)


def test_two_nodes_train_like_one_device(two_nodes):
    folder, _ = two_nodes
    model, _ = jobs.train(
        jobs.many_label,
        jobs.batch(),
        training.strategy("one_device"),
        jobs.top_two,
    )
    for index in (0, 1):
        result = np.load(folder / f"equal_worker{index}.npz")
        for path, weight in jobs.arrays(model).items():
            np.testing.assert_allclose(result[path], weight, atol=1e-6)


def test_a_killed_task_ends_the_job_and_the_next_one_resumes(two_nodes):
    folder, said = two_nodes
    first, second = [line for line in said.splitlines() if "status" in line]
    assert first.split()[1] != "0," and second == "status 0"
    assert int(first.split()[-2]) < 60
    whole, resumed = (
        dict(np.load(folder / f"{name}_worker0.npz"))
        for name in ("whole", "resumed")
    )
    # Not all over again.
    assert resumed.pop("steps") < whole.pop("steps") == 12
    assert set(resumed) == set(whole)
    for path, weight in whole.items():
        np.testing.assert_array_equal(resumed[path], weight, err_msg=path)


def test_tasks_of_parameter_servers_are_where_the_others_look(two_nodes):
    folder, _ = two_nodes
    lines = (folder / "servers" / "tasks.jsonl").read_text().splitlines()
    places = set()
    for host, config in map(json.loads, lines):
        cluster, task = config["cluster"], config["task"]
        place = cluster[task["type"]][task["index"]]
        assert place.startswith(f"{host}:")
        assert {kind: len(a) for kind, a in cluster.items()} == {
            "chief": 1,
            "ps": 2,
            "worker": 2,
        }
        places.add(place)
    assert len(places) == 5
