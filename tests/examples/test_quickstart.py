"""The quick start goes the whole way, and goes on where it was stopped."""

import dataclasses
import os
import pathlib
import runpy
import subprocess
import sys

import pytest

import keras_jft as jft

pytestmark = pytest.mark.slow

SCRIPT = pathlib.Path(__file__).parents[2] / "examples" / "quickstart.py"

TASKS = ["classification", "segmentation", "detection", "pose"]


def _run(monkeypatch, output, sizes, *arguments, tasks=TASKS):
    names = runpy.run_path(str(SCRIPT))
    assert list(names["TASKS"]) == TASKS
    for task in TASKS:
        config = names["TASKS"].pop(task)
        if task not in tasks:
            continue
        names["TASKS"][task] = dataclasses.replace(
            config,
            epochs=1,
            options={**config.options, "num_examples": 32},
            num_examples=None,
        )
    arguments = ["--output", str(output), "--sizes", *sizes, *arguments]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    names["main"]()


def test_the_quick_start_ends_with_a_decision_and_repeats_nothing(
    tmp_path, monkeypatch, capsys
):
    sizes = [0, 32, 48, 64, 96]
    _run(monkeypatch, tmp_path, sizes, "--alone", tasks=TASKS[:1])
    first = (tmp_path / "rows.jsonl").read_text()
    shown = capsys.readouterr().out
    assert "Classification: top1" in shown and "10x more" in shown
    assert (tmp_path / "data_size.png").stat().st_size > 10_000
    assert (tmp_path / "report.html").read_text().count("<article") == 2

    _run(monkeypatch, tmp_path, [32], "--alone")
    assert (tmp_path / "rows.jsonl").read_text().startswith(first)
    rows = jft.scaling.read_rows(tmp_path / "rows.jsonl")
    # Classification in two modes at five sizes; at one of them three more
    # tasks, segmentation in two modes.
    assert len(rows) == 5 * 2 + 4
    assert not any("error" in row for row in rows)
    assert {row["task"] for row in rows} == set(TASKS)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<article") == 6
    assert "quickstart.py --output" in page


def test_a_dry_run_says_what_there_is_to_do(tmp_path, monkeypatch, capsys):
    _run(monkeypatch, tmp_path / "new", [0, 300], "--dry-run")
    said = capsys.readouterr().out
    # 4 epochs of 300 images, shared by 6 runs; costs of earlier runs.
    assert said.startswith("12 runs left, 1,200 images of pre-training, about")
    assert not (tmp_path / "new").exists()


def test_a_second_process_runs_the_study_in_reverse_order(
    tmp_path, monkeypatch
):
    ended = []
    monkeypatch.setattr(
        jft.scaling.Study, "run", lambda self: ended.append(self)
    )
    monkeypatch.setattr("threading.Thread.start", lambda self: None)
    _run(monkeypatch, tmp_path, [0, 32], "--helper")
    (study,) = ended
    runs = [(run.num_examples, run.task) for run in study.configs]
    assert runs[0] == (32, "pose") and runs[-1] == (0, "classification")


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two cores that a process can be bound to",
)
def test_the_study_is_complete_if_the_second_process_fails(
    tmp_path, monkeypatch
):
    commands, start = [], subprocess.Popen
    cores = os.sched_getaffinity(0)
    seen = []

    def fails(command, **options):
        commands.append(command)
        seen.append(os.sched_getaffinity(0))
        return start([sys.executable, "-c", "raise SystemExit(1)"], **options)

    monkeypatch.setattr(subprocess, "Popen", fails)
    _run(monkeypatch, tmp_path, [0], tasks=TASKS[:1])
    (command,) = commands
    assert command[-1] == "--helper" and str(tmp_path) in command
    assert os.sched_getaffinity(0) == cores
    rows = jft.scaling.read_rows(tmp_path / "rows.jsonl")
    assert len(rows) == 2
    # Each process had half of the cores, and its rows say so.
    assert {row["cores"] for row in rows} == {len(cores) - len(cores) // 2}
    assert [len(found) for found in seen] == [len(cores) // 2]
