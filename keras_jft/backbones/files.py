"""Save backbones to files, and load files without trusting their author.

A file holds arrays and one JSON object: the name of a class in `BACKBONES` and
its constructor's arguments. Nothing else is read, so nothing else can run: a
file has no Lambda layer, no pickle and no path in it. The layers of an adapted
net are those that `nets.py` lists.
"""

import collections
import contextlib
import inspect
import math
import re
from typing import Any

import numpy as np
from keras import ops

from keras_jft import backbones
from keras_jft.backbones import nets
from keras_jft.backbones.backbone import Backbone
from keras_jft.layers import BATCH_NORMALIZATION_MODES
from keras_jft.layers.image_scaling import check_scaling
from keras_jft.training import keras_internals
from keras_jft.training.checkpoints import archive, state
from keras_jft.training.checkpoints.load_weights import load_all_weights
from keras_jft.typing import PathLike

_KIND = "a backbone of keras_jft"
_LARGEST_SIDE = 1 << 16  # Pixels of an image.
_LARGEST_NUMBER = 1 << 13  # In a net, whatever the sizes of its arrays.
_LONGEST_NAME = 200
_DTYPE = re.compile(r"(mixed_)?(b?float16|float32|float64)")


def save(backbone: Backbone, path: PathLike) -> None:
    """Write a backbone to one file, whole or not at all.

    Args:
        backbone: An instance of a class in `BACKBONES`.
        path: The file; its name ends with `.npz`.

    Raises:
        ValueError: If the class is not in `BACKBONES`, or `path` does not end
            with `.npz`.
        OSError: If the file could not be written; a file that was there
            before is still there.
    """
    table = backbones.BACKBONES
    names = [name for name, cls in table.items() if type(backbone) is cls]
    if not names or not str(path).endswith(".npz"):
        raise ValueError(
            f"`backbone` must be one of {sorted(table)}, and `path` must end "
            f"with `.npz`. Received: {type(backbone).__name__}, `{path}`."
        )
    arrays = {
        name: np.array(ops.convert_to_numpy(variable))
        for name, variable in state.named("model", backbone.weights).items()
    }
    config = {**backbone.get_config(), "dtype": backbone.dtype_policy.name}
    about = {"kind": _KIND, "backbone": names[0], "config": config}
    archive.write(path, arrays, about)


def load(path: PathLike, **changes: Any) -> Backbone:
    """Return the backbone in a file, without running any code from it.

    Args:
        path: A file that `save` wrote, or a checkpoint of a model with a
            `backbone`, such as `run/best.npz` of a `MultiLabelClassifier`.
        **changes: Arguments to change that do not affect the weights, such as
            `image_shape`, `output_stride`, `dtype`.

    Returns:
        A backbone with the weights from the file.

    Raises:
        ValueError: If the file is of another kind or damaged, names a class
            that is not in `BACKBONES`, holds arguments that are not plain
            values for its constructor, or weights that do not fit them.

    Example:

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "backbone.npz"
    >>> save(jft.ResNet((1, 1, 1, 1), width=8), path)
    >>> load(path, output_stride=16).output_stride
    16
    """
    if str(path).endswith(".keras"):
        raise ValueError(
            f"`{path}` was written by `save` of a model: load it by "
            "`keras.saving.load_model`, and take the `backbone` of what it "
            "returns. Expected a file of `jft.backbones.save` or a checkpoint."
        )
    arrays, about = archive.read(path)
    name, config = _described(path, about)
    if not isinstance(name, str) or name not in backbones.BACKBONES:
        raise ValueError(
            f"`{path}` names the backbone {name!r}. Expected one of "
            f"{sorted(backbones.BACKBONES)}. Nothing was loaded."
        )
    cls = backbones.BACKBONES[name]
    if cls is backbones.AdaptedBackbone:
        is_whole = about.get("kind") != _KIND
        return _adapted(path, config, arrays, is_whole, changes)
    _check(path, config, cls, arrays)
    with _naming(path, cls):
        backbone = cls.from_config({**config, **changes})
    table = load_all_weights(backbone, path)
    if about.get("kind") == _KIND and table.only_in_file:
        raise ValueError(
            f"`{path}` holds weights that its backbone does not have: "
            f"{table.only_in_file[:5]}. Do not trust it."
        )
    return backbone


