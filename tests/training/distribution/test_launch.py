"""Real processes without TensorFlow: what the launcher does with them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from keras_jft.training.distribution import launch


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


def test_a_script_that_is_not_there_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        launch.main(["--workers", "1", str(tmp_path / "trian.py")])
    assert "trian.py' in " in capsys.readouterr().err


def test_ports_are_free_on_all_interfaces_and_stay_so(monkeypatch):
    with socket.create_server(("", 0)) as taken:
        taken = taken.getsockname()[1]
        monkeypatch.setattr(launch, "PORTS", range(taken, taken + 2000))
        ports = launch._free_ports(5)
    assert len(set(ports)) == 5 and taken not in ports
    for port in ports:
        socket.create_server(("", port)).close()


def test_ports_are_none_that_outgoing_connections_take():
    path = "/proc/sys/net/ipv4/ip_local_port_range"
    if not os.path.exists(path):
        pytest.skip("Linux says which these are.")
    with open(path) as file:
        first, last = map(int, file.read().split())
    if (first, last) == (32768, 60999):  # As systems come.
        assert not set(launch.PORTS) & set(range(first, last + 1))
    assert min(launch.PORTS) > 1024


def test_too_few_free_ports_are_an_error(monkeypatch):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(launch, "PORTS", range(port, port + 1))
        with pytest.raises(ValueError, match="cluster of 1 tasks.*Found: 0"):
            launch._free_ports(1)


def test_tasks_find_each_other_past_a_proxy(monkeypatch):
    for name in ("no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    (task,) = launch.tasks(workers=1)
    assert task.environment["no_grpc_proxy"] == "127.0.0.1"
    monkeypatch.setenv("no_proxy", "corp.example")
    (task,) = launch.tasks(workers=1)
    assert task.environment["no_grpc_proxy"] == "corp.example,127.0.0.1"


def test_another_cluster_does_not_leak_in(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"ps": ["elsewhere:1"]}}')
    (task,) = launch.tasks(workers=1)
    assert "elsewhere" not in task.environment["TF_CONFIG"]


def test_the_user_is_told_that_ports_are_open(tmp_path, capfd):
    launch.main(["--workers", "2", _script(tmp_path, "print('done')")])
    shown = capfd.readouterr()
    assert "listen on all interfaces" in shown.err
    assert "run any graph that is sent" in shown.err
    assert "launcher" not in shown.out
    with pytest.raises(SystemExit):
        launch.main(["--help"])
    shown = " ".join(capfd.readouterr().out.split())
    assert "listen on all interfaces" in shown
    assert "--workers 2 train.py" in shown


# === How it ends ===

# Each task and its child hold one end of a pipe with a name: who reads there
# meets its end when all are gone, however their numbers are used by then.
_HOLD = """
import subprocess
pipe = os.open(folder / "pipe", os.O_WRONLY)
os.set_inheritable(pipe, True)
code = "import os, time; os.write({}, b'.'); time.sleep(300)".format(pipe)
subprocess.Popen([sys.executable, "-S", "-c", code], close_fds=False)
os.write(pipe, b".")
print("ready")
time.sleep(300)
"""


class _Launched:
    """A launcher of two tasks, each with a child."""

    def __init__(self, folder, before=(), **options):
        os.mkfifo(folder / "pipe")
        self._pipe = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        command = [sys.executable, launch.__file__, "--workers", "2"]
        options = {"stdout": subprocess.DEVNULL, **options}
        self.process = subprocess.Popen(
            [*before, *command, _script(folder, _HOLD)],
            stderr=subprocess.DEVNULL,
            **options,
        )
        written, deadline = 0, time.monotonic() + 30
        while written < 4 and self.process.poll() is None:
            assert time.monotonic() < deadline, "not all tasks have come"
            written += self._read()
            time.sleep(0.02)

    def _read(self):
        """How many bytes lie in the pipe; none also where nobody writes."""
        try:
            return len(os.read(self._pipe, 64))
        except BlockingIOError:
            return 0

    def ends(self):
        """The exit code; fails if a process is left."""
        code = self.process.wait(30)
        deadline = time.monotonic() + 30
        while not self._is_deserted():
            assert time.monotonic() < deadline, "a process goes on"
            time.sleep(0.02)
        return code

    def _is_deserted(self):
        try:
            return os.read(self._pipe, 64) == b""
        except BlockingIOError:
            return False

    def close(self):
        """Ends what a failed test has left."""
        os.close(self._pipe)
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def foreground():
    """Start launchers as a shell in the foreground does: told by all signals.

    `nohup` and a `&` in a script have some ignored, by their children too.
    """
    ignored = [
        number
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def launched(tmp_path, foreground):
    """`launched(...)`: a `_Launched`, which is closed after the test."""
    with contextlib.ExitStack() as stack:

        def start(*args, **options):
            cluster = _Launched(tmp_path, *args, **options)
            stack.callback(cluster.close)
            return cluster

        yield start


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGTERM"])
def test_a_signal_ends_all_tasks_and_their_children(launched, name):
    cluster = launched()
    number = getattr(signal, name)
    cluster.process.send_signal(number)
    assert cluster.ends() == 128 + number


def test_a_killed_launcher_leaves_nobody(launched):
    cluster = launched()
    cluster.process.kill()
    assert cluster.ends() == -signal.SIGKILL


def test_a_closed_terminal_ends_all(launched):
    terminal, inside = os.openpty()
    login = "import os, sys; os.login_tty(int(sys.argv[1])); "
    login += "os.execv(sys.argv[2], sys.argv[2:])"
    cluster = launched(
        [sys.executable, "-c", login, str(inside)],
        stdout=None,
        pass_fds=[inside],
        start_new_session=True,
    )
    os.close(inside)
    os.close(terminal)
    assert cluster.ends() == 128 + signal.SIGHUP


def test_nohup_lets_it_live_on(launched):
    cluster = launched(["nohup"])
    cluster.process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        cluster.process.wait(0.5)
    cluster.process.terminate()
    assert cluster.ends() == 128 + signal.SIGTERM


def test_a_reader_that_goes_away_ends_all(launched, tmp_path):
    source, sink = os.pipe()
    os.close(source)
    cluster = launched(stdout=sink)
    os.close(sink)
    assert cluster.ends() == -signal.SIGPIPE


def test_who_ignores_being_told_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "GRACE", 0.2)
    script = _script(
        tmp_path,
        """
        import signal
        if index == 0:
            while not (folder / "deaf").exists():
                time.sleep(0.01)
            sys.exit(3)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (folder / "deaf").touch()
        time.sleep(300)
        """,
    )
    began = time.monotonic()
    assert launch.launch([sys.executable, script], workers=2) == 3
    assert time.monotonic() - began < 60


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
