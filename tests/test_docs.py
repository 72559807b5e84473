"""Docstrings are contracts: they run, and they name what is there."""

import dataclasses
import doctest
import importlib
import inspect
import pathlib
import pkgutil
import re

import keras
import numpy as np
import pytest
from keras import ops

import keras_jft

ROOT = pathlib.Path(__file__).parents[1]
NAMES = ["keras_jft"] + [
    info.name
    for info in pkgutil.walk_packages(keras_jft.__path__, "keras_jft.")
]
GLOBALS = {
    "keras": keras,
    "keras_jft": keras_jft,
    "jft": keras_jft,
    "np": np,
    "ops": ops,
}


def _public_objects():
    """Classes and functions that a package's `__all__` names."""
    seen = {}
    for name in NAMES:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", []):
            item = getattr(module, public)
            if inspect.isclass(item) or inspect.isfunction(item):
                seen[f"{item.__module__}.{item.__qualname__}"] = item
    return seen


PUBLIC = _public_objects()


@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder().find(module, extraglobs=GLOBALS):
        runner.run(test)
    assert runner.failures == 0


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_documented_arguments_exist(name):
    item = PUBLIC[name]
    text = inspect.getdoc(item)
    assert text, f"{name} has no docstring"
    section = re.search(
        r"^(Args|Attributes):\n(.*?)(?=^\S|\Z)", text, re.M | re.S
    )
    documented = (
        set(re.findall(r"^    \**(\w+):", section[2], re.M))
        if section
        else set()
    )
    if section and section[1] == "Attributes":
        return
    parameters = set(inspect.signature(item).parameters)
    assert documented <= parameters, f"unknown: {documented - parameters}"
    if section and not dataclasses.is_dataclass(item):
        missing = parameters - documented - {"self", "args", "kwargs"}
        assert not missing, f"undocumented: {missing}"


@pytest.mark.parametrize(
    "name", sorted(n for n in PUBLIC if n.endswith(".Config"))
)
def test_a_config_is_frozen_keyword_only_and_documented(name):
    config = PUBLIC[name]
    assert dataclasses.is_dataclass(config)
    assert config.__dataclass_params__.frozen
    for field in dataclasses.fields(config):
        assert field.kw_only
        # By one class, its own or one that it inherits from.
        documented = [
            parent.__name__
            for parent in config.__mro__
            if f"\n        {field.name}: " in (parent.__doc__ or "")
        ]
        assert len(documented) == 1, f"{field.name}: {documented}"


# Of a module, or a class of the package's own.
NAME = re.compile(r"\b(?:keras_)?(jft\.(?:[a-z]+\.|[A-Z])[\w.]*\w)")
PATH = re.compile(
    r"\b(?:keras_jft|tests|docs|examples|benchmarks)/[\w./]+\.\w+"
)


def _exists(name):
    """Whether a dotted name, with its module's, can be reached."""
    parts = name.split(".")
    found = keras_jft
    for i, part in enumerate(parts[1:], start=2):
        if not hasattr(found, part):
            try:
                importlib.import_module(".".join(["keras_jft", *parts[1:i]]))
            except ModuleNotFoundError:
                return False
        found = getattr(found, part)
    return True


def _texts():
    """Files that a person reads, with the text of each."""
    folders = ("keras_jft", "docs", "examples", "benchmarks")
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".md"):
                yield path, path.read_text(encoding="utf-8")
    for path in sorted(ROOT.glob("*.md")):
        yield path, path.read_text(encoding="utf-8")


def test_names_and_files_that_texts_mention_exist():
    gone = set()
    for path, text in _texts():
        for name in NAME.findall(text):
            if not _exists(name):
                gone.add((str(path.relative_to(ROOT)), name))
        for name in PATH.findall(text):
            if not (ROOT / name).exists():
                gone.add((str(path.relative_to(ROOT)), name))
    assert gone == set()
