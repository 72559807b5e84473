"""Checks of arguments and configs, with errors worded the same everywhere."""

import contextlib
import dataclasses
import gc
import inspect
import math
import numbers
import os
import pathlib
import signal
import sys
import threading
import types
import typing
from collections.abc import Mapping

import numpy as np


def one_of(argument, value, allowed):
    """Raise `ValueError` unless `value` is one of `allowed`.

    Args:
        argument: Name of the argument, for the message.
        value: What was passed.
        allowed: A collection of the allowed values.
    """
    # Not `in`: a list passed by mistake cannot be looked up in a dict.
    if not any(value is name or value == name for name in allowed):
        raise ValueError(
            f"`{argument}` must be one of {list(allowed)}. Received: {value!r}."
        )


def within(config, low, high=math.inf, *names, above=False):
    """Raise `ValueError` unless fields of a config are in a range.

    Args:
        config: A dataclass. A field that is None passes.
        low: The lowest value.
        high: The highest value.
        *names: Names of the fields to check.
        above: Whether `low` itself is too low.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None:
            _in_range(name, value, low, high, above)


def number(argument, value, low, high=math.inf, *, above=False, whole=False):
    """Raise `ValueError` unless a value is a finite number in a range.

    Args:
        argument: Name of the argument, for the message.
        value: What was passed.
        low: The lowest value.
        high: The highest value.
        above: Whether `low` itself is too low.
        whole: Whether it must be a whole number.
    """
    kind = int if whole else float
    try:
        _number(kind, value)
    except TypeError:
        raise ValueError(
            f"`{argument}` must be {_WORDS[kind]}. Received: "
            f"{argument}={value!r}."
        ) from None
    _in_range(argument, value, low, high, above)


def fraction(argument, value):
    """Raise `ValueError` unless a value is a number in [0, 1).

    Args:
        argument: Name of the argument, for the message.
        value: What was passed.
    """
    number(argument, value, -math.inf)
    if not 0 <= value < 1:
        raise ValueError(
            f"`{argument}` must lie in [0, 1). Received: {argument}={value}."
        )


def numbers_of(argument, values, low, *, above=False, whole=False):
    """Raise `ValueError` unless values are at least one number in a range.

    Args:
        argument: Name of the argument, for the message.
        values: What was passed.
        low: The lowest value.
        above: Whether `low` itself is too low.
        whole: Whether they must be whole numbers.
    """
    if not isinstance(values, (tuple, list, np.ndarray)) or not len(values):
        raise ValueError(
            f"`{argument}` must be a tuple of one or more numbers. Received: "
            f"{argument}={values!r}."
        )
    for value in values:
        number(argument, value, low, above=above, whole=whole)


def _in_range(argument, value, low, high, above):
    if value <= high and (value > low if above else value >= low):
        return
    least = f"above {low}" if above else f"{low} or more"
    most = "" if high == math.inf else f" and {high} or less"
    raise ValueError(
        f"`{argument}` must be {least}{most}. Received: {argument}={value!r}."
    )


def whole(argument, value, least=-math.inf):
    """Return an argument as `int`.

    Args:
        argument: Name of the argument, for the message.
        value: What was passed: an integer of Python or NumPy, or 3.0.
        least: The lowest value.

    Raises:
        ValueError: It is not a whole number, or below `least`.

    Example:
        >>> whole("size", 3.0)
        3
        >>> whole("size", 0.5, least=1)
        Traceback (most recent call last):
        ValueError: `size` must be a whole number of 1 or more. Received: 0.5.
    """
    with contextlib.suppress(TypeError):
        number = _number(int, value)
        if number >= least:
            return number
    more = "" if least == -math.inf else f" of {least} or more"
    raise ValueError(
        f"`{argument}` must be a whole number{more}. Received: {value!r}."
    )


def keywords(argument, given, function, taken=()):
    """Raise `ValueError` unless a function takes all given keywords.

    Args:
        argument: Name of the argument that holds the keywords, for the message.
        given: A mapping by keyword.
        function: The function or class that is to take them.
        taken: Keywords of `function` that are passed in another way.
    """
    known = [
        # `**kwargs` go to `keras.Model`, which takes `trainable`.
        "trainable" if parameter.kind is parameter.VAR_KEYWORD else name
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in taken
    ]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(
            f"`{argument}` must be among {known}. Received: {unknown}."
        )


def fields(config):
    """Raise `ValueError` unless fields hold what their annotations say.

    Equal values are also given equal types, so that equal configs have the
    same text and key: whole numbers become `int`, even 3.0 where `int` is
    annotated; other numbers `float`, np.float32(0.03) like 0.03; NumPy's
    booleans `bool`; lists tuples.

    Args:
        config: A frozen dataclass.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     blocks: tuple[int, ...]
        ...     seed: int = 0
        >>> config = Config([1, np.int64(2)])
        >>> fields(config)
        >>> config
        Config(blocks=(1, 2), seed=0)
        >>> fields(Config((), seed="10"))
        Traceback (most recent call last):
        ValueError: `seed` must be a whole number. Received: seed='10'.
    """
    kinds = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        try:
            alike = _as(kinds[field.name], value)
        except TypeError:
            raise ValueError(
                f"`{field.name}` must be {_said(kinds[field.name])}. Received: "
                f"{field.name}={value!r}."
            ) from None
        object.__setattr__(config, field.name, alike)


def _as(kind, value):
    """Return `value` as annotated; raise `TypeError` otherwise."""
    if isinstance(kind, types.UnionType):
        for one in typing.get_args(kind):
            try:
                return _as(one, value)
            except TypeError:
                continue
        raise TypeError
    base, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    if kind is typing.Any:
        return plain_number(value)
    if base is tuple:
        return _tuple(inner, value)
    if base in (int, float):
        return _number(base, value)
    if base is bool and isinstance(value, np.bool):
        return bool(value)
    if base is Mapping:
        if not isinstance(value, Mapping):
            raise TypeError
        return {_as(inner[0], k): _as(inner[1], v) for k, v in value.items()}
    if not isinstance(value, base):
        raise TypeError
    return value


def _number(base, value):
    if isinstance(value, (bool, np.bool)) or not isinstance(
        value, numbers.Real
    ):
        raise TypeError
    # A pandas column with a gap holds whole numbers as floats, such as 300.0.
    if not math.isfinite(value) or (base is int and value != int(value)):
        raise TypeError
    return base(plain_number(value))


def plain_number(value):
    """Return a number of NumPy as the Python number that it prints as.

    Whoever writes `np.float32(0.03)` means 0.03, not the nearest float32, which
    is 0.029999999329447746. Any other value is returned as it is.

    >>> plain_number(np.float32(0.03)), plain_number(np.int64(3))
    (0.03, 3)
    """
    if isinstance(value, np.floating):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value


def _tuple(inner, value):
    if isinstance(value, (str, bytes)) or not isinstance(
        value, (tuple, list, np.ndarray)
    ):
        raise TypeError
    if not inner:
        return tuple(value)
    if inner[-1] is ...:
        inner = inner[:1] * len(value)
    if len(inner) != len(value):
        raise TypeError
    return tuple(map(_as, inner, value))


_WORDS = {
    int: "a whole number",
    float: "a finite number",
    str: "a string",
    bool: "True or False",
    tuple: "a tuple",
    types.NoneType: "None",
}


def _said(kind):
    """Return an annotation in words."""
    if isinstance(kind, types.UnionType):
        return " or ".join(map(_said, typing.get_args(kind)))
    base, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    if base is tuple and inner:
        if inner[-1] is ...:
            return f"a tuple, each item {_said(inner[0])}"
        return f"a tuple of {len(inner)}, each item {_said(inner[0])}"
    if base is Mapping:
        return "a mapping by name" + (
            f", each {_said(inner[1])}" if inner[1] in _WORDS else ""
        )
    return _WORDS.get(base, f"a {base.__module__}.{base.__qualname__}")


def not_hdf5(filepath):
    """Raise `ValueError` for an HDF5 file, from which no model can be loaded.

    Args:
        filepath: Where a whole model is to be saved.
    """
    if str(filepath).endswith((".h5", ".hdf5")):
        raise ValueError(
            "A model of a registered class is saved as `.keras`: Keras cannot "
            f"load it from HDF5. Received: filepath={filepath}. To save the "
            "weights alone, use `save_weights`, which writes `.weights.h5`."
        )


def _is_multi_hot(labels, num_classes):
    """Return whether supposed rows of label ids are multi-hot targets.

    Zeros and ones are multi-hot if a row repeats a value, since rows of ids
    have no reason to name a label twice. With more than two classes every such
    row does.

    Args:
        labels: `(B, L)` integers, NumPy.
        num_classes: Number of classes.
    """
    if np.ndim(labels) != 2 or labels.shape[1] != num_classes:
        return False
    if num_classes < 2 or not labels.size:
        return False
    return bool(
        np.isin(labels, (0, 1)).all()
        # Among three or more zeros and ones, two are equal.
        and (num_classes > 2 or (labels[:, 0] == labels[:, 1]).any())
    )


def label_ids(labels, num_classes=None):
    """Raise `ValueError` unless NumPy labels are padded label ids.

    Args:
        labels: `(B,)` or `(B, L)`.
        num_classes: Number of classes; None if it is not known.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise ValueError(
            "Labels must be integers: ids, (batch, labels), padded with -1. "
            f"Received {labels.dtype} of shape {labels.shape}. If they are "
            "multi-hot targets: `jft.data.label_ids(Y)` gives their ids."
        )
    if num_classes is not None and _is_multi_hot(labels, num_classes):
        raise ValueError(
            "Labels must be label ids, (batch, labels), padded with -1. "
            f"Received rows of {num_classes} zeros and ones, one per class: "
            "multi-hot targets. `jft.data.label_ids(Y)` gives their ids."
        )


