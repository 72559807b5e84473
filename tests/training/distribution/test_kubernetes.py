"""Manifests of Kubernetes: they are valid, and pods find each other."""

import json
import os
import pathlib
import subprocess

import pytest
import yaml
from cluster_page import block, blocks

FOLDER = pathlib.Path(__file__).parents[3] / "examples" / "cluster"
MANIFESTS = {
    path.name: list(yaml.safe_load_all(path.read_text()))
    for path in sorted(FOLDER.glob("*.yaml"))
}
ON_THE_PAGE = [
    list(yaml.safe_load_all(code))
    for _, code in blocks()
    if code.startswith("apiVersion")
]


@pytest.mark.parametrize(
    "parts", [*MANIFESTS.values(), *ON_THE_PAGE], ids=lambda parts: len(parts)
)
def test_manifests_are_valid(parts):
    validate = pytest.importorskip("kubernetes_validate")
    for part in parts:
        validate.validate(part, "1.31", strict=True)


def test_the_page_shows_parts_of_the_files():
    shown = [part for parts in ON_THE_PAGE for part in parts]
    files = [part for parts in MANIFESTS.values() for part in parts]
    assert len(shown) == 5
    for part in shown:
        assert part in files or part["kind"] == "NetworkPolicy"


def _pods(name):
    """Yield each pod of a file: its address, and the TF_CONFIG it computes."""
    parts = MANIFESTS[name]
    [service] = [part for part in parts if part["kind"] == "Service"]
    for job in (part for part in parts if part["kind"] == "Job"):
        pod = job["spec"]["template"]
        [container] = pod["spec"]["containers"]
        [port] = container["ports"]
        # A selector is by labels, of which Kubernetes adds the job's name.
        labels = pod["metadata"]["labels"] | {
            "job-name": job["metadata"]["name"]
        }
        assert service["spec"]["selector"].items() <= labels.items()
        assert pod["spec"]["subdomain"] == service["metadata"]["name"]
        assert job["spec"]["completions"] == job["spec"]["parallelism"]
        for index in range(job["spec"]["completions"]):
            host = f"{job['metadata']['name']}-{index}"
            address = f"{host}.{pod['spec']['subdomain']}"
            yield (
                f"{address}:{port['containerPort']}",
                _computed(container, index),
            )


def _computed(container, index):
    """Return what the command of a container leaves in TF_CONFIG."""
    [text] = container["args"]
    assert "exec python train.py" in text
    printed = subprocess.run(
        [
            *container["command"],
            text.replace("exec python train.py", 'echo "$TF_CONFIG"'),
        ],
        env={
            "PATH": os.environ["PATH"],
            "JOB_COMPLETION_INDEX": str(index),
            **{e["name"]: e["value"] for e in container.get("env", ())},
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(printed.stdout)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("multi_worker.yaml", {"worker": 2}),
        ("parameter_server.yaml", {"chief": 1, "ps": 2, "worker": 2}),
    ],
)
def test_every_pod_computes_the_cluster_and_its_own_place(name, counts):
    seen = {kind: [] for kind in counts}
    for address, config in _pods(name):
        cluster, task = config["cluster"], config["task"]
        assert {kind: len(a) for kind, a in cluster.items()} == counts
        assert cluster[task["type"]][task["index"]] == address
        seen[task["type"]].append(task["index"])
    assert seen == {kind: list(range(n)) for kind, n in counts.items()}


def test_only_pods_of_a_run_may_reach_each_other():
    [policy] = [
        part
        for parts in ON_THE_PAGE
        for part in parts
        if part["kind"] == "NetworkPolicy"
    ]
    labels = policy["spec"]["podSelector"]["matchLabels"]
    for name in ("multi_worker.yaml", "parameter_server.yaml"):
        for part in MANIFESTS[name]:
            if part["kind"] == "Job":
                metadata = part["spec"]["template"]["metadata"]
                assert labels.items() <= metadata["labels"].items()
    [rule] = policy["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": labels}}]


def test_the_pods_of_a_study_share_what_they_write():
    claim, job = MANIFESTS["study.yaml"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    pod = job["spec"]["template"]["spec"]
    [volume], [container] = pod["volumes"], pod["containers"]
    assert (
        volume["persistentVolumeClaim"]["claimName"]
        == claim["metadata"]["name"]
    )
    [mount] = container["volumeMounts"]
    assert mount["name"] == volume["name"]
    assert container["command"][2].startswith(mount["mountPath"])


@pytest.mark.parametrize(
    ("headings", "counts"),
    [
        (("Synchronous training", "TF_CONFIG"), {"worker": 2}),
        (
            ("Parameter servers", "TF_CONFIG"),
            {"chief": 1, "worker": 2, "ps": 1},
        ),
    ],
)
def test_the_page_s_own_clusters_are_read_as_they_are_meant(headings, counts):
    code = block(*headings)
    printed = subprocess.run(
        ["bash", "-c", f'{code}\necho "$TF_CONFIG"'],
        capture_output=True,
        text=True,
        check=True,
    )
    config = json.loads(printed.stdout)
    assert {k: len(a) for k, a in config["cluster"].items()} == counts
    task = config["task"]
    assert task["index"] < counts[task["type"]]


def test_tasks_of_slurm_that_share_nodes_have_a_port_and_a_place_each():
    """The program inside the script of parameter servers, for each task."""
    script = block("Parameter servers", "Slurm")
    program = script.split("<<END\n")[1].split("\nEND")[0]
    hosts = "a,a,b,b,c"
    configs = [
        json.loads(
            subprocess.run(
                ["python3", "-c", program],
                env={
                    "PATH": os.environ["PATH"],
                    "SLURM_PROCID": str(task),
                    "SERVERS": "2",
                    "HOSTS": hosts,
                },
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for task in range(5)
    ]
    cluster = {
        "chief": ["a:23000"],
        "ps": ["a:23001", "b:23002"],
        "worker": ["b:23003", "c:23004"],
    }
    assert all(config["cluster"] == cluster for config in configs)
    assert [tuple(config["task"].values()) for config in configs] == [
        ("chief", 0),
        *(("ps", 0), ("ps", 1)),
        *(("worker", 0), ("worker", 1)),
    ]
