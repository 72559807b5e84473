"""What `import keras_jft` does: little, and before Keras is imported.

Keras, and TensorFlow with it, takes seconds to import. So the package imports
its rooms when they are first asked for (PEP 562), and `import keras_jft` alone
sets environment variables and leaves word for when Keras comes.
"""

import contextlib
import importlib
import importlib.abc
import importlib.util
import logging
import os
import pathlib
import platform
import re
import sys
import tempfile

CPUINFO = "/proc/cpuinfo"
# Where TensorFlow turns oneDNN on by itself.
WITH_ONEDNN = {
    "amx_bf16",
    "amx_int8",
    "amx_tile",
    "avx512_bf16",
    "avx512_vnni",
    "avx_vnni",
}
# Of level INFO, and what absl writes above the first line.
CHATTER = re.compile(
    rb"(WARNING: All log messages before absl|I\d{4} |To enable the following)"
)
# Where the classes are that a saved model may name.
SERIALIZABLE = {
    "AdamW": "training.optimization",
    "AsymmetricLoss": "pretrain.losses",
    "Classifier": "transfer.heads.classification",
    "Conv2D": "layers.convolution",
    "DeepLabASPP": "transfer.heads.deeplab_aspp",
    "DeepLabV3Plus": "transfer.heads.deeplab_v3_plus",
    "FasterRCNN": "transfer.heads.faster_rcnn.faster_rcnn",
    "FusedBatchNormalization": "layers.batch_normalization",
    "ImageScaling": "layers.image_scaling",
    "MeanAveragePrecision": "metrics.multi_label.mean_average_precision",
    "MeanIoU": "transfer.heads.mean_iou",
    "Model": "training.model",
    "MultiLabelClassifier": "pretrain.classifier",
    "MultiLabelLoss": "pretrain.losses",
    "PoseEstimator": "transfer.heads.pose.estimator",
    "PoseLoss": "transfer.heads.pose.losses",
    "ResNet": "backbones.resnet",
    "RetinaNet": "transfer.heads.retinanet",
    "ShardedDense": "layers.sharded_dense",
    "SmoothedCrossentropy": "transfer.heads.classification",
    "SoftmaxLoss": "pretrain.losses",
    "SubsampledCrossentropy": "transfer.heads.mask_losses",
    "TF1RMSprop": "training.optimization",
    "Thumbnail": "evaluation.duplicates.embedding",
    "UpsampledCrossentropy": "transfer.heads.mask_losses",
}


def prepare():
    """Prepare for Keras, and for TensorFlow where it is the backend.

    Sets, where the user has not set it and TensorFlow is not imported yet:

    - `TF_ENABLE_ONEDNN_OPTS=1`, on x86: on a CPU with AVX2 alone TensorFlow
      leaves oneDNN off, and takes up to twice as long.
    - `TF_CPP_MIN_LOG_LEVEL=2`, which shows errors alone. Lines of level INFO
      that TensorFlow writes before it reads that variable are held back, unless
      the level is 0.

    When Keras is imported, or now if it is there, it learns of the classes that
    are `SERIALIZABLE`, so that `keras.saving.load_model` finds them.
    """
    if sys.modules.get("tensorflow"):
        _say_if_too_late()
    else:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        if platform.machine() in ("x86_64", "AMD64"):
            os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        sys.meta_path.insert(0, _AtImport("tensorflow"))
    if sys.modules.get("keras"):
        _register()
    else:
        sys.meta_path.insert(0, _AtImport("keras", then=_register))


def on_demand(package, modules):
    """Return what a package defines to import its modules when they are read.

    Args:
        package: The `__name__` of the package.
        modules: Dict of names of its modules to the names that the package
            hands on from them, a list.

    Returns:
        The functions `__getattr__` and `__dir__` of the package (PEP 562).
    """
    source = {name: m for m, names in modules.items() for name in names}

    def getattr_(name):
        if name not in modules and name not in source:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}"
            )
        module = importlib.import_module(f"{package}.{source.get(name, name)}")
        found = getattr(module, name) if name in source else module
        setattr(sys.modules[package], name, found)
        return found

    def dir_():
        return sorted({*vars(sys.modules[package]), *modules, *source})

    return getattr_, dir_


class _AtImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module without its chatter, once, then calls a function."""

    def __init__(self, name, then=lambda: None):
        self.name = name
        self.then = then

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None:
            return None
        self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        # From here on the module is as if it had been imported without us.
        module.__spec__.loader = module.__loader__ = self.loader
        with _without_chatter():
            self.loader.exec_module(module)
        self.then()


class _Later:
    """Stands for a class of this package in Keras's table until it is used."""

    def __init__(self, name):
        self.name = name

    def from_config(self, config):
        module = importlib.import_module(
            f"{__package__}.{SERIALIZABLE[self.name]}"
        )
        return getattr(module, self.name).from_config(config)


def _register():
    import keras

    known = keras.saving.get_custom_objects()
    for name in SERIALIZABLE:
        known.setdefault(f"{__package__}>{name}", _Later(name))


def cpu_flags():
    """The set of instructions of this CPU, as Linux names them; maybe empty."""
    try:
        text = pathlib.Path(CPUINFO).read_text(encoding="utf-8")
    except OSError:
        return set()
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return set(flags[1].split()) if flags else set()


def _say_if_too_late():
    flags = cpu_flags()
    gains = "avx2" in flags and flags.isdisjoint(WITH_ONEDNN)
    if gains and "TF_ENABLE_ONEDNN_OPTS" not in os.environ:
        logging.getLogger("keras_jft").warning(
            "TensorFlow was imported before keras_jft, and left oneDNN off on "
            "this CPU: training may take twice as long. Import keras_jft "
            "first, or set TF_ENABLE_ONEDNN_OPTS=1."
        )


@contextlib.contextmanager
def _without_chatter():
    """Pass what is written to the file of standard error on, without `CHATTER`.

    It is passed on at the end, also after an exception.
    """
    if os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0":
        yield
        return
    try:
        screen = os.dup(2)
    except OSError:  # There is no standard error.
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(screen, 2)
            os.close(screen)
            held.seek(0)
            lines = [line for line in held if not CHATTER.match(line)]
            os.write(2, b"".join(lines))
