"""Shared fixtures, two virtual CPUs on TensorFlow, and the order of files."""

import gc
import os
import signal
import sys
import tempfile

if "PYTEST_XDIST_WORKER" in os.environ:
    # Every process has a core of its own: more threads would only wait.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# JAX takes longer to compile nets this small than to run them, here as in
# processes that a test starts. Its newer emitters are the slower ones.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false",
)

import keras_jft  # noqa: I001  First: it sets what TensorFlow reads.
import keras
import numpy as np
import pytest

# At Python's own thresholds, a twelfth of the time is a search for garbage.
gc.set_threshold(50_000, 20, 20)

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # Before any op: a strategy over two replicas then needs no second machine.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )
elif keras.backend.backend() == "jax":
    import jax

    # What was compiled for another model is read from there. Each process has
    # a folder of its own: JAX writes such files in pieces.
    COMPILED = tempfile.TemporaryDirectory(prefix="keras_jft-jax-")
    jax.config.update("jax_compilation_cache_dir", COMPILED.name)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def pytest_ignore_collect(collection_path, config):
    """Leave out files without a test marked `ops` if only such are wanted.

    To import all files takes longer than many a room's tests.
    """
    is_file = collection_path.suffix == ".py"
    if is_file and config.getoption("markexpr") == "ops":
        text = collection_path.read_text(encoding="utf-8")
        return True if "pytest.mark.ops" not in text else None
    return None


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
    if keras.backend.backend() == "jax":
        jax.clear_caches()  # A megabyte for each operation and shape.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def rewritten(request):
    """Let graphs be optimized in files marked `rewritten`: by Grappler, or XLA.

    Elsewhere it would take longer than it saves in a few steps. The marked
    files run every layer and every head of ours, and the quick start.
    """
    on = request.node.get_closest_marker("rewritten") is not None
    if keras.backend.backend() == "tensorflow":
        options = {"disable_meta_optimizer": not on}
        tf.config.optimizer.set_experimental_options(options)
    elif keras.backend.backend() == "jax":
        jax.config.update("jax_disable_most_optimizations", not on)


@pytest.fixture(autouse=True)
def figures_closed(request):
    """Fail the test that leaves a figure open, not one that comes after it."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        left = pyplot.get_fignums()
        pyplot.close("all")
        # A script leaves its figures to the end of its process.
        is_script = request.path.parent.name in ("benchmarks", "examples")
        assert is_script or left == []


@pytest.fixture
def heeds_ctrl_c():
    """Heed Ctrl-C, which is ignored in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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


@pytest.fixture(scope="session")
def tiny():
    """Builds a ResNet of four basic units for 16 px images."""
    from keras_jft.backbones import ResNet

    return lambda: ResNet(
        (1, 1, 1, 1),
        width=16,
        block="basic",
        stem="small",
        bn_momentum=0.9,
        image_shape=(16, 16, 3),
    )


@pytest.fixture
def tiny_backbone(tiny):
    """One of these."""
    return tiny()


@pytest.fixture
def plain_backbone():
    """A backbone of one convolution of stride 4, for 16 px images.

    For tests of what goes around a net: it is compiled in no time.
    """
    from keras_jft.backbones import adapt

    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(16, 5, strides=4, padding="same")(inputs)
    net = keras.Model(inputs, keras.layers.ReLU()(x))
    return adapt(net, scaling="jft")


@pytest.fixture
def staged():
    """Builds a backbone of one convolution per stage, for 32 px images."""
    from keras_jft.backbones import adapt

    def build():
        x = inputs = keras.Input((32, 32, 3))
        for stage in range(1, 6):
            convolve = keras.layers.Conv2D(
                16, 3, 2, "same", activation="relu", name=f"stage{stage}"
            )
            x = convolve(x)
        return adapt(keras.Model(inputs, x), scaling="jft")

    return build
