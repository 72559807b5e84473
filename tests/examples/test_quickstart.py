"""The quick start goes the whole way, and goes on where it was stopped."""

import dataclasses
import pathlib
import runpy
import sys

import keras_jft as jft

SCRIPT = pathlib.Path(__file__).parents[2] / "examples" / "quickstart.py"


def _run(monkeypatch, output, sizes):
    names = runpy.run_path(str(SCRIPT))
    for task, config in names["TASKS"].items():
        names["TASKS"][task] = dataclasses.replace(config, epochs=1)
    arguments = ["--output", str(output), "--sizes", *map(str, sizes)]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    names["main"]()


def test_an_interrupted_quick_start_repeats_nothing(
    tmp_path, monkeypatch, capsys
):
    _run(monkeypatch, tmp_path, [0, 32])
    first = (tmp_path / "rows.jsonl").read_text()
    _run(monkeypatch, tmp_path, [0, 32, 48, 64, 96])
    assert (tmp_path / "rows.jsonl").read_text().startswith(first)
    rows = jft.scaling.read_rows(tmp_path / "rows.jsonl")
    assert len(rows) == 5 * 4
    assert not any("error" in row for row in rows)
    assert (tmp_path / "data_size.png").stat().st_size > 10_000
    shown = capsys.readouterr().out
    assert "Classification: top1" in shown and "10x more" in shown
