"""The smallest run of each benchmark, from end to end."""

import importlib
import pathlib
import runpy
import sys

import keras
import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    "script",
    [
        "backtest.py",
        "capacity.py",
        "classes.py",
        "coverage.py",
        "damaged_data.py",
        "damaged_records.py",
        "data_size.py",
        "detection.py",
        "downpour.py",
        "duplicates.py",
        "epochs.py",
        "frozen_vs_finetuned.py",
        "initialization.py",
        "label_noise.py",
        "learning_rate.py",
        "long_tail.py",
        "learning_curves.py",
        "pose.py",
        "segmentation.py",
        "speed/closure.py",
        "speed/data_scale.py",
        "speed/detection.py",
        "speed/duplicates.py",
        "speed/head.py",
        "speed/input_pipeline.py",
        "speed/loss.py",
        "speed/multi_label_metric.py",
        "speed/pose.py",
        "speed/segmentation.py",
        "speed/strategies.py",
    ],
)
def test_a_benchmark_runs_in_small(script, monkeypatch, capsys):
    _run(script, monkeypatch)
    assert capsys.readouterr().out


def test_a_dry_run_says_what_there_is_to_do(monkeypatch, capsys):
    _run("data_size.py", monkeypatch, "--dry-run")
    # Sizes 0 and 64, 2 tasks, 2 modes; 4 epochs of 64 images.
    said = "8 runs left, 256 images of pre-training, device-hours unknown"
    assert said in capsys.readouterr().out


@pytest.mark.ops
def test_a_training_step_is_timed_on_any_backend(monkeypatch, capsys):
    backend = keras.backend.backend()
    monkeypatch.setenv("KERAS_BACKEND", backend)
    _run("speed/train_step.py", monkeypatch, "--backend", backend)
    assert "keras_jft" in capsys.readouterr().out


def _run(script, monkeypatch, *arguments):
    path = BENCHMARKS / script
    # As when Python runs a script: what lies beside it can be imported.
    monkeypatch.syspath_prepend(str(path.parent))
    if path.parent.name == "speed":  # They start anew in another environment.
        for name, value in importlib.import_module(
            "kept_memory"
        ).ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", [str(path), "--smoke", *arguments])
    runpy.run_path(str(path), run_name="__main__")
