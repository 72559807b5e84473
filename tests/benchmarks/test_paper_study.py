"""The paper's own study, at its own settings, without running it."""

import sys
import types

import pytest


@pytest.fixture
def plan(run, monkeypatch, capsys, tmp_path):
    """`plan(*arguments)`: what the command says that there is to do."""
    names = run("paper.py", run_name="imported")
    folders = ("--jft", "--imagenet", "--coco", "--voc")
    given = [part for name in folders for part in (name, "DIR")]
    given += ["--output", str(tmp_path), "--dry-run"]

    def plan(*arguments):
        monkeypatch.setattr(sys, "argv", ["paper.py", *given, *arguments])
        names["main"]()
        return capsys.readouterr().out

    return plan


def test_the_paper_s_arms_are_those_of_its_settings(plan):
    said = plan()
    lines = {" ".join(line.split()) for line in said.splitlines()}
    # Section 4.1: 36M steps of 32 images; section 5.2: 3M and 1.5M of one.
    for stage, arm, images, steps, seen in (
        ("pre-training", "JFT", "300,000,000", "36,000,000", "1,152,000,000"),
        ("pre-training", "JFT 10M", "10,000,000", "1,250,000", "40,000,000"),
        ("pre-training", "ImageNet", "1,281,167", "5,000,000", "160,000,000"),
        ("transfer", "COCO, JFT, fine_tuned", "all", "3,000,000", "3,000,000"),
        ("transfer", "COCO, JFT, frozen", "all", "1,500,000", "1,500,000"),
        ("transfer", "VOC 2007, JFT, frozen", "all", "700,000", "700,000"),
        ("transfer", "VOC 2012, JFT, fine_tuned", "all", "30,000", "180,000"),
    ):
        begin = f"{stage} {arm} {images} {steps} {seen}"
        assert any(line.startswith(begin) for line in lines), begin
    assert "41 runs left" in said and "of eight" in said


def test_some_tables_need_some_arms(plan):
    assert "3 runs left" in plan("--only", "table 2")
    # Both sizes, modes and sets of Figure 4 have no other.
    assert "16 runs left" in plan("--only", "figure 4")


def test_without_ids_of_minival_the_study_says_so(run):
    names = run("paper.py", run_name="imported")
    ids = types.SimpleNamespace(options={"ids": "no/such_file.txt"})
    with pytest.raises(ValueError, match=r"8,000 images.*--minival"):
        names["check_ids"](ids)
