"""The smallest run of each benchmark, from end to end."""

import importlib
import pathlib
import runpy
import sys
import types

import keras
import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    "script",
    [
        "backbone_matrix.py",
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
        "prior.py",
        "segmentation.py",
        "speed/adapted.py",
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


def test_the_docs_show_the_heads_that_work_on_each_family(monkeypatch):
    names = _run("backbone_matrix.py", monkeypatch, run_name="imported")
    docs = BENCHMARKS.parent / "docs" / "backbones.md"
    assert names["table"](names["read"]()) in docs.read_text()


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
    said = capsys.readouterr().out.splitlines()
    settings = ("off", "on") if backend == "tensorflow" else ("None",)
    ours = [line.split()[1] for line in said if "keras_jft" in line]
    assert ours == [*settings]


def test_a_ratio_is_the_median_of_ratios_of_the_same_round(monkeypatch):
    names = _run("speed/train_step.py", monkeypatch, run_name="imported")
    column = types.SimpleNamespace(
        setting=names["Setting"]("on", "AVX2"),
        speeds={"keras float32": [1, 2, 4], "keras_jft float32": [2, 2, 12]},
    )
    row = names["row"](column, "keras_jft float32")
    assert (row["onednn"], row["isa"]) == ("on", "AVX2")
    # Of 2, 1 and 3; medians of the speeds would give 1.
    assert row["ratio"] == 2 and row["images_per_second"] == 2
    assert "ratio_torch" not in row


def _run(script, monkeypatch, *arguments, run_name="__main__"):
    path = BENCHMARKS / script
    # As when Python runs a script: what lies beside it can be imported.
    monkeypatch.syspath_prepend(str(path.parent))
    if path.parent.name == "speed":  # They start anew in another environment.
        for name, value in importlib.import_module(
            "kept_memory"
        ).ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", [str(path), "--smoke", *arguments])
    return runpy.run_path(str(path), run_name=run_name)
