"""The quick start is one study, by the command and in Python."""

import dataclasses
import json
import pathlib
import runpy
import sys

import pytest

from keras_jft.scaling.study.config_id import config_id

pytestmark = pytest.mark.rewritten

SCRIPT = pathlib.Path(__file__).parents[2] / "examples" / "quickstart.py"
TASKS = ["classification", "segmentation", "detection", "pose"]
SIZES = (0, 300, 1_000, 3_000, 10_000, 20_000)


@pytest.fixture(scope="module")
def plan():
    """The plan of the study as it is; to read it takes seconds."""
    return runpy.run_path(str(SCRIPT))["plan_of"]()


def _run(monkeypatch, output, *arguments):
    arguments = ["--output", output, *arguments]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_the_quick_start_is_the_study_that_its_file_describes(
    plan, tmp_path, monkeypatch, capsys
):
    assert plan.output.resolve() == SCRIPT.parents[1] / "demo"
    assert plan.sizes == SIZES and list(plan.tasks) == TASKS
    # Two tasks in two modes, and two in one, at each size.
    assert len(plan.runs()) == 6 * len(SIZES)
    _run(monkeypatch, tmp_path / "new", "--sizes", 0, 300, "--dry-run")
    # 3 epochs of 300 images, which 6 of the 12 runs share.
    assert "12 runs left, 900 images of pre-training" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


def test_the_rows_on_record_are_those_of_the_runs_of_today(plan):
    results = SCRIPT.parents[1] / "benchmarks" / "results" / "quickstart.jsonl"
    lines = results.read_text(encoding="utf-8").splitlines()
    keys = [json.loads(line)["key"] for line in lines]
    assert sorted(keys) == sorted(map(config_id, plan.runs()))


@pytest.mark.slow
def test_every_task_of_the_quick_start_runs(plan, tmp_path):
    tasks = {
        name: dataclasses.replace(
            task,
            modes=("frozen",),
            transfer=dataclasses.replace(
                task.transfer,
                epochs=1,
                options={**task.transfer.options, "num_examples": 32},
            ),
            evaluation=dataclasses.replace(
                task.evaluation,
                options={**task.evaluation.options, "num_examples": 32},
            ),
        )
        for name, task in plan.tasks.items()
    }
    small = dataclasses.replace(plan, output=tmp_path, sizes=(32,), tasks=tasks)
    rows = small.study().run()
    assert [row["task"] for row in rows] == TASKS
    assert not any("error" in row for row in rows)
