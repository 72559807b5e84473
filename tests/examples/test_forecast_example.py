"""Any CSV of scores is answered, and bad ones clearly."""

import pathlib
import runpy
import sys

import pytest

import keras_jft as jft

SCRIPT = pathlib.Path(__file__).parents[2] / "examples" / "forecast.py"
SCORES = """num_examples,score,seed,mode
300,0.30,0,frozen
1000,0.36,0,frozen
3000,0.42,0,frozen
10000,0.48,0,frozen
300,0.50,0,tuned
1000,0.55,0,tuned
"""
ERRORS = """num_examples,wer
300,0.70
1000,0.64
3000,0.58
10000,0.52
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    def run(text, *arguments):
        path = tmp_path / "scores.csv"
        path.write_text(text)
        words = [str(SCRIPT), str(path), *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        runpy.run_path(str(SCRIPT), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_the_decision_on_each_curve_is_printed_and_written(run, tmp_path):
    page = tmp_path / "page.html"
    out = run(SCORES, "--worth", 0.05, "--output", page)
    rows = jft.scaling.read_rows(tmp_path / "scores.csv")
    sheet = jft.scaling.forecasts(rows, worth=0.05)["frozen",]
    assert f"frozen\n{sheet}\n" in out
    assert "tuned\n2 sizes, a forecast needs 4\n" in out
    assert f"Decision: {page}" in out
    sentence = ": ten times the images, 10,000 to 100,000, "
    assert sentence in page.read_text()


def test_range_factor_score_and_curves_come_from_the_options(run):
    text = SCORES.replace("score", "bleu").replace("mode", "arm")
    options = ["--score", "bleu", "--metric-range", 0, 60]
    out = run(text, *options, "--by", "arm", "--factor", 3)
    assert "3x more: +" in out and "at num_examples=30,000" in out
    # Points are those of the range.
    assert "frozen\n3x more: +0." in out


def test_an_error_rate_is_forecast_in_its_own_direction(run, tmp_path):
    page = tmp_path / "page.html"
    out = run(
        ERRORS,
        *("--score", "wer", "--lower-is-better", "--worth", 0.05),
        *("--output", page),
    )
    assert "10x more: -7.4 [" in out and "points (lower is better)" in out
    assert "Verdict: not enough evidence (a fall by more than 5 points" in out
    assert "Score at num_examples=100,000: " in out
    assert "lower is better" in page.read_text()


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (SCORES, ["--metric-range", 0, 0.4], "`score` must lie within the bou"),
        (SCORES, ["--score", "top1"], "no column ['top1']"),
        (SCORES, ["--factor", 0.5], "`--factor` must be more than 1"),
        (SCORES, ["--worth", 2], "For 2 points give 0.02"),
        (SCORES, ["--worth", -0.1], "`--worth` must be a finite number, 0 or"),
        (ERRORS, ["--score", "wer"], "Give --lower-is-better if lower is bet"),
        (
            SCORES.replace("score", "value"),
            [],
            "`--score` must name the column of scores",
        ),
        (ERRORS.replace("wer", "score"), [], "its scores fall as the size"),
        (SCORES.replace("0.30", str(10**26)), [], "`score` must"),
        (SCORES.replace("0.30", str(10**400)), [], "`score` must be a finite"),
        (SCORES.replace("0.30", "inf"), [], "`score` must be a finite number"),
        (SCORES.replace("0.30", "high"), [], "`score` must be a finite number"),
        (SCORES.replace("10000", "-7"), [], "`num_examples` must be above 0"),
        (SCORES, ["--output", "page.pdf"], "*.html"),
        (ERRORS, ["--score", "wer"], "error: Is lower or higher `wer` better?"),
        (
            SCORES.replace("mode", "split"),
            [],
            "columns that tell the curves apart: --by split.",
        ),
        (
            SCORES,
            ["--size", "images", "--score", "top1"],
            "Name the right columns with `--x` and `--score`.",
        ),
        (
            SCORES.replace("num_examples", "images"),
            [],
            "no column ['num_examples']. They have: ['images', 'mode', "
            "'score', 'seed']. Name the right column with `--x`.",
        ),
        (SCORES + "7\n8,0.4,0,tuned\n", [], "line 8: expected 4 cells"),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_line(
    run, capsys, text, arguments, message
):
    with pytest.raises(SystemExit) as exit_:
        run(text, *arguments)
    assert exit_.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "error: " in error and message in error


def test_a_file_that_is_not_there_is_named(run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "none.csv"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "none.csv" in capsys.readouterr().err


def test_the_column_of_sizes_may_have_another_name(run, tmp_path):
    text = SCORES.replace("num_examples", "images")
    page = tmp_path / "page.html"
    assert "10x more: +" in run(text, "--size", "images", "--output", page)
    assert "ten times the images, 10,000 to 100,000" in page.read_text()