@contextlib.contextmanager
def _naming(path, cls):
    """Say in which file the arguments are that a class does not take."""
    try:
        yield
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(
            f"`{path}` holds arguments that {cls.__name__} does not take: "
            f"{error} Nothing was loaded."
        ) from error


# === Adapted nets ===


def _adapted(path, config, arrays, is_whole, changes):
    """Return an adapted net with the weights of a file, then changed.

    Args:
        path: The file.
        config: Arguments of the net, as the file has them.
        arrays: Weights of the net, or of a whole model.
        is_whole: Whether they are of a whole model, which has others too.
        changes: Arguments to change.
    """
    cls = backbones.AdaptedBackbone
    problems = list(_wrong_settings(config, arrays))
    if problems:
        raise ValueError(
            f"The arguments for {cls.__name__} in `{path}` are refused: "
            f"{'; '.join(problems)}. Nothing was loaded. Do not trust it."
        )
    with _naming(path, cls):
        # Before there is memory for what may be of any size.
        shapes = keras_internals.shapes_of_weights(
            lambda: cls.from_config(config)
        )
        largest = sum(map(math.prod, shapes))
        if largest > sum(array.size for array in arrays.values()):
            raise ValueError(
                f"its net has {largest:,} weights, more than the file"
            )
        backbone = cls.from_config(config)
        variables = backbone.weights
        values, others = _in_order(variables, arrays)
        if others and not is_whole:
            raise ValueError(f"the file holds other weights: {others[:5]}.")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return backbone.rebuild(**changes) if changes else backbone


def _in_order(variables, arrays):
    """Return the arrays of variables, and the names of all others.

    Each variable has the first array that is left of its name.

    Layers inside of others may share a name, and Keras numbers those that have
    none in each process anew; their order is the same.
    """
    left = collections.defaultdict(collections.deque)
    for name, array in arrays.items():
        left[state.unnumbered(name.rstrip("+"))].append((name, array))
    values = []
    for variable in variables:
        queue = left[state.unnumbered(f"model/{variable.path}")]
        if not queue:
            raise ValueError(f"{variable.path!r} is not in the file.")
        _, array = queue.popleft()
        values.append(_fitting(variable, array))
    return values, [name for queue in left.values() for name, _ in queue]


def _fitting(variable, array):
    if array.shape != tuple(variable.shape) or array.dtype.kind not in "fV":
        raise ValueError(
            f"{variable.path!r} must be {tuple(variable.shape)}, and is "
            f"{array.dtype} {array.shape}."
        )
    value = array.astype("float32")
    if not np.isfinite(value).all():
        raise ValueError(f"{variable.path!r} has a NaN or an infinity.")
    return value


def _wrong_settings(config, arrays):
    if not isinstance(config, dict):
        yield "they are not an object"
        return
    checks = {
        "net": lambda value: not nets.refusal(value),
        "scaling": _is_scaling,
        "levels": lambda value: value is None or _is_names_by_name(value),
        "fused": lambda value: type(value) is bool,
        "bn_mode": lambda value: value in BATCH_NORMALIZATION_MODES,
        "bn_momentum": lambda value: value is None or _is_like(1.0, value),
        "dtype": lambda value: bool(_DTYPE.fullmatch(str(value))),
        "name": _is_name,
        "frozen": lambda value: (
            isinstance(value, list) and all(type(i) is int for i in value)
        ),
    }
    for name in config.keys() ^ checks.keys():
        yield f"{name!r} is {'unknown' if name in config else 'missing'}"
    for name in config.keys() & checks.keys():
        if not checks[name](config[name]):
            yield f"{name!r} has the value {str(config[name])[:40]!r}"
    # Loops over more blocks than there are arrays would take long.
    largest = max((n for a in arrays.values() for n in a.shape), default=0)
    bound = max(largest, len(arrays), _LARGEST_NUMBER)
    if _largest_number(config.get("net")) > bound:
        yield f"'net' holds a number above {bound}"


