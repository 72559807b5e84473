"""Models on JAX devices, virtual ones and those of other processes."""

import os
import pathlib
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import distribution

from keras_jft import training

pytestmark = pytest.mark.slow

HERE = pathlib.Path(__file__).parent
TIMEOUT = 300
# Without TensorFlow, which JAX does not need and which is slow to import.
RUN = """
import sys
sys.modules["tensorflow"] = None
sys.path.insert(0, sys.argv[1])
import distribution_jobs
distribution_jobs.main(*sys.argv[2:])
"""


def _start(path, names, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, HERE, path, names],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": str(HERE.parents[2]),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What one process with four devices got, and two with one each."""
    folder = tmp_path_factory.mktemp("distribution")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    processes = [
        _start(
            folder / "alone.npz",
            "one_device,data_parallel,model_parallel",
            XLA_FLAGS=os.environ.get("XLA_FLAGS", "")
            + " --xla_force_host_platform_device_count=4",
        )
    ] + [
        _start(
            folder / f"{index}.npz",
            "data_parallel,model_parallel",
            KERAS_DISTRIBUTION_JOB_ADDRESSES=f"127.0.0.1:{port}",
            KERAS_DISTRIBUTION_NUM_PROCESSES="2",
            KERAS_DISTRIBUTION_PROCESS_ID=str(index),
        )
        for index in range(2)
    ]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=TIMEOUT)
            assert process.returncode == 0, output[-3000:]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    files = sorted(folder.glob("*.npz"))
    return {"folder": folder, **{f.stem: dict(np.load(f)) for f in files}}


def _of(results, name):
    """What there is of one distribution: `{path: array}`."""
    return {
        key.removeprefix(f"{name} "): value
        for key, value in results.items()
        if key.startswith(f"{name} ") and "held" not in key
    }


def _assert_like_one_device(results, trained):
    alone = _of(results["alone"], "one_device")
    assert set(alone) == set(trained) > {"logits", "bn|moving_mean"}
    for path, array in alone.items():
        np.testing.assert_allclose(
            trained[path], array, atol=1e-6, err_msg=path
        )


@pytest.mark.parametrize("name", ["data_parallel", "model_parallel"])
def test_four_devices_train_like_one(results, name):
    _assert_like_one_device(results, _of(results["alone"], name))


@pytest.mark.parametrize("name", ["data_parallel", "model_parallel"])
def test_two_processes_that_were_interrupted_train_like_one(results, name):
    for index in ("0", "1"):
        _assert_like_one_device(results, _of(results[index], name))


def test_each_of_two_processes_holds_half_of_the_head(results):
    for index in ("0", "1"):
        for name, rows in {"data_parallel": 16, "model_parallel": 8}.items():
            shape = results[index][f"{name} held head_logits|kernel_0"]
            assert tuple(shape) == (rows, 3), (index, name)


def test_a_model_that_two_processes_hold_is_saved_whole(results):
    file = results["folder"] / "model_parallel of 2.keras"
    model = keras.saving.load_model(file)
    trained = _of(results["0"], "model_parallel")
    for weight in model.weights:
        np.testing.assert_array_equal(
            weight.numpy(), trained[weight.path.replace("/", "|")]
        )


def test_a_head_of_five_labels_is_split_over_two_devices(results):
    held = results["alone"]
    for path, shape in {
        "head_logits|kernel_0": (8, 3),
        "head_logits|kernel_1": (8, 2),
        "sgd|head_logits_kernel_0_momentum": (8, 3),
        "head_logits|bias_0": (3,),
        "conv|kernel": (3, 3, 3, 16),
    }.items():
        key = f"held {path}"
        assert tuple(held[f"model_parallel {key}"]) == shape, path
    assert tuple(held["one_device held head_logits|kernel_0"]) == (16, 3)


def test_heads_are_found_by_name_and_nothing_else_is():
    mesh = distribution.DeviceMesh((1, 1), ("batch", "model"), [0])
    layouts = training.layout_map(mesh)
    for path in (
        "head_logits/kernel",
        "head_logits/kernel_49",
        "classifier/head_logits/kernel",
    ):
        assert layouts[path].axes == ("model", None), path
    for path in ("head_logits/bias", "my_head_logits/kernel", "conv/kernel"):
        assert layouts[path] is None, path


def test_a_mesh_without_the_axis_is_refused():
    mesh = distribution.DeviceMesh((1,), ("batch",), [0])
    with pytest.raises(ValueError, match="axis.*batch.*'model'"):
        training.layout_map(mesh)
