"""Figures are of the rows beside them."""

import pathlib
import runpy

import matplotlib.pyplot as plt
import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"
DRAW = runpy.run_path(str(BENCHMARKS / "draw.py"), run_name="imported")


@pytest.mark.parametrize("name", DRAW["DRAWINGS"])
def test_a_figure_is_of_the_rows_beside_it(name):
    now = DRAW["DRAWINGS"][name].fingerprint()
    assert DRAW["written"](name) == now, "run `make figures`"


@pytest.mark.parametrize("name", ["downpour", "initialization", "data_scale"])
def test_a_figure_is_drawn_from_its_rows(name):
    drawing = DRAW["DRAWINGS"][name]
    figure = drawing.plot(drawing.rows())
    assert figure.axes and figure.axes[0].lines
    plt.close(figure)


def test_every_figure_can_be_drawn_again_or_has_a_reason():
    figures = {path.stem for path in (BENCHMARKS / "figures").glob("*.png")}
    assert figures == {*DRAW["DRAWINGS"], *DRAW["OTHERS"]}


def test_a_figure_of_other_rows_is_noticed(tmp_path):
    drawing = DRAW["DRAWINGS"]["epochs"]
    (tmp_path / "results").mkdir()
    rows = (BENCHMARKS / "results" / "epochs.jsonl").read_bytes()
    here = drawing.fingerprint.__globals__
    was = here["HERE"]
    try:
        here["HERE"] = tmp_path
        (tmp_path / "results" / "epochs.jsonl").write_bytes(rows)
        same = drawing.fingerprint()
        (tmp_path / "results" / "epochs.jsonl").write_bytes(rows[1:])
        other = drawing.fingerprint()
    finally:
        here["HERE"] = was
    assert DRAW["written"]("epochs") == same != other
