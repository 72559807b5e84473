"""How a benchmark is run in small."""

import importlib
import pathlib
import runpy
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def run(monkeypatch):
    """`run(script, *arguments)`: the names that its smallest run leaves."""

    def run(script, *arguments, run_name="__main__"):
        path = BENCHMARKS / script
        # As when Python runs a script: what lies beside it can be imported.
        monkeypatch.syspath_prepend(str(path.parent))
        if path.parent.name == "speed":  # They start anew otherwise.
            kept_memory = importlib.import_module("kept_memory")
            for name, value in kept_memory.ENVIRONMENT.items():
                monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", [str(path), "--smoke", *arguments])
        return runpy.run_path(str(path), run_name=run_name)

    return run
