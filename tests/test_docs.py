"""Docstrings are contracts: they run, and they name what is there."""

import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import re

import keras
import numpy as np
import pytest
from keras import ops

import keras_jft

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
        assert f"{field.name}:" in config.__doc__, field.name
