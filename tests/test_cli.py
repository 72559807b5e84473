"""The command line says things in options, and ends with a status."""

import functools
import html
import json
import os
import re
import signal
import subprocess
import sys
import time
import weakref

import numpy as np
import pytest
from PIL import Image

import keras_jft as jft
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
    assert "10x more: +" in done.stdout and "\n0\n" in done.stdout


def test_messages_speak_of_options_and_name_the_command(said, tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(SCORES)
    error = said("forecast", path, "--factor", 0.5)
    assert error.startswith("keras-jft forecast: error: `--factor` must be")
    assert error.endswith("Received: --factor 0.5.")
    error = said("forecast", path, "--metric-range", 0, 0.4)
    assert "(`--metric-range LOW HIGH`)" in error
    error = said("forecast", path, "--output", tmp_path / "x.pdf")
    assert "`--output` must name an HTML file" in error
    error = said("forecast", path, "--worth", 1)
    assert error.endswith("For 1 point give 0.01.")
    assert said("forecast", path, "--worth", 2).endswith("2 points give 0.02.")


def test_a_warning_speaks_of_options(tmp_path):
    path = tmp_path / "scores.csv"
    lines = [f"{n},0.{i},a\n{n},0.{i}5,b" for i, n in enumerate((9, 30, 90), 3)]
    path.write_text("\n".join(["num_examples,score,arch", *lines, ""]))
    done = subprocess.run(
        [sys.executable, "-m", "keras_jft", "forecast", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "keras-jft: warning: The runs of one curve differ" in done.stderr
    assert "by `--where`, or tell them apart by `--by`" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["forecast"], "the following arguments are required: SCORES"),
        (["forecast", "none.csv"], "none.csv"),
        (["forecast", os.path.dirname(cli.__file__)], "without records"),
        (["export", "none.keras"], "There is no model 'none.keras'"),
        (["export", "none.keras", "--format", "pickle"], "'pickle'"),
    ],
)
def test_wrong_input_ends_with_status_2(said, words, message):
    assert message in said(*words)


def test_nets_are_listed_by_all_words_of_their_names(capsys):
    assert cli.main(["backbones", "applications", "mobilenetv3"]) == 0
    assert capsys.readouterr().out.split() == [
        "applications/MobileNetV3Large",
        "applications/MobileNetV3Small",
    ]


def test_a_word_that_is_in_no_name_of_a_net_is_told(said):
    assert "of these WORDs in its name: resnet mobilnet." in said(
        "backbones", "resnet", "mobilnet"
    )


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


NOISY = "num_examples,seed,score,wrong\n" + "".join(
    f"10000,{seed},{0.48 - 0.2 * wrong + 0.002 * seed},{wrong}\n"
    for seed in (0, 1)
    for wrong in (0, 0.2, 0.4)
)


def test_prices_tell_what_a_point_costs(tmp_path, capsys):
    path, noisy, page = (tmp_path / n for n in ("a.csv", "b.csv", "c.html"))
    path.write_text(SCORES)
    noisy.write_text(NOISY)
    words = ["forecast", str(path), "--factor", "3", "--output", str(page)]
    words += ["--price", "image=0.1", "label=0.05", "correction=0.4"]
    words += ["--labels", "2", "--noise", str(noisy), "--wrong", "wrong"]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if "1 point = " in line]
    assert line.startswith("Price: ")
    assert line in html.unescape(page.read_text())
    # A point takes 0.01 / 0.2 of 10,000 images with two labels each; an image
    # costs 0.1 and two labels.
    assert "1,000 corrected labels [" in line
    assert ", which cost 400 [" in line
    images, cost = re.search(
        r"([\d,]+) images \[.*?cost ([\d,]+)", line
    ).groups()
    ratio = float(cost.replace(",", "")) / float(images.replace(",", ""))
    assert ratio == pytest.approx(0.2, rel=0.1)


