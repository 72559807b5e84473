"""Encode objects as bytes; decode without running code that the bytes name.

A worker cannot know who sent it bytes: anyone that can reach its port can send
them. With `pickle`, the sender could call any function with any arguments. The
bytes here only describe what an object contains:

    8 bytes   `MAGIC`
    8 bytes   length of the header, little endian
    header    JSON in ASCII: the object as a tree
    contents  of all arrays and byte strings, in the order of the tree

In the tree, `null`, booleans, numbers and strings stand for themselves.
Everything else is a list whose first item is its kind:

    ["list", item, ...]   ["tuple", item, ...]    ["set", item, ...]
    ["frozenset", item, ...]                      ["dict", [key, value], ...]
    ["range", start, stop, step]                  ["path", text]
    ["bytes", length]     ["array", dtype, shape] ["scalar", dtype]
    ["objects", shape, item, ...]    an array of Python objects
    ["name", name]                   a function or a class
    ["partial", function, args, keywords]         of `functools`
    ["getter", thing]                the method `thing.__getitem__`
    ["object", name, state]          an instance, with its `__getstate__()`
    ["again", number]                an earlier object, counted from 0

A name is `module:name`. It must belong to `keras_jft.data`, to the script
(`__main__`), or to something marked as `sendable`. No other module is imported,
and the only function that decoding calls is `__setstate__` of such a class.
"""

import builtins
import functools
import importlib
import json
import math
import pathlib
import sys
import types
from collections.abc import Callable
from typing import TypeVar

import numpy as np

MAGIC = b"kjft-1\r\n"
T = TypeVar("T", bound=Callable)
_DATA = f"{__name__.partition('.')[0]}.data"
_DTYPES = "biufcSUmM"  # Kinds of NumPy dtypes: numbers, strings, times.
_BUILTINS = (bool, int, float, str, bytes)  # Types that may be sent by name.
_SENDABLE: dict = {}


def sendable(thing: T) -> T:
    """Allow a class or a function to be part of the data sent to workers.

    Workers look it up by name, so its module must be imported before
    `strategy("parameter_server")` is called. Classes and functions of
    `keras_jft.data` and of the script itself need no mark.

    Args:
        thing: A function, or a class whose state is its `__dict__` (or what
            its `__getstate__` returns and its `__setstate__` takes), at the top
            level of a module.

    Returns:
        `thing`.

    Raises:
        ValueError: It is defined inside a function.

    Example:

    >>> @keras_jft.training.sendable
    ... def negative(example, rng):
    ...     return {**example, "images": 255 - example["images"]}
    """
    if "<" in thing.__qualname__:
        raise ValueError(
            "`sendable` marks what is defined at the top level of a module. "
            f"Received: {thing.__qualname__}."
        )
    _SENDABLE[f"{thing.__module__}:{thing.__qualname__}"] = thing
    return thing


def encode(thing):
    """Return an object as bytes.

    Args:
        thing: An object of the kinds listed at the top of this module.

    Returns:
        Bytes, which `decode` reads.

    Raises:
        ValueError: It contains something else; the message says where.

    Example:

    >>> from keras_jft.training import encoding
    >>> encoding.decode(encoding.encode({"ids": (1, "b")}))
    {'ids': (1, 'b')}
    """
    encoder = _Encoder()
    header = json.dumps(encoder.tree(thing, "the object")).encode("ascii")
    size = len(header).to_bytes(8, "little")
    return b"".join([MAGIC, size, header, *encoder.parts])


def decode(encoded):
    """Return the object that `encode` encoded.

    Args:
        encoded: Bytes, which need not be trusted.

    Returns:
        A new object. Its arrays are copies and writable.

    Raises:
        ValueError: The bytes do not encode an object, or they name a class or
            function that this process does not have.
    """
    header, start = _header(encoded)
    decoder = _Decoder(encoded, start)
    try:
        thing = decoder.thing(json.loads(header))
    except Exception as error:  # `__setstate__` may raise anything.
        raise ValueError(
            f"{len(encoded)} bytes do not encode an object. "
            f"{type(error).__name__}: {error}"
        ) from error
    if decoder.place != len(encoded):
        raise ValueError(
            "An encoded object must end after its last array. Received "
            f"{len(encoded) - decoder.place} more bytes."
        )
    return thing


def _header(encoded):
    start = len(MAGIC) + 8
    size = int.from_bytes(encoded[len(MAGIC) : start], "little")
    if not encoded.startswith(MAGIC) or size > len(encoded) - start:
        raise ValueError(
            "An encoded object must begin with its header. Received "
            f"{len(encoded)} bytes that begin with {encoded[:16]!r}. Chief and "
            "workers must run the same version of keras_jft."
        )
    return encoded[start : start + size], start + size


