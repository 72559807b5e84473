"""The smallest run of each timing; how long it takes is not tested."""

import types

import keras
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("uncompiled")]


@pytest.mark.parametrize(
    "script",
    [
        "speed/adapted.py",
        "speed/closure.py",
        "speed/data_scale.py",
        "speed/detection.py",
        "speed/duplicates.py",
        "speed/forecast.py",
        "speed/head.py",
        "speed/input_pipeline.py",
        "speed/loss.py",
        "speed/multi_label_metric.py",
        "speed/pose.py",
        "speed/scaling.py",
        "speed/segmentation.py",
        "speed/strategies.py",
    ],
)
def test_a_timing_runs_in_small(script, run, capsys):
    run(script)
    assert capsys.readouterr().out


@pytest.mark.ops
def test_a_training_step_is_timed_on_any_backend(run, monkeypatch, capsys):
    backend = keras.backend.backend()
    monkeypatch.setenv("KERAS_BACKEND", backend)
    run("speed/train_step.py", "--backend", backend, "--onednn", "on")
    said = capsys.readouterr().out.splitlines()
    ours = [line.split()[1] for line in said if "keras_jft" in line]
    assert ours == ["on" if backend == "tensorflow" else "None"]


def test_a_ratio_is_the_median_of_ratios_of_the_same_round(run):
    names = run("speed/train_step.py", run_name="imported")
    column = types.SimpleNamespace(
        setting=names["Setting"]("on", "AVX2"),
        speeds={"keras float32": [1, 2, 4], "keras_jft float32": [2, 2, 12]},
    )
    row = names["row"](column, "keras_jft float32")
    assert (row["onednn"], row["isa"]) == ("on", "AVX2")
    # Of 2, 1 and 3; medians of the speeds would give 1.
    assert row["ratio"] == 2 and row["images_per_second"] == 2
    assert "ratio_torch" not in row