def test_a_price_without_what_it_needs_says_so(said, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(SCORES)
    assert "expected the price of image, label, correction, hour" in said(
        "forecast", path, "--price", "photo=2"
    )
    assert "Give `--noise`" in said("forecast", path, "--price", "correction=2")
    assert "no row says how many a run takes" in said(
        "forecast", path, "--price", "hour=2"
    )


@pytest.fixture
def photos(tmp_path, rng):
    """Two folders of three images each, one of which is in both."""
    for folder in ("one", "two"):
        for name in ("cat", "dog", "newt"):
            path = tmp_path / folder / name / "1.png"
            path.parent.mkdir(parents=True)
            pixels = rng.integers(0, 256, (16, 16, 3)).astype("uint8")
            Image.fromarray(pixels).save(path)
    copy = tmp_path / "one" / "cat" / "1.png"
    copy.write_bytes((tmp_path / "two" / "dog" / "1.png").read_bytes())
    return tmp_path


def test_a_folder_is_described_by_looking(photos, capsys):
    page = photos / "page.html"
    status = cli.main(["describe", str(photos / "one"), "--output", str(page)])
    out = capsys.readouterr().out
    assert status == 0 and page.exists()
    assert "one folder per class: 3 classes (classification)" in out
    assert "3 images" in out


def test_duplicates_between_two_folders_are_counted_and_shown(photos, capsys):
    page = photos / "page.html"
    folders = str(photos / "one"), str(photos / "two")
    assert cli.main(["duplicates", *folders, "--output", str(page)]) == 0
    out = capsys.readouterr().out
    assert "Of 3 images, 1 has a near-duplicate." in out
    assert "data:image/svg+xml" in page.read_text(encoding="utf-8")


def test_a_threshold_of_zero_is_not_the_default(photos, monkeypatch):
    given = []

    def report(*_, **options):
        given.append(options)
        raise ValueError("enough")

    monkeypatch.setattr(jft.evaluation.duplicates, "report", report)
    folders = str(photos / "one"), str(photos / "two")
    with pytest.raises(SystemExit):
        cli.main(["duplicates", *folders, "--threshold", "0"])
    assert given == [{"threshold": 0.0}]


def test_what_a_model_sees_is_a_line_of_json(
    tiny_backbone, photos, capsys, rng
):
    model = Classifier(tiny_backbone, num_classes=3)
    model.save(photos / "model.keras")
    (photos / "names.txt").write_text("cat\ndog\nnewt")
    words = ["--names", photos / "names.txt"]
    path = photos / "one" / "cat" / "1.png"
    words = ["predict", photos / "model.keras", path, photos / "two", *words]
    assert cli.main([str(word) for word in words]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 4 and lines[0]["image"] == str(path)
    # The same picture as that of two/dog.
    assert lines[0]["classes"] == lines[2]["classes"]
    logits = model.predict(np.array(Image.open(path))[None], verbose=0)[0]
    first = lines[0]["classes"][0]
    assert first["class"] == ("cat", "dog", "newt")[logits.argmax()]
    chances = np.exp(logits) / np.exp(logits).sum()
    assert abs(first["probability"] - chances.max()) < 1e-3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["describe", "none"], "There is no folder 'none'"),
        (["study"], "Give a STUDY.toml, or --images DIR and --task NAME=DIR"),
        (["study", "none.toml"], "'none.toml', which is not one"),
        (
            ["study", "--images", "a", "--task", "b"],
            "`--task` must be NAME=DIR",
        ),
        (["study", "a.toml", "--images", "b"], "Received both"),
        (
            ["init", "--images", "a", "--task", "b=c", "--output", "s3://b/x"],
            "`--output` must be on a local or mounted file system",
        ),
        (
            ["study", "--images", "a", "--task", "b=c", "--executor", "slurm"],
            "`--executor` must be processes:N, dask://HOST:PORT, ",
        ),
        (["init", "--images", "a"], "--task NAME=DIR"),
        (["init"], "error: Give --images DIR and --task NAME=DIR."),
        (["predict", "none.keras", "a.jpg"], "There is no model 'none.keras'"),
    ],
)
def test_a_mistake_is_told_in_options(said, words, message):
    assert message in said(*words)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["study", "study.toml"], "What is done is safe .* goes on where it"),
        (["forecast", "scores.csv"], "Nothing was left half written"),
        (["export", "model.keras"], "is not whole. The same command writes it"),
    ],
)
def test_ctrl_c_is_answered_with_what_is_safe(
    said, monkeypatch, command, message
):
    def interrupted(arguments):
        raise KeyboardInterrupt

    add, _, *texts = cli.COMMANDS[command[0]]
    monkeypatch.setitem(cli.COMMANDS, command[0], (add, interrupted, *texts))
    line = said(*command, status=130)
    assert line.startswith(f"keras-jft {command[0]}: stopped. ")
    assert re.search(message, line)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_in_a_callback_is_not_lost(said, monkeypatch):
    class Thing:
        pass

    def run(arguments):
        thing = Thing()
        # Python drops what is raised in such a callback.
        press = functools.partial(os.kill, os.getpid(), signal.SIGINT)
        reference = weakref.ref(thing, lambda _: press())
        del thing
        assert reference() is None
        time.sleep(5)
        raise AssertionError("Ctrl-C was not heard.")

    add, _, *texts = cli.COMMANDS["study"]
    monkeypatch.setitem(cli.COMMANDS, "study", (add, run, *texts))
    line = said("study", "study.toml", status=130)
    assert line.startswith("keras-jft study: stopped. ")
