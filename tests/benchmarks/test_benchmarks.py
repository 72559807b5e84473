"""The smallest run of each study, from end to end."""

import pathlib

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("uncompiled")]

DOCS = pathlib.Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    "script",
    [
        "backbone_matrix.py",
        "backbones.py",
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
        "hierarchy.py",
        "initialization.py",
        "joint.py",
        "label_noise.py",
        "learning_rate.py",
        "long_tail.py",
        "learning_curves.py",
        "paper.py",
        "pose.py",
        "prior.py",
        "segmentation.py",
        "sequential.py",
    ],
)
def test_a_study_runs_in_small(script, run, capsys):
    run(script)
    assert capsys.readouterr().out


def test_the_docs_show_the_heads_that_work_on_each_family(run):
    names = run("backbone_matrix.py", run_name="imported")
    docs = (DOCS / "backbones.md").read_text(encoding="utf-8")
    assert names["table"](names["read"]()) in docs


def test_a_dry_run_says_what_there_is_to_do(run, capsys):
    run("data_size.py", "--dry-run")
    # Sizes 0 and 64, 2 tasks, 2 modes; 4 epochs of 64 images.
    said = "8 runs left, 256 images of pre-training, device-hours unknown"
    assert said in capsys.readouterr().out
