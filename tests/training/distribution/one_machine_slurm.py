"""Run a command on a Slurm cluster of several nodes on this one machine.

    python tests/training/distribution/one_machine_slurm.py --nodes 2 -- \
        sbatch --wait job.sh

Needs root, Linux and Slurm (`apt-get install slurm-wlm munge`). Each node,
node0, node1 and so on, has a network namespace of its own, and with it an
address and all ports, as a machine has. Everything ends with the command, and
nothing is left but the files in `--folder`.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "unshare", "ip")
CONFIG = """
ClusterName=one-machine
SlurmctldHost=controller
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
KillWait=2
NodeName=node[0-{last}] CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def missing():
    """Return why Slurm cannot run here, or None."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "it needs root, for network namespaces"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    gone = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    if gone:
        return f"not installed: {', '.join(gone)}"
    tried = subprocess.run(
        [*NAMESPACES, "ip", "link", "add", "br0", "type", "bridge"],
        capture_output=True,
        text=True,
        check=False,
    )
    return tried.stderr or None


# All that runs in them ends with their first process.
NAMESPACES = (
    *("unshare", "--net", "--uts", "--mount", "--pid", "--fork"),
    "--kill-child",
    "--mount-proc",
)


def main(words=None):
    """Start a cluster, run a command, and return its status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args(words)
    if not given.inside:
        again = [*NAMESPACES, sys.executable, __file__, "--inside"]
        folder = given.folder or tempfile.mkdtemp(prefix="slurm-")
        options = ["--nodes", str(given.nodes), "--folder", str(folder)]
        return subprocess.call([*again, *options, "--", *given.command])
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    folder = given.folder.resolve()
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    _start(folder, given.nodes)
    return subprocess.call(given.command)


def _start(folder, nodes):
    folder.mkdir(parents=True, exist_ok=True)
    names = {"controller": "10.77.0.1"} | {
        f"node{i}": f"10.77.0.{10 + i}" for i in range(nodes)
    }
    _private_files(folder, names)
    (folder / "slurm.conf").write_text(
        CONFIG.format(folder=folder, last=nodes - 1)
    )
    _run("ip link set lo up")
    _run("ip link add br0 type bridge")
    _run("ip address add 10.77.0.1/24 dev br0")
    _run("ip link set br0 up")
    _run("hostname controller")
    _start_munge(folder)
    (folder / "state").mkdir(exist_ok=True)
    _run(f"slurmctld -c -f {folder}/slurm.conf")
    for i in range(nodes):
        _start_node(folder, f"node{i}", names[f"node{i}"])
    _wait(f"{nodes} nodes", lambda: _count("sinfo -h -t idle -o %D") == nodes)


def _private_files(folder, names):
    """Give the cluster a /run and an /etc/hosts of its own."""
    _run("mount -t tmpfs none /run")
    lines = [f"{address} {name}" for name, address in names.items()]
    (folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *lines]))
    _run(f"mount --bind {folder}/hosts /etc/hosts")


def _start_munge(folder):
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    pathlib.Path("/run/munge").mkdir()
    files = {
        "key-file": folder / "munge.key",
        "log-file": folder / "munged.log",
        "pid-file": "/run/munge/munged.pid",
        "seed-file": "/run/munge/munged.seed",
        "socket": "/run/munge/munge.socket.2",
    }
    _run("munged --force " + " ".join(f"--{k}={v}" for k, v in files.items()))


def _start_node(folder, name, address):
    """Start slurmd with a name, an address and a network of its own."""
    (folder / f"spool-{name}").mkdir(exist_ok=True)
    slurmd = f"hostname {name}; read go; exec slurmd -D -f {folder}/slurm.conf"
    node = subprocess.Popen(
        ["unshare", "--net", "--uts", "bash", "-c", slurmd],
        stdin=subprocess.PIPE,
    )
    theirs = pathlib.Path(f"/proc/{node.pid}/ns/net")
    ours = os.readlink("/proc/self/ns/net")
    _wait(f"the network of {name}", lambda: os.readlink(theirs) != ours)
    _run(f"ip link add {name} type veth peer name eth0 netns {node.pid}")
    _run(f"ip link set {name} master br0 up")
    inside = f"nsenter --net=/proc/{node.pid}/ns/net ip"
    _run(f"{inside} link set lo up")
    _run(f"{inside} address add {address}/24 dev eth0")
    _run(f"{inside} link set eth0 up")
    node.stdin.write(b"go\n")
    node.stdin.close()


def _run(command):
    subprocess.run(command.split(), check=True)


def _count(command):
    done = subprocess.run(
        command.split(), capture_output=True, text=True, check=False
    )
    return sum(map(int, done.stdout.split())) if done.returncode == 0 else -1


def _wait(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not there after {seconds} s.")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
