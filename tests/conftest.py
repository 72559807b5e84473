"""Shared fixtures, two virtual CPUs on TensorFlow, and the order of files."""

import gc
import os
import tempfile

if "PYTEST_XDIST_WORKER" in os.environ:
    # Every process has a core of its own: more threads would only wait.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# JAX takes longer to compile nets this small than to run them, here as in
# processes that a test starts. At level 0 steps would be the longer part.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")
# What one process has compiled, no other compiles again, and no later test.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    COMPILED = tempfile.TemporaryDirectory(prefix="keras_jft-jax-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

import keras_jft  # noqa: I001  First: it sets what TensorFlow reads.
import keras
import numpy as np
import pytest

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # Before any op: a strategy over two replicas then needs no second machine.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )


def pytest_collection_modifyitems(items):
    """Files with slow tests come first: processes then end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True, scope="module")
def forget():
    """Drop what Keras keeps of a file's models, and look at the rest no more.

    A collection of garbage would look at all of it again, for a minute at last.
    """
    yield
    keras.utils.clear_session()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def rewritten(request):
    """Let TensorFlow rewrite graphs (Grappler) in files marked `rewritten`.

    Elsewhere it would take longer than it saves in a few steps. The marked
    files run every layer and every head of ours, and the quick start.
    """
    if keras.backend.backend() == "tensorflow":
        on = request.node.get_closest_marker("rewritten") is not None
        options = {"disable_meta_optimizer": not on}
        tf.config.optimizer.set_experimental_options(options)


@pytest.fixture(autouse=True)
def fixed_seed():
    """Every test starts from the same random state."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="module")
def uncompiled():
    """Let TensorFlow take a file's steps of models as Python, without graphs.

    For files whose tests take few steps each, and are about something else.
    """
    with pytest.MonkeyPatch.context() as patched:
        if keras.backend.backend() == "tensorflow":
            always = property(lambda self: True, lambda self, value: None)
            patched.setattr(keras_jft.training.Model, "run_eagerly", always)
        yield


@pytest.fixture
def rng():
    """A NumPy generator of a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture
def tiny_backbone():
    """A ResNet of four basic units for 16 px images."""
    from keras_jft.backbones import ResNet

    return ResNet(
        (1, 1, 1, 1),
        width=16,
        block="basic",
        stem="small",
        bn_momentum=0.9,
        image_shape=(16, 16, 3),
    )
