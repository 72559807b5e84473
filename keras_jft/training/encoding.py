"""Encode objects as bytes, and decode them without running what they name.

What a worker is sent, anyone who reaches its port could have sent. `pickle`
would call any function that such bytes name, with any arguments; here bytes
only say what an object holds:

    8 bytes   `MAGIC`
    8 bytes   length of the header, little endian
    header    JSON in ASCII: the object as a tree
    the rest  of arrays and of bytes, one after another, in order of the tree

In the tree, `null`, booleans, numbers and texts stand for themselves. All else
is a list that begins with its kind:

    ["list", item, ...]   ["tuple", item, ...]    ["set", item, ...]
    ["frozenset", item, ...]                      ["dict", [key, value], ...]
    ["range", start, stop, step]                  ["path", text]
    ["bytes", length]     ["array", dtype, shape] ["scalar", dtype]
    ["objects", shape, item, ...]    an array of Python objects
    ["name", name]                   a function or a class
    ["partial", function, args, keywords]         of `functools`
    ["getter", thing]                its `__getitem__`
    ["object", name, state]          an instance, its `__getstate__`
    ["again", number]                what came before, counted from 0

A name is `module:name`: of `keras_jft.data`, of the script (`__main__`), or of
what is marked as `sendable`. No other module is imported, and no function is
called but `__setstate__` of a class with such a name.
"""

import builtins
import functools
import importlib
import json
import math
import pathlib
import sys
import types

import numpy as np

MAGIC = b"kjft-1\r\n"
_DATA = f"{__name__.partition('.')[0]}.data"
_DTYPES = "biufcSUmM"  # Their kinds: numbers, texts, times.
_BUILTINS = (bool, int, float, str, bytes)  # Types that are values, by name.
_SENDABLE = {}


def sendable(thing):
    """Let a class or a function be part of what workers are sent.

    Workers find it by its name: its module must be imported before
    `strategy("parameter_server")` is called. What `keras_jft.data` has and what
    the script itself defines need no mark.

    Args:
        thing: A class whose state is its `__dict__` (or what its `__getstate__`
            gives and `__setstate__` takes), or a function; at the top of a
            module.

    Returns:
        `thing`.

    Raises:
        ValueError: It is defined inside of a function.

    Example:

    >>> @keras_jft.training.sendable
    ... def negative(example, rng):
    ...     return {**example, "images": 255 - example["images"]}
    """
    if "<" in thing.__qualname__:
        raise ValueError(
            "`sendable` is for what stands at the top of a module. Received: "
            f"{thing.__qualname__}."
        )
    _SENDABLE[f"{thing.__module__}:{thing.__qualname__}"] = thing
    return thing


def encode(thing):
    """Return an object as bytes.

    Args:
        thing: Of the kinds that the head of this module lists.

    Returns:
        Bytes, which `decode` reads.

    Raises:
        ValueError: It holds something else; the message says where.

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
    """Return the object that `encode` was given.

    Args:
        encoded: Bytes; from anywhere.

    Returns:
        An object of its own: arrays are copies, and can be written to.

    Raises:
        ValueError: These are not the bytes of an object, or they name a class
            or function that this process does not have.
    """
    header, start = _header(encoded)
    decoder = _Decoder(encoded, start)
    try:
        thing = decoder.thing(json.loads(header))
    except Exception as error:  # Also of `__setstate__`, of a state that lies.
        raise ValueError(
            f"{len(encoded)} bytes must be those of an object. "
            f"{type(error).__name__}: {error}"
        ) from error
    if decoder.place != len(encoded):
        raise ValueError(
            "Encoded objects must end with their last array. Received "
            f"{len(encoded) - decoder.place} bytes more."
        )
    return thing


def _header(encoded):
    start = len(MAGIC) + 8
    size = int.from_bytes(encoded[len(MAGIC) : start], "little")
    if not encoded.startswith(MAGIC) or size > len(encoded) - start:
        raise ValueError(
            "Encoded objects must begin with their header. Received "
            f"{len(encoded)} bytes that begin with {encoded[:16]!r}: chief and "
            "workers must run the same version of keras_jft."
        )
    return encoded[start : start + size], start + size


# === Names ===


def _named(name):
    """Return the class or function of a name; None: it may not be named."""
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
    # What a module has imported is not its own: `__main__` may know `exec`.
    if not isinstance(thing, (type, types.FunctionType)):
        return None
    own = (thing.__module__, thing.__qualname__) == (module, path)
    return thing if own else None


# === To bytes ===


class _Encoder:
    """Makes a tree; what it leaves out of the tree is in `parts`."""

    def __init__(self):
        self.parts = []
        self._numbers, self._kept = {}, []  # Kept, so that ids are not reused.

    def tree(self, thing, where):
        """Return what stands for `thing` in the header."""
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
                "Arrays for workers must hold numbers or text. Received: an "
                f"array of {dtype} in {where}."
            )
        flat = np.ascontiguousarray(array).reshape(-1)
        self.parts.append(flat.view("uint8"))  # Copied once, when joined.
        if isinstance(array, np.generic):
            return ["scalar", dtype.str]
        return ["array", dtype.str, shape]

    def _object(self, thing, where):
        kind = type(thing)
        name = _name_of(kind, thing, where)
        plain = all(
            getattr(kind, method) is getattr(object, method)
            for method in ("__reduce__", "__reduce_ex__", "__new__")
        )
        state = thing.__getstate__() if plain else ()
        if not hasattr(kind, "__setstate__"):
            plain = plain and (state is None or type(state) is dict)
        if not plain:
            raise ValueError(
                "Objects for workers must be plain ones: their state is their "
                "`__dict__`, or what `__getstate__` gives and `__setstate__` "
                f"takes. Received: a {kind.__qualname__} in {where}."
            )
        return ["object", name, self.tree(state, f"{kind.__name__} in {where}")]


def _name_of(thing, value, where):
    """Return the name of a class or function, which is part of `value`."""
    name = f"{thing.__module__}:{thing.__qualname__}"
    if _named(name) is not thing:
        raise ValueError(
            "Data for workers must be made of classes and functions of "
            "`keras_jft.data`, of those at the top of the script, and of those "
            "marked by `@jft.training.sendable` in a module that the script "
            f"imports, without `lambda`. Received: {value!r:.200} in {where}."
        )
    return name


# === From bytes ===


class _Decoder:
    """Reads a tree; `place` is where the next of the rest begins."""

    def __init__(self, encoded, place):
        self._encoded, self.place = encoded, place
        self._read = []

    def thing(self, tree):
        """Return what `tree` stands for."""
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
        """Keep a place for what is being read, for `["again", ...]`."""
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
            raise ValueError(f"Received {left} bytes where {size} are to come.")
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
                "A worker must have the classes and functions of its data when "
                f"`strategy(...)` is called. Received: {name!r:.200}, which is "
                "not there, or not to be named."
            )
        return thing

    def _getter(self, tree):
        number = self._number()
        return self._made(number, self.thing(tree).__getitem__)

    def _partial(self, function, arguments, keywords):
        number = self._number()
        parts = self._things([function, arguments, keywords])
        if not isinstance(parts[0], (type, types.FunctionType)):
            raise ValueError(f"Received a part of {parts[0]!r:.80}.")
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
    """Stands for what is not read to its end yet."""


def _count(shape):
    sizes = all(type(size) is int and size >= 0 for size in shape)
    if not isinstance(shape, list) or not sizes:
        raise ValueError(f"Received a shape of {shape!r:.80}.")
    return math.prod(shape)