INTERRUPTED = 130  # The status of a process that Ctrl-C ended.
STOPPED = (
    "Files that were written are whole. The same command goes on from the last "
    "checkpoint, if there is one, or begins again."
)


@contextlib.contextmanager
def on_command_line(program=None, told=str, stopped=STOPPED):
    """End a script with a one-line message if its user made a mistake.

    `OSError`, `ValueError` and `ImportError` are printed as `argparse` prints
    its own errors, without a traceback, and end the script with code 2. Ctrl-C
    ends it with code 130 and a line on how to go on. All others propagate.

    Args:
        program: What the message begins with; by default the script's name.
        told: A function from a message to the one that is printed, such as one
            that names options in place of arguments.
        stopped: What is safe after Ctrl-C, and how to go on.
    """
    try:
        with _ctrl_c_again():
            yield
    except KeyboardInterrupt:
        program = program or pathlib.Path(sys.argv[0]).name
        print(f"\n{program}: stopped. {stopped}", file=sys.stderr)
        # Else Python looks through all of TensorFlow when it ends, for seconds.
        gc.freeze()
        raise SystemExit(INTERRUPTED) from None
    except (OSError, ValueError, ImportError) as error:
        notes = getattr(error, "__notes__", ())
        text = told(" ".join(map(str, (error, *notes))))
        program = program or pathlib.Path(sys.argv[0]).name
        print(f"{program}: error: {text}", file=sys.stderr)
        raise SystemExit(2) from None


@contextlib.contextmanager
def _ctrl_c_again():
    """Press Ctrl-C again for the user where Python has dropped it.

    Python drops what is raised in a callback of `weakref` or in `__del__`, of
    which TensorFlow runs many.
    """
    before = sys.unraisablehook

    def hook(dropped):
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            # A moment later, as it would be dropped in here as well.
            press = os.kill, (os.getpid(), signal.SIGINT)
            threading.Timer(0.01, *press).start()
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
