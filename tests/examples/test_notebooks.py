"""The notebooks run, and what is shown of them is of the code beside it."""

import json
import os
import pathlib
import re
import runpy

import matplotlib
import matplotlib.pyplot as plt
import pytest

NOTEBOOKS = sorted(
    (pathlib.Path(__file__).parents[2] / "examples" / "notebooks").glob("*.py")
)


def _name(path):
    return path.stem


@pytest.mark.slow
@pytest.mark.usefixtures("uncompiled")
# So few images do not show every class.
@pytest.mark.filterwarnings("ignore:.*classes occur in no image")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_a_notebook_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGES", "16")
    monkeypatch.setenv("EPOCHS", "1")
    matplotlib.use("Agg")
    runpy.run_path(str(path), run_name="__main__")
    plt.close("all")
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_a_built_notebook_has_the_cells_of_its_script(path):
    """`make notebooks` builds it again."""
    text = path.read_text(encoding="utf-8")
    cells = [
        re.sub(r"^# ?", "", cell, flags=re.MULTILINE) if kind else cell
        for kind, cell in re.findall(
            r"^# %%( \[markdown\])?\n(.*?)(?=^# %%|\Z)", text, re.M | re.S
        )
    ]
    built = json.loads(path.with_suffix(".ipynb").read_text(encoding="utf-8"))
    shown = ["".join(cell["source"]) for cell in built["cells"]]
    assert [cell.strip() for cell in cells] == shown
    # It was run from its beginning to its end.
    counts = [c.get("execution_count") for c in built["cells"]]
    run = [count for count in counts if count is not None]
    assert run == list(range(1, text.count("\n# %%\n") + 1))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_a_built_notebook_is_small_and_without_messages_of_a_machine(path):
    built = path.with_suffix(".ipynb")
    assert os.path.getsize(built) < 300_000
    assert '"stderr"' not in built.read_text(encoding="utf-8")
