"""What `import keras_jft` sets, and what it leaves, in fresh processes."""

import gc
import importlib
import json
import logging
import os
import pathlib
import pkgutil
import subprocess
import sys

import keras
import pytest

import keras_jft
from keras_jft import startup

SAVED = pathlib.Path(__file__).parent / "saved"
SET = ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "KERAS_BACKEND")


def _python(code, *arguments, check=True, **environment):
    kept = {k: v for k, v in os.environ.items() if k not in SET}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**kept, "KERAS_BACKEND": "tensorflow", **environment},
        capture_output=True,
        text=True,
        check=check,
        timeout=120,
    )


@pytest.fixture(scope="module")
def fresh():
    """What one process that imports the package said, and its errors."""
    code = """
import json, os, sys, keras_jft as jft, tensorflow as tf
jft.ResNet, jft.FasterRCNN, jft.data.load
sys.stderr.write("imported\\n")
cpu = tf.config.list_physical_devices("CPU")[0]
# Raises once TensorFlow has run anything.
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
loaded = keras.saving.load_model(sys.argv[1])
jft.backbones.create("resnet18", width=4)
jft.backbones.create("applications/MobileNetV2", alpha=0.35)
print(json.dumps({
    "onednn": os.environ["TF_ENABLE_ONEDNN_OPTS"],
    "level": os.environ["TF_CPP_MIN_LOG_LEVEL"],
    "loaded": type(loaded).__name__,
    "has_keras_hub": "keras_hub" in sys.modules,
}))
"""
    done = _python(code, SAVED / "multi_label.keras")
    return json.loads(done.stdout), done.stderr


@pytest.mark.slow
def test_importing_turns_onednn_on_writes_nothing_and_runs_no_operation(fresh):
    found, errors = fresh
    assert (found["onednn"], found["level"]) == ("1", "2")
    assert errors.startswith("imported\n")


@pytest.mark.slow
def test_importing_the_package_is_enough_to_load_a_model(fresh):
    assert fresh[0]["loaded"] == "MultiLabelClassifier"


@pytest.mark.slow
def test_nothing_imports_keras_hub_until_it_is_asked_for(fresh):
    assert not fresh[0]["has_keras_hub"]


def test_importing_the_package_does_not_import_keras():
    done = _python(
        "import sys, keras_jft\n"
        "assert {'ResNet', 'data'} <= set(dir(keras_jft))\n"
        "print({'keras', 'tensorflow', 'numpy'} & set(sys.modules))\n"
        # On the backend that is imported soonest.
        "sys.modules['tensorflow'] = None\n"
        "print(keras_jft.ResNet.__name__, keras_jft.layers.__name__)\n"
        "keras_jft.nothing",
        check=False,
        KERAS_BACKEND="numpy",
    )
    assert done.stdout == "set()\nResNet keras_jft.layers\n"
    assert done.stderr.endswith(
        "AttributeError: module 'keras_jft' has no attribute 'nothing'\n"
    )


def test_forecasts_need_neither_keras_nor_tensorflow(tmp_path):
    done = _python(
        f"""
import sys
sys.modules.update(keras=None, tensorflow=None, keras_cv=None)
import keras_jft as jft
rows = [
    dict(task="classification", mode="frozen", num_examples=n, seed=seed,
         top1=0.1 * i + 0.001 * seed)
    for i, n in enumerate((300, 1000, 3000, 10000), start=1)
    for seed in range(3)
]
path = {str(tmp_path / "rows.jsonl")!r}
for row in rows:
    jft.scaling.append_row(path, row)
rows = jft.scaling.read_rows(path)
law = jft.scaling.fit(rows, x="num_examples", y="top1")
print(round(jft.scaling.forecast(law).gain, 2))
print(jft.scaling.table(rows))
jft.scaling.plot_data_sizes(rows)
jft.scaling.report(rows, {str(tmp_path / "report.html")!r})
jft.scaling.Study([], path, run=dict).run()
jft.scaling.rows.rows.provenance()
"""
    )
    assert done.stdout.startswith("0.12\n")
    assert (tmp_path / "report.html").stat().st_size > 1000


