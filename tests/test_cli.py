"""The command line says things in options, and ends with a status."""

import os
import subprocess
import sys

import numpy as np
import pytest

from keras_jft import cli
from keras_jft.transfer import Classifier

SCORES = """num_examples,score,mode
300,0.30,frozen
1000,0.36,frozen
3000,0.42,frozen
10000,0.48,frozen
"""


@pytest.fixture
def said(capsys):
    """Runs a command that must fail; gives the last line that it printed."""

    def said(*words, status=2):
        with pytest.raises(SystemExit) as end:
            cli.main([str(word) for word in words])
        assert end.value.code == status
        return capsys.readouterr().err.splitlines()[-1]

    return said


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    assert f"Example: keras-jft {command} " in capsys.readouterr().out


def test_help_and_forecasts_load_neither_keras_nor_tensorflow(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(SCORES)
    code = (
        "import sys\n"
        "sys.modules.update(keras=None, tensorflow=None, keras_cv=None)\n"
        "from keras_jft import cli\n"
        f"print(cli.main(['forecast', {str(path)!r}]))\n"
        "cli.main(['--help'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "10x more: +11.9" in done.stdout and "\n0\n" in done.stdout


def test_messages_speak_of_options_and_name_the_command(said, tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(SCORES)
    error = said("forecast", path, "--factor", 0.5)
    assert error.startswith("keras-jft forecast: error: `--factor` must be")
    assert error.endswith("Received: --factor 0.5.")
    error = said("forecast", path, "--metric-range", 0, 0.4)
    assert "(`--metric-range LOW HIGH`)" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["forecast"], "the following arguments are required: SCORES"),
        (["forecast", "none.csv"], "none.csv"),
        (["export", "none.keras"], "none.keras"),
        (["export", "none.keras", "--format", "pickle"], "'pickle'"),
    ],
)
def test_wrong_input_ends_with_status_2(said, words, message):
    assert message in said(*words)


def test_a_model_is_exported_beside_itself(tiny_backbone, tmp_path, capsys):
    tf = pytest.importorskip("tensorflow")
    model = Classifier(tiny_backbone, num_classes=3)
    model.save(tmp_path / "model.keras")
    assert cli.main(["export", str(tmp_path / "model.keras")]) == 0
    assert f"Exported: {tmp_path / 'model'}" in capsys.readouterr().out
    images = np.zeros((2, 16, 16, 3), "uint8")
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(
        loaded.serve(images), model.predict(images, verbose=0), atol=1e-4
    )