# === Names ===


def _named(name):
    """Return the class or function of a name; None if it is not allowed."""
    module, _, path = name.partition(":")
    if module == "builtins":
        thing = getattr(builtins, path, None)
        return thing if thing in _BUILTINS else None
    if module == "__main__":
        thing = sys.modules[module]
    elif f"{module}.".startswith(f"{_DATA}."):
        try:
            thing = importlib.import_module(module)
        except ImportError:
            return None
    else:
        return _SENDABLE.get(name)
    for part in path.split("."):
        thing = getattr(thing, part, None)
    # Only what the module itself defines: `__main__` may have imported `exec`.
    if not isinstance(thing, (type, types.FunctionType)):
        return None
    own = (thing.__module__, thing.__qualname__) == (module, path)
    return thing if own else None


# === To bytes ===


class _Encoder:
    """Makes the tree; contents of arrays and byte strings go to `parts`."""

    def __init__(self):
        self.parts = []
        # Objects are kept alive, so that Python does not use their ids again.
        self._numbers, self._kept = {}, []

    def tree(self, thing, where):
        """Return the tree of `thing`.

        Args:
            thing: What to encode.
            where: What errors call the place of `thing`.
        """
        kind = type(thing)
        if thing is None or kind in (bool, int, float, str):
            return thing
        if isinstance(thing, (type, types.FunctionType)):
            return ["name", _name_of(thing, thing, where)]
        if kind is range:
            return ["range", thing.start, thing.stop, thing.step]
        if isinstance(thing, pathlib.PurePath):
            return ["path", str(thing)]
        if id(thing) in self._numbers:
            return ["again", self._numbers[id(thing)]]
        self._numbers[id(thing)] = len(self._kept)
        self._kept.append(thing)
        if kind in (list, tuple, set, frozenset):
            inside = f"a {kind.__name__} in {where}"
            return [kind.__name__, *(self.tree(x, inside) for x in thing)]
        if kind is dict:
            return ["dict", *self._items(thing, where)]
        if kind is bytes:
            self.parts.append(thing)
            return ["bytes", len(thing)]
        if isinstance(thing, (np.ndarray, np.generic)):
            return self._array(thing, where)
        if kind is functools.partial:
            parts = (thing.func, thing.args, thing.keywords)
            return ["partial", *(self.tree(x, where) for x in parts)]
        if getattr(thing, "__name__", "") == "__getitem__":
            return ["getter", self.tree(thing.__self__, where)]
        return self._object(thing, where)

    def _items(self, thing, where):
        for key, value in thing.items():
            inside = f"{key!r:.40} of {where}"
            yield [self.tree(key, inside), self.tree(value, inside)]

    def _array(self, array, where):
        dtype, shape = array.dtype, list(array.shape)
        if dtype.kind == "O":
            items = array.ravel().tolist()
            return ["objects", shape, *(self.tree(x, where) for x in items)]
        if dtype.kind not in _DTYPES or not dtype.itemsize:
            raise ValueError(
                "Arrays for workers must contain numbers or text. Received: an "
                f"array of {dtype} in {where}."
            )
        flat = np.ascontiguousarray(array).reshape(-1)
        self.parts.append(flat.view("uint8"))  # A view: `join` copies it.
        if isinstance(array, np.generic):
            return ["scalar", dtype.str]
        return ["array", dtype.str, shape]

    def _object(self, thing, where):
        kind = type(thing)
        name = _name_of(kind, thing, where)
        # A class that customizes pickling may need calls to be made again.
        plain = all(
            getattr(kind, method) is getattr(object, method)
            for method in ("__reduce__", "__reduce_ex__", "__new__")
        )
        state = thing.__getstate__() if plain else ()
        if not hasattr(kind, "__setstate__"):
            plain = plain and (state is None or type(state) is dict)
        if not plain:
            raise ValueError(
                "The state of an object for workers must be its `__dict__`, or "
                "what its `__getstate__` returns and its `__setstate__` takes. "
                f"Received: a {kind.__qualname__} in {where}."
            )
        return ["object", name, self.tree(state, f"{kind.__name__} in {where}")]


def _name_of(thing, value, where):
    """Return the name of a class or function that `value` is or uses."""
    name = f"{thing.__module__}:{thing.__qualname__}"
    if _named(name) is not thing:
        raise ValueError(
            "Data for workers may use classes and functions of "
            "`keras_jft.data`, those at the top level of the script, and those "
            "marked by `@jft.training.sendable` in a module that the script "
            f"imports; not `lambda`. Received: {value!r:.200} in {where}."
        )
    return name


# === From bytes ===


