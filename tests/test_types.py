"""All that is public says what it takes and returns.

`make lint` checks that these types are right, and `tests/typing/user_code.py`
that a user's type checker sees them.
"""

import ast
import configparser
import importlib
import inspect
import pathlib
import pkgutil
import re
import types

import pytest

import keras_jft

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ["keras_jft"] + [
    info.name
    for info in pkgutil.walk_packages(keras_jft.__path__, "keras_jft.")
    if info.ispkg
]


def _is_ours(item):
    return item.__module__.startswith("keras_jft.")


def _exported(package):
    """Yield the functions and classes that a package hands on.

    Those of a module that it hands on count, and those in a registry, such as
    `DATASETS`; not a lambda in one, which can have no types.
    """
    module = importlib.import_module(package)
    for name in getattr(module, "__all__", ()):
        item = getattr(module, name)
        items = [item]
        if isinstance(item, dict):
            items = item.values()
        elif isinstance(item, types.ModuleType):
            items = [v for k, v in vars(item).items() if not k.startswith("_")]
        for one in items:
            if inspect.isclass(one) or (
                inspect.isfunction(one) and one.__name__ != "<lambda>"
            ):
                yield one


def _signed(item):
    """Yield a function, or the public methods of a class and its parents."""
    if inspect.isfunction(item):
        yield item
        return
    for parent in filter(_is_ours, item.__mro__):
        for name, method in vars(parent).items():
            if name.startswith("_") and name not in ("__init__", "__call__"):
                continue
            # Of a property, a class method, a cached property.
            for inside in ("fget", "__func__", "func"):
                method = getattr(method, inside, method)
            if inspect.isfunction(method):
                yield method


FUNCTIONS = {
    f"{function.__module__}.{function.__qualname__}": function
    for package in PACKAGES
    for item in filter(_is_ours, _exported(package))
    for function in filter(_is_ours, _signed(item))
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_what_is_public_says_what_it_takes_and_returns(name):
    signature = inspect.signature(FUNCTIONS[name])
    untyped = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.annotation is parameter.empty
        and parameter.name not in ("self", "cls")
    ]
    if signature.return_annotation is signature.empty:
        untyped.append("return")
    # A constructor returns nothing.
    assert set(untyped) <= ({"return"} if "__init__" in name else set())


def test_functions_methods_properties_and_registries_are_looked_at():
    assert {
        "keras_jft.data.datasets.coco.boxes.load",
        "keras_jft.data.hierarchy.LabelHierarchy.__init__",
        "keras_jft.data.hierarchy.LabelHierarchy.from_json",
        "keras_jft.data.hierarchy.LabelHierarchy.leaves",
        "keras_jft.data.subsets.subset",
        "keras_jft.evaluation.poses.by_image",
        "keras_jft.scaling.law.law.Law.lack_of_fit",
        "keras_jft.scaling.study.runs.Runner.__call__",
        "keras_jft.transfer.heads.segmenter.Segmenter.decode",
    } <= {*FUNCTIONS}


def test_the_wheel_says_that_types_are_there():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    marker = setup["options.package_data"]["keras_jft"]
    assert marker == "py.typed"
    assert (ROOT / "keras_jft" / marker).exists()


def test_hardly_anything_overrules_the_type_checker():
    overruling = re.compile(r"# type: ignore|\bcast\(\"|typing import .*\bcast")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (ROOT / "keras_jft").rglob("*.py")
        for line in path.read_text().splitlines()
        if overruling.search(line)
    ]
    assert found == []


def _lazy_names(package):
    """Return the names that a package imports for type checkers alone."""
    path = importlib.import_module(package).__file__
    return [
        alias.name
        for block in ast.parse(pathlib.Path(path).read_text()).body
        if isinstance(block, ast.If)
        for line in block.body
        for alias in line.names
    ]


@pytest.mark.parametrize("package", [p for p in PACKAGES if _lazy_names(p)])
def test_what_type_checkers_see_is_imported_on_first_use(package):
    module = importlib.import_module(package)
    names = _lazy_names(package)
    assert set(names) <= set(module.__all__) & set(dir(module))
    for name in names:
        vars(module).pop(name, None)
        assert getattr(module, name) is getattr(module, name)
    with pytest.raises(AttributeError, match="no attribute 'RestNet'"):
        _ = module.RestNet
