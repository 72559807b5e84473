"""What a stranger does first: `python one_epoch.py`, far from the checkout.

Forecasts from a CSV by the command `keras-jft`, or the one that is named, and
trains a small net for one epoch.
"""

import pathlib
import subprocess
import sys
import tempfile

import keras_jft as jft

SCORES = {1_000: 0.2, 3_000: 0.3, 10_000: 0.4, 30_000: 0.5}


def forecast(folder, command):
    """Forecast from a CSV of four sizes, by the installed command."""
    scores, page = folder / "scores.csv", folder / "page.html"
    lines = [
        f"{size},{seed},{score + seed / 1000}\n"
        for size, score in SCORES.items()
        for seed in (0, 1, 2)
    ]
    scores.write_text("num_examples,seed,top1\n" + "".join(lines))
    words = [command, "forecast", scores, "--score", "top1", "--output", page]
    said = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    assert "Verdict: " in said.stdout
    assert page.exists()
    print(said.stdout)


def fit():
    """Train on 32 rendered images for one epoch."""
    data = jft.data.load("synthetic", num_examples=32)
    backbone = jft.ResNet(
        (1, 1, 1, 1),
        width=16,
        block="basic",
        stem="small",
        image_shape=(32, 32, 3),
    )
    model = jft.MultiLabelClassifier(backbone, len(data.info.label_names))
    batches = jft.data.batches(data, batch_size=16, training=True)
    model.compile(**jft.pretrain.recipe("small", steps=len(batches)))
    history = model.fit(batches, epochs=1, verbose=0)
    print(f"loss {history.history['loss'][0]:.3f}")


if __name__ == "__main__":
    print(f"{jft.__version__} in {pathlib.Path(jft.__file__).parent}")
    with tempfile.TemporaryDirectory() as made:
        forecast(pathlib.Path(made), *(sys.argv[1:] or ["keras-jft"]))
    fit()