@pytest.mark.parametrize(
    "imports",
    [  # The package alone, and then Keras: `fresh`.
        "from keras_jft.layers import Conv2D\nimport keras",
        # As packages do that want to know whether there is Keras.
        "import keras_jft\nfrom importlib import util\n"
        "assert util.find_spec('keras')\nimport keras",
    ],
)
def test_keras_learns_of_the_classes_whatever_is_imported_first(imports):
    done = _python(
        # On the backend that is imported soonest.
        "import sys\nsys.modules['tensorflow'] = None\n"
        f"{imports}\n"
        "print(keras.saving.deserialize_keras_object({"
        "'module': 'keras_jft.layers', 'class_name': 'ImageScaling',"
        "'config': {'scaling': 'jft'},"
        "'registered_name': 'keras_jft>ImageScaling'}).scaling)",
        KERAS_BACKEND="numpy",
    )
    assert done.stdout == "jft\n"


def test_keras_may_come_after_tensorflow_and_the_package():
    done = _python(
        "import tensorflow, keras_jft, keras\n"
        "print('keras_jft>ResNet' in keras.saving.get_custom_objects())"
    )
    assert done.stdout == "True\n"


def test_what_files_may_name_is_what_is_registered():
    for module in startup.SERIALIZABLE.values():
        importlib.import_module(f"keras_jft.{module}")
    for info in pkgutil.walk_packages(keras_jft.__path__, "keras_jft."):
        importlib.import_module(info.name)
    registered = {
        name.partition(">")[2]: known.__module__.partition(".")[2]
        for name, known in keras.saving.get_custom_objects().items()
        if name.startswith("keras_jft>")
    }
    assert registered == startup.SERIALIZABLE


@pytest.mark.slow
def test_what_the_user_has_set_stays():
    done = _python(
        "import os, keras_jft, tensorflow\n"
        "print(os.environ['TF_ENABLE_ONEDNN_OPTS'])",
        TF_ENABLE_ONEDNN_OPTS="0",
        TF_CPP_MIN_LOG_LEVEL="0",
    )
    assert done.stdout == "0\n"
    # All of TensorFlow's lines, for whoever looks for a fault.
    assert "absl::InitializeLog" in done.stderr


def test_only_known_noise_is_kept_from_stderr_even_after_an_error(
    capfd, monkeypatch
):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    with pytest.raises(RuntimeError), startup._without_chatter():
        os.write(2, b"I0000 00:00:1 cudart_stub.cc:31] no drivers\n")
        os.write(2, b"E0000 00:00:1 something.cc:1] broken\n")
        os.write(2, b"Traceback\n")
        raise RuntimeError
    os.write(2, b"after\n")
    said = capfd.readouterr().err
    assert said == "E0000 00:00:1 something.cc:1] broken\nTraceback\nafter\n"


@pytest.mark.parametrize("turn", [gc.disable, gc.enable])
def test_an_import_leaves_the_garbage_collector_on_or_off(turn):
    try:
        turn()
        before = gc.isenabled()
        with pytest.raises(RuntimeError), startup._without_collections():
            assert not gc.isenabled()
            raise RuntimeError
        assert gc.isenabled() == before
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "flags, setting, said",
    [
        ("avx avx2 fma", None, True),
        ("avx avx2 fma", "0", False),
        ("avx avx2 avx512_vnni", None, False),
        ("avx", None, False),
    ],
)
def test_onednn_set_too_late_is_logged_if_the_cpu_would_gain(
    flags, setting, said, tmp_path, monkeypatch, caplog
):
    (tmp_path / "cpuinfo").write_text(f"vendor\nflags\t\t: fpu {flags}\n")
    monkeypatch.setattr(startup, "CPUINFO", str(tmp_path / "cpuinfo"))
    monkeypatch.setitem(sys.modules, "tensorflow", object())
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if setting:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", setting)
    with caplog.at_level(logging.WARNING, "keras_jft"):
        startup.prepare()
    assert ("TF_ENABLE_ONEDNN_OPTS=1" in caplog.text) == said
