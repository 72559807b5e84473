"""Save backbones to files, and load files without trusting their author.

A file holds arrays and one JSON object: the name of a class in `BACKBONES` and
its constructor's arguments. Nothing else is read, so nothing else can run: a
file has no Lambda layer, no pickle and no path in it.
"""

import inspect
import math
import re
from typing import Any

import numpy as np
from keras import ops

from keras_jft import backbones
from keras_jft.backbones.backbone import Backbone
from keras_jft.training.checkpoints import archive
from keras_jft.training.checkpoints.load_weights import load_all_weights
from keras_jft.typing import PathLike

_KIND = "a backbone of keras_jft"
_LARGEST_SIDE = 1 << 16  # Pixels of an image.
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
        f"model/{variable.path}": np.array(ops.convert_to_numpy(variable))
        for variable in backbone.weights
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
    arrays, about = archive.read(path)
    name, config = _described(path, about)
    if not isinstance(name, str) or name not in backbones.BACKBONES:
        raise ValueError(
            f"`{path}` names the backbone {name!r}. Expected one of "
            f"{sorted(backbones.BACKBONES)}. Nothing was loaded."
        )
    cls = backbones.BACKBONES[name]
    _check(path, config, cls, arrays)
    try:
        backbone = cls.from_config({**config, **changes})
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(
            f"`{path}` holds arguments that {cls.__name__} does not take: "
            f"{error} Nothing was loaded."
        ) from error
    table = load_all_weights(backbone, path)
    if about.get("kind") == _KIND and table.only_in_file:
        raise ValueError(
            f"`{path}` holds weights that its backbone does not have: "
            f"{table.only_in_file[:5]}. Do not trust it."
        )
    return backbone


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
