"""A mistake on the command line of an example is answered in one line."""

import pathlib
import runpy
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


@pytest.fixture
def fails(monkeypatch, capsys, tmp_path):
    """Runs an example that must end; gives the last line that it printed."""
    monkeypatch.chdir(tmp_path)

    def fails(name, *arguments):
        script = str(EXAMPLES / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(script, run_name="__main__")
        assert end.value.code == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        return error.splitlines()[-1]

    return fails


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("quickstart", ["--sizes", -5], "`num_examples` must be"),
        ("quickstart", ["--sizes", 300, 300], "Received twice"),
        ("quickstart", ["--sizes", 10**7], "`num_examples` must be at most"),
        ("quickstart", ["--seeds", -1], "`seed` must be 0 or more"),
        ("describe", ["--folder", "none"], "none"),
        ("describe", ["--manifest", "none.csv"], "none.csv"),
        ("describe", ["--images", "some"], "invalid count value: 'some'"),
        ("describe", ["--images", -3], "`images` must be"),
        ("describe", ["--split", "odd"], "`split` must be"),
        ("segmentation", ["--images", "none"], "none"),
        ("segmentation", ["--images", ".", "--image-size", 0, 8], "image_size"),
        ("segmentation", ["--images", ".", "--checkpoint", "no.keras"], "no.k"),
        ("classification", ["--images", "none"], "none"),
        ("classification", ["--images", ".", "--epochs", -1], "`epochs` must"),
        ("detection", ["--images", "none"], "none"),
        ("detection", ["--images", ".", "--head-options", "{"], "error: "),
        ("pose", ["--coco", "none"], "none"),
        ("pretrain", ["--images", "none"], "none"),
        ("pretrain", ["--batch-size", 0], "`batch_size` must be 1"),
    ],
)
def test_a_mistake_is_said_in_one_line(fails, name, arguments, message):
    said = fails(name, *arguments)
    assert f"{name}.py: error: " in said and message in said
