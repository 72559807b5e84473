"""Private names of other packages stand in `keras_internals.py` alone.

What the source says is decided here, and no more: a name that is put together
while the program runs is not seen.
"""

import ast
import importlib
import inspect
import pathlib
import re

import keras
import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "keras_jft"
INTERNALS = PACKAGE / "training" / "keras_internals.py"
MODULES = sorted(set(PACKAGE.rglob("*.py")) - {INTERNALS})
# Documented by Python, underscore or not.
PUBLIC = {"os._exit", "_asdict", "_fields", "_replace"}
# Pillow's, and those of a pool of processes, of which another like it is made:
# where neither Keras nor the room `training` may be needed.
EXCEPTIONS = {
    ("data/images.py", "_tile_size"),
    ("scaling/study/executors.py", "_initargs"),
    ("scaling/study/executors.py", "_initializer"),
    ("scaling/study/executors.py", "_mp_context"),
}
# Packages that keep their private modules under one name.
PRIVATE_MODULES = {"keras": "src", "keras_cv": "src", "tensorflow": "python"}


def _is_private(name):
    return name.startswith("_") and not name.startswith("__")


def _is_self(node):
    if isinstance(node, ast.Call):  # `super()`
        node = node.func
    return isinstance(node, ast.Name) and node.id in ("self", "cls", "super")


def _defined(tree):
    """Private names that a module, its classes and their methods define."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and _is_self(node.value)
        ):
            yield node.attr


def _used(tree):
    """`(name, text)` of private names of anything but `self`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not _is_self(node.value):
            yield node.attr, ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "delattr",
            "getattr",
            "hasattr",
            "setattr",
        ):
            of, name, *_ = node.args
            if isinstance(name, ast.Constant) and not _is_self(of):
                yield name.value, ast.unparse(node)


def _of_self(tree):
    """Names of attributes of `self`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_self(node.value):
            yield node.attr


def _named_modules(tree):
    """Dotted names of modules, and of what is imported or read from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{a.name}" for a in node.names)
        elif isinstance(node, ast.Attribute):
            yield re.sub(r"^tf\.", "tensorflow.", ast.unparse(node))


def _classes(path):
    """The classes at the top of a module, each with its syntax tree."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    module = importlib.import_module(".".join(parts))
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            yield getattr(module, node.name), node


def _private_names(base):
    """Private names of a class of another package, found in its source."""
    names = {name for name in vars(base) if _is_private(name)}
    try:
        source = inspect.getsource(base)
    except (OSError, TypeError):  # Written in C.
        return names
    return names | set(re.findall(r"self\.(_[a-z]\w*)", source))


def _foreign_bases(cls):
    bases = list(cls.__mro__)
    if issubclass(cls, keras.Model):
        # Keras makes a functional model of it when one is built.
        inputs = keras.Input((1,))
        bases += type(keras.Model(inputs, inputs)).__mro__
    return [b for b in bases if not b.__module__.startswith("keras_jft")]


OURS = {
    name
    for path in [*MODULES, INTERNALS]
    for name in _defined(ast.parse(path.read_text()))
    if _is_private(name)
}


@pytest.fixture(scope="module")
def theirs():
    """Private names of all classes that classes of the package derive from."""
    bases = {
        base
        for path in MODULES
        for cls, _ in _classes(path)
        for base in _foreign_bases(cls)
    }
    return {name for base in bases for name in _private_names(base)}


def _id(path):
    return str(path.relative_to(PACKAGE))


def test_no_private_module_is_named():
    found = [
        (_id(path), name)
        for path in MODULES
        for name in _named_modules(ast.parse(path.read_text()))
        for first, *rest in [name.split(".")]
        if first in PRIVATE_MODULES
        and (PRIVATE_MODULES[first] in rest[:1] or any(map(_is_private, rest)))
    ]
    assert found == []


def test_private_names_of_objects_are_our_own(theirs):
    found = {
        (_id(path), name)
        for path in MODULES
        for name, text in _used(ast.parse(path.read_text()))
        if _is_private(name)
        and not PUBLIC & {name, text}
        and name not in OURS - theirs
    }
    assert found == EXCEPTIONS


def test_no_class_reads_or_hides_a_private_name_of_a_class_it_derives_from():
    found = [
        (_id(path), cls.__name__, name)
        for path in MODULES
        for cls, node in _classes(path)
        for base in _foreign_bases(cls)
        for name in _private_names(base) & {*_of_self(node), *_defined(node)}
    ]
    assert found == []