def _is_scaling(value):
    try:
        check_scaling(value)
    except ValueError:
        return False
    return True


def _is_names_by_name(value):
    return isinstance(value, dict) and all(map(_is_name, value.values()))


def _largest_number(value):
    """Return the largest number in nested data, except for seeds."""
    if isinstance(value, dict):
        value = [value[key] for key in value if key != "seed"]
    if isinstance(value, list):
        return max(map(_largest_number, value), default=0)
    return value if type(value) in (int, float) else 0


# === Classes of one architecture ===


def _described(path, about):
    """Return the class name and its arguments as the file has them."""
    if about.get("kind") == _KIND:
        return about.get("backbone"), about.get("config")
    inside = about.get("model")
    inside = inside.get("backbone") if isinstance(inside, dict) else None
    if not isinstance(inside, dict):
        raise ValueError(
            f"`{path}` holds no backbone. Expected a file that "
            "`jft.backbones.save` wrote, or a checkpoint of a model with a "
            "backbone. `jft.training.load_weights` reads the weights of other "
            "files."
        )
    names = {cls.__name__: name for name, cls in backbones.BACKBONES.items()}
    found, config = inside.get("class_name"), inside.get("config")
    if isinstance(config, dict) and isinstance(config.get("dtype"), dict):
        policy = config["dtype"].get("config")
        dtype = policy.get("name") if isinstance(policy, dict) else None
        config = {**config, "dtype": dtype}
    return names.get(found, found) if isinstance(found, str) else found, config


def _check(path, config, cls, arrays):
    """Raise unless `config` holds plain arguments of `cls` for `arrays`."""
    problems = list(_wrong_arguments(config, cls))
    if not problems:
        problems = list(_wrong_kernels(config, cls, arrays))
    if problems:
        raise ValueError(
            f"The arguments for {cls.__name__} in `{path}` are refused: "
            f"{'; '.join(problems)}. Nothing was loaded. Do not trust it."
        )


def _wrong_arguments(config, cls):
    if not isinstance(config, dict):
        yield "they are not an object"
        return
    parameters = dict(inspect.signature(cls.__init__).parameters)
    parameters.pop("self")
    for name, value in config.items():
        if name in ("blocks", "frozen", "image_shape"):
            kind = {"blocks": _counts, "frozen": _names, "image_shape": _shape}
            right = kind[name](value)
        elif name == "dtype":
            right = bool(_DTYPE.fullmatch(str(value)))
        elif name not in parameters:
            yield f"{name!r} is unknown"
            continue
        else:
            right = _is_like(parameters[name].default, value)
        if not right:
            yield f"{name!r} has the value {str(value)[:40]!r}"
    missing = {"blocks", "dtype"} - set(config)
    if missing:
        yield f"{sorted(missing)} are missing"


def _wrong_kernels(config, cls, arrays):
    """Yield a mismatch with the file, before building anything that large."""
    shapes = {
        "/".join(name.split("/")[-2:]): array.shape
        for name, array in arrays.items()
        if name.startswith("model/")
    }
    names = inspect.signature(cls.kernels).parameters
    try:
        kernels = cls.kernels(**{k: config[k] for k in names if k in config})
        for layer, shape in kernels:
            found = shapes.get(f"{layer}/kernel", "not in the file")
            if found != shape:
                yield f"{layer}/kernel must be {shape}, and is {found}"
                return
    except KeyError as error:
        yield f"{error} is unknown"


def _counts(value):
    return isinstance(value, list) and all(
        type(n) is int and n > 0 for n in value
    )


def _names(value):
    return isinstance(value, list) and all(map(_is_name, value))


def _is_name(value):
    return isinstance(value, str) and len(value) <= _LONGEST_NAME


def _shape(value):
    return isinstance(value, list) and all(
        n is None or (type(n) is int and 0 < n <= _LARGEST_SIDE) for n in value
    )


def _is_like(default, value):
    """Return whether `value` is plain and has the type of the default."""
    if default is None:
        return value is None or type(value) is int
    if isinstance(default, float):
        return type(value) in (int, float) and math.isfinite(value)
    if isinstance(default, str):
        return _is_name(value)
    return type(value) is type(default)
