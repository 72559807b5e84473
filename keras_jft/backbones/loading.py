"""Backbones to files, and back without trust in whoever wrote the file.

A file holds arrays and one JSON object: the name of a class in `BACKBONES` and
its constructor's arguments. Nothing else is read, so nothing else can run:
there is no Lambda, no pickle and no path in it.
"""

import inspect
import re

import numpy as np
from keras import ops

from keras_jft import backbones
from keras_jft.training import archive
from keras_jft.training.weights import load_weights

_KIND = "a backbone of keras_jft"
_DTYPE = re.compile(r"(mixed_)?(b?float16|float32|float64)")


def save(backbone, path):
    """Writes a backbone to one file, whole or not at all.

    Args:
        backbone: An instance of a class in `BACKBONES`.
        path: The file; its name ends with `.npz`.

    Raises:
        ValueError: It is of another class, or `path` of another ending.
        OSError: It could not be written; what was there still is.
    """
    table = backbones.BACKBONES
    names = [name for name, cls in table.items() if type(backbone) is cls]
    if not names or not str(path).endswith(".npz"):
        raise ValueError(
            f"Backbones of {sorted(table)} are saved, to a `.npz` file. "
            f"Received: {type(backbone).__name__}, `{path}`."
        )
    arrays = {
        f"model/{variable.path}": np.array(ops.convert_to_numpy(variable))
        for variable in backbone.weights
    }
    config = {**backbone.get_config(), "dtype": backbone.dtype_policy.name}
    about = {"kind": _KIND, "backbone": names[0], "config": config}
    archive.write(path, arrays, about)


def load(path, **changes):
    """The backbone of a file; executes nothing that the file says.

    Args:
        path: What `save` wrote, or a checkpoint of a model with a `backbone`,
            such as `run/best.npz` of a `MultiLabelClassifier`.
        **changes: Arguments that leave the weights as they are, such as
            `image_shape`, `output_stride`, `dtype`.

    Returns:
        A backbone with the weights of the file.

    Raises:
        ValueError: The file is no such file, is damaged, names another class
            than those of `BACKBONES` or other arguments than plain ones of
            its constructor, or its weights do not fit them.

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
    table = load_weights(backbone, path)
    if table.other_shape or table.only_in_model:
        raise ValueError(
            f"The weights in `{path}` do not fit its configuration:\n{table}"
        )
    return backbone


def _described(path, about):
    """Name of the class and its arguments, from whoever wrote them."""
    if about.get("kind") == _KIND:
        return about.get("backbone"), about.get("config")
    inside = about.get("model")
    inside = inside.get("backbone") if isinstance(inside, dict) else None
    if not isinstance(inside, dict):
        raise ValueError(
            f"`{path}` holds no backbone. Expected a file of "
            "`jft.backbones.save`, or a checkpoint of a model with a backbone. "
            "`jft.training.load_weights` takes weights from other files."
        )
    names = {cls.__name__: name for name, cls in backbones.BACKBONES.items()}
    found, config = inside.get("class_name"), inside.get("config")
    if isinstance(config, dict) and isinstance(config.get("dtype"), dict):
        policy = config["dtype"].get("config")
        dtype = policy.get("name") if isinstance(policy, dict) else None
        config = {**config, "dtype": dtype}
    return names.get(found, found) if isinstance(found, str) else found, config


def _check(path, config, cls, arrays):
    """Raises unless `config` is plain arguments of `cls`, of sane size."""
    known = {*inspect.signature(cls.__init__).parameters, "frozen"} - {"self"}
    problems = []
    if not isinstance(config, dict):
        problems.append("they are no object")
        config = {}
    for name, value in config.items():
        if name not in known:
            problems.append(f"{name!r} is unknown")
        elif not _is_plain(value):
            problems.append(f"{name!r} is no number, text or list of these")
    if not _DTYPE.fullmatch(str(config.get("dtype"))):
        problems.append("'dtype' is no floating-point policy")
    # No more layers, and none wider, than the file has weights for.
    sizes = [len(arrays), *(n for a in arrays.values() for n in a.shape)]
    for name in ("blocks", "width"):
        value = config.get(name, 0)
        numbers = value if isinstance(value, list) else [value]
        if not all(type(n) is int and 0 <= n <= max(sizes) for n in numbers):
            problems.append(f"{name!r} does not go with the weights")
    if problems:
        raise ValueError(
            f"The arguments for {cls.__name__} in `{path}` are refused: "
            f"{'; '.join(problems)}. Nothing was loaded. Do not trust it."
        )


def _is_plain(value):
    if isinstance(value, list):
        return len(value) <= 10_000 and all(
            not isinstance(v, list) and _is_plain(v) for v in value
        )
    return value is None or isinstance(value, (str, int, float))
