"""The rules of the house: where things lie and what imports what."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "keras_jft"
# Each room may import what stands before it, and itself.
FLOORS = (
    ("object_store",),
    ("files", "options", "text", "typing"),
    (
        "checks",
        "npy",
        "html_page",
        "sides",
        "startup",
        "text_files",
        "version",
    ),
    ("layers", "metrics", "training", "data"),
    ("backbones",),
    ("pretrain",),
    ("transfer",),
    ("evaluation",),
    ("scaling",),
    ("cli",),
    ("__main__",),
)
LEVEL = {room: i for i, floor in enumerate(FLOORS) for room in floor}
MODULES = sorted(PACKAGE.rglob("*.py"))


def _room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "keras_jft":
                yield from parts[1:2] or [a.name for a in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "keras_jft":
                    yield from parts[1:2]


@pytest.mark.parametrize(
    "path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_point_down(path):
    room = _room(path)
    if room == "__init__":
        return
    for imported in _imported_rooms(path):
        below = LEVEL[imported] < LEVEL[room]
        assert below or imported == room, f"{room} imports {imported}"


def test_rooms_of_the_ground_floor_do_not_lean_on_each_other():
    wide = FLOORS[LEVEL["layers"]]
    leaning = {
        (_room(path), imported)
        for path in MODULES
        for imported in _imported_rooms(path)
        if _room(path) in wide and imported in wide and imported != _room(path)
    }
    assert leaning == set()


def test_no_file_is_too_long_to_read():
    files = [
        path
        for folder in ("keras_jft", "tests", "examples", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
    ]
    long = {
        str(p): n for p in files if (n := len(p.read_text().splitlines())) > 600
    }
    assert long == {}


def test_no_module_is_a_drawer_for_everything():
    names = {path.stem for path in MODULES} | {
        p.name for p in PACKAGE.iterdir()
    }
    assert names.isdisjoint({"utils", "util", "core", "common", "helpers"})


def _python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_without_tensorflow_models_fit_predict_and_save(tmp_path):
    code = f"""
import sys
sys.modules["tensorflow"] = None
import numpy as np
import keras_jft as jft
import keras
backbone = jft.ResNet((1, 1, 1, 1), width=16, stem="small", block="basic",
                      image_shape=(16, 16, 3))
model = jft.MultiLabelClassifier(backbone, 3)
model.compile("sgd", metrics=[jft.metrics.MeanAveragePrecision(k=2)])
batch = dict(images=np.zeros((4, 16, 16, 3), "uint8"),
             labels=np.array([[0, -1]] * 4, "int32"))
model.fit(batch, validation_data=batch, verbose=0)
model.save({str(tmp_path / "model.keras")!r})
again = keras.saving.load_model({str(tmp_path / "model.keras")!r})
np.testing.assert_array_equal(
    model.predict(batch, verbose=0), again.predict(batch, verbose=0))
data = jft.data.load("synthetic", num_examples=8)
assert len(list(jft.data.iterate(data, batch_size=4))) == 2
try:
    jft.data.batches(data, batch_size=4)
except ImportError as error:
    assert "TensorFlow" in str(error), error
else:
    raise AssertionError("tf.data without TensorFlow")
"""
    done = _python(code, KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr
