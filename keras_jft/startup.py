"""What `import keras_jft` does: little, and before Keras is imported.

Keras, and TensorFlow with it, takes seconds to import. So the package imports
its subpackages when they are first used (PEP 562), and `import keras_jft` only
sets environment variables and installs hooks for the import of Keras.
"""

import ast
import contextlib
import gc
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
# CPU flags with which TensorFlow turns oneDNN on by itself.
_WITH_ONEDNN = {
    "amx_bf16",
    "amx_int8",
    "amx_tile",
    "avx512_bf16",
    "avx512_vnni",
    "avx_vnni",
}
# Lines of level INFO, and the one that absl writes above the first of them.
_CHATTER = re.compile(
    rb"(WARNING: All log messages before absl|I\d{4} |To enable the following)"
)
# The classes that a saved model may name, and their modules.
SERIALIZABLE = {
    "AdamW": "training.optimization",
    "AdaptedBackbone": "backbones.adapter",
    "AsymmetricLoss": "pretrain.losses",
    "Classifier": "transfer.heads.classification",
    "Conv2D": "layers.convolution",
    "DeepLabASPP": "transfer.heads.deeplab_aspp",
    "DeepLabV3Plus": "transfer.heads.deeplab_v3_plus",
    "Doubled": "transfer.heads.faster_rcnn.pyramid",
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
    "Resample": "transfer.heads.upsampling",
    "ResNet": "backbones.resnet",
    "RetinaNet": "transfer.heads.retinanet",
    "ShardedDense": "layers.sharded_dense",
    "SmoothedCrossentropy": "transfer.heads.classification",
    "SoftmaxLoss": "pretrain.losses",
    "SubsampledCrossentropy": "transfer.heads.mask_losses",
    "TF1RMSprop": "training.optimization",
    "Thumbnail": "evaluation.duplicates.embedding",
    "UpsampledCrossentropy": "transfer.heads.mask_losses",
    "YOLOV8": "transfer.heads.yolo_v8",
}


def prepare():
    """Prepare for Keras, and for TensorFlow where it is the backend.

    Unless TensorFlow is imported already, sets these variables where the user
    has not:

    - `TF_ENABLE_ONEDNN_OPTS=1`, on x86: on a CPU with AVX2 but without newer
      instructions, TensorFlow leaves oneDNN off and takes up to twice as long.
    - `TF_CPP_MIN_LOG_LEVEL=2`, which shows errors only. Lines of level INFO
      that TensorFlow writes before it reads that variable are suppressed,
      unless the level is 0.

    When Keras is imported, or at once if it has been, the classes of
    `SERIALIZABLE` are registered, so that `keras.saving.load_model` finds them.
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


def on_demand(package):
    """Return functions that make a package import names on first use.

    They are the names that its `__init__` imports for type checkers alone, so
    that each is written once:

        if typing.TYPE_CHECKING:
            from keras_jft.backbones import ResNet
        else:
            __getattr__, __dir__ = startup.on_demand(__name__)

    Args:
        package: The `__name__` of the package.

    Returns:
        The functions `__getattr__` and `__dir__` of the package (PEP 562).
    """
    module = sys.modules[package]
    source = _imports_for_checkers(module.__loader__.get_source(package))

    def getattr_(name):
        if name not in source:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}"
            )
        if source[name] == package:  # A module of the package itself.
            return importlib.import_module(f"{package}.{name}")
        found = getattr(importlib.import_module(source[name]), name)
        setattr(module, name, found)
        return found

    def dir_():
        return sorted({*vars(module), *source})

    return getattr_, dir_


def _imports_for_checkers(code):
    """Return `{name: module}` of what is imported `if typing.TYPE_CHECKING`."""
    return {
        alias.name: imported.module
        for block in ast.parse(code).body
        if isinstance(block, ast.If)
        and ast.unparse(block.test) == "typing.TYPE_CHECKING"
        for imported in block.body
        for alias in imported.names
    }


class _AtImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module without its chatter, once, then calls a function."""

    def __init__(self, name, then=lambda: None):
        self.name = name
        self.then = then
        self.is_asking = False

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.name or self.is_asking:
            return None
        self.is_asking = True  # The other finders.
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.is_asking = False
        if spec is None:
            return None
        self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        # From here on the module looks as if imported without this hook.
        module.__spec__.loader = module.__loader__ = self.loader
        with _without_chatter(), _without_collections():
            self.loader.exec_module(module)
        # Not before: a spec may be asked for, or an import fail, without one.
        sys.meta_path.remove(self)
        self.then()


class _Later:
    """Stands in for a class in Keras's registry until it is used."""

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
    """Return this CPU's instruction sets as Linux names them; may be empty."""
    try:
        text = pathlib.Path(CPUINFO).read_text(encoding="utf-8")
    except OSError:
        return set()
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return set(flags[1].split()) if flags else set()


def _say_if_too_late():
    flags = cpu_flags()
    gains = "avx2" in flags and flags.isdisjoint(_WITH_ONEDNN)
    if gains and "TF_ENABLE_ONEDNN_OPTS" not in os.environ:
        logging.getLogger("keras_jft").warning(
            "TensorFlow was imported before keras_jft, and left oneDNN off on "
            "this CPU: training may take twice as long. Import keras_jft "
            "first, or set TF_ENABLE_ONEDNN_OPTS=1."
        )


@contextlib.contextmanager
def _without_collections():
    """Look for no garbage meanwhile: what an import makes is there to stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _without_chatter():
    """Hold standard error back, then pass it on without lines of `_CHATTER`.

    It is passed on at the end, even after an exception.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
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
            lines = [line for line in held if not _CHATTER.match(line)]
            os.write(2, b"".join(lines))