class _Decoder:
    """Reads a tree; `place` is where the contents not yet read begin."""

    def __init__(self, encoded, place):
        self._encoded, self.place = encoded, place
        self._read = []

    def thing(self, tree):
        """Return the object that `tree` describes."""
        if not isinstance(tree, list):
            if isinstance(tree, dict):
                raise ValueError(f"Received a JSON object: {tree!r:.80}.")
            return tree
        kind, *items = tree or [None]
        if kind not in self._KINDS:
            raise ValueError(f"Received an unknown kind: {kind!r:.80}.")
        return self._KINDS[kind](self, *items)

    def _things(self, trees):
        return [self.thing(tree) for tree in trees]

    def _number(self):
        """Number an object before its parts, as the encoder does.

        `["again", number]` inside of it can then refer to it.
        """
        self._read.append(_Unread)
        return len(self._read) - 1

    def _made(self, number, thing):
        self._read[number] = thing
        return thing

    def _again(self, number):
        if not 0 <= number < len(self._read) or self._read[number] is _Unread:
            raise ValueError(f"Received a reference to nothing: {number!r}.")
        return self._read[number]

    def _list(self, *trees):
        made = self._made(self._number(), [])
        made.extend(self._things(trees))
        return made

    def _dict(self, *pairs):
        made = self._made(self._number(), {})
        for key, value in pairs:
            key = self.thing(key)
            made[key] = self.thing(value)
        return made

    def _tuple(self, *trees):
        return self._whole(tuple, trees)

    def _set(self, *trees):
        return self._whole(set, trees)

    def _frozenset(self, *trees):
        return self._whole(frozenset, trees)

    def _whole(self, kind, trees):
        number = self._number()
        return self._made(number, kind(self._things(trees)))

    def _range(self, *numbers):
        return range(*numbers)

    def _path(self, text):
        return pathlib.Path(text)

    def _bytes(self, size):
        return self._made(self._number(), bytes(self._next(size)))

    def _next(self, size):
        left = len(self._encoded) - self.place
        if not isinstance(size, int) or not 0 <= size <= left:
            raise ValueError(f"Received {left} bytes where {size} must follow.")
        self.place += size
        return memoryview(self._encoded)[self.place - size : self.place]

    def _array(self, dtype, shape):
        number, dtype = self._number(), np.dtype(dtype)
        if dtype.kind not in _DTYPES or not dtype.itemsize:
            raise ValueError(f"Received an array of {dtype}.")
        count = _count(shape)
        part = self._next(count * dtype.itemsize)
        array = np.frombuffer(part, dtype) if count else np.empty(0, dtype)
        return self._made(number, array.reshape(shape).copy())

    def _scalar(self, dtype):
        number = len(self._read)
        return self._made(number, self._array(dtype, [])[()])

    def _objects(self, shape, *trees):
        number = self._number()
        if _count(shape) != len(trees):
            raise ValueError(f"Received {len(trees)} items for {shape}.")
        array = np.empty(len(trees), object)
        for place, tree in enumerate(trees):
            array[place] = self.thing(tree)
        return self._made(number, array.reshape(shape))

    def _name(self, name):
        thing = _named(name)
        if thing is None:
            raise ValueError(
                "A worker must have imported the classes and functions of its "
                f"data when it calls `strategy(...)`. Received: {name!r:.200}, "
                "which it does not have, or which may not be sent."
            )
        return thing

    def _getter(self, tree):
        number = self._number()
        return self._made(number, self.thing(tree).__getitem__)

    def _partial(self, function, arguments, keywords):
        number = self._number()
        parts = self._things([function, arguments, keywords])
        if not isinstance(parts[0], (type, types.FunctionType)):
            raise ValueError(f"Received a partial of {parts[0]!r:.80}.")
        made = functools.partial(parts[0], *parts[1], **parts[2])
        return self._made(number, made)

    def _object(self, name, state):
        kind = self._name(name)
        made = self._made(self._number(), object.__new__(kind))
        state = self.thing(state)
        if hasattr(kind, "__setstate__"):
            made.__setstate__(state)
        elif state is not None:
            vars(made).update(state)
        return made

    _KINDS = {
        "list": _list,
        "tuple": _tuple,
        "set": _set,
        "frozenset": _frozenset,
        "dict": _dict,
        "range": _range,
        "path": _path,
        "bytes": _bytes,
        "array": _array,
        "scalar": _scalar,
        "objects": _objects,
        "name": _name,
        "partial": _partial,
        "getter": _getter,
        "object": _object,
        "again": _again,
    }


class _Unread:
    """Stands for an object whose parts are still being read."""


def _count(shape):
    sizes = all(type(size) is int and size >= 0 for size in shape)
    if not isinstance(shape, list) or not sizes:
        raise ValueError(f"Received a shape of {shape!r:.80}.")
    return math.prod(shape)
