"""What `import keras_jft` sets, and what it leaves, in fresh processes."""

import logging
import os
import subprocess
import sys

import pytest

from keras_jft import startup

SET = ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "KERAS_BACKEND")


def _python(code, **environment):
    kept = {k: v for k, v in os.environ.items() if k not in SET}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "KERAS_BACKEND": "tensorflow", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


def test_importing_turns_onednn_on_and_writes_nothing():
    done = _python(
        "import os, keras_jft, tensorflow\n"
        "print(os.environ['TF_ENABLE_ONEDNN_OPTS'],"
        "os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    )
    assert done.stdout == "1 2\n"
    assert done.stderr == ""


def test_what_the_user_has_set_stays():
    done = _python(
        "import os, keras_jft; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])",
        TF_ENABLE_ONEDNN_OPTS="0",
        TF_CPP_MIN_LOG_LEVEL="0",
    )
    assert done.stdout == "0\n"
    # All of TensorFlow's lines, for whoever looks for a fault.
    assert "absl::InitializeLog" in done.stderr


def test_what_is_no_chatter_passes_even_with_an_error(capfd, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    with pytest.raises(RuntimeError), startup._without_chatter():
        os.write(2, b"I0000 00:00:1 cudart_stub.cc:31] no drivers\n")
        os.write(2, b"E0000 00:00:1 something.cc:1] broken\n")
        os.write(2, b"Traceback\n")
        raise RuntimeError
    os.write(2, b"after\n")
    said = capfd.readouterr().err
    assert said == "E0000 00:00:1 something.cc:1] broken\nTraceback\nafter\n"


@pytest.mark.parametrize(
    "flags, setting, said",
    [
        ("avx avx2 fma", None, True),
        ("avx avx2 fma", "0", False),
        ("avx avx2 avx512_vnni", None, False),
        ("avx", None, False),
    ],
)
def test_too_late_is_said_where_the_cpu_would_gain(
    flags, setting, said, tmp_path, monkeypatch, caplog
):
    (tmp_path / "cpuinfo").write_text(f"vendor\nflags\t\t: fpu {flags}\n")
    monkeypatch.setattr(startup, "CPUINFO", str(tmp_path / "cpuinfo"))
    monkeypatch.setitem(sys.modules, "tensorflow", object())
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if setting:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", setting)
    with caplog.at_level(logging.WARNING, "keras_jft"):
        startup.import_keras()
    assert ("TF_ENABLE_ONEDNN_OPTS=1" in caplog.text) == said
