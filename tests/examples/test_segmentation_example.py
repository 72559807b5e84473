"""What a user does: fine-tune on a folder of images and masks."""

import json
import pathlib
import re
import runpy
import sys

import keras
import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("uncompiled")]

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "segmentation.py"


@pytest.fixture
def folder(rng, tmp_path):
    """Images of a red and a green half; the boundary is void."""
    for split, count in (("train", 16), ("val", 3)):
        for name in ("images", "masks"):
            (tmp_path / split / name).mkdir(parents=True)
        for i in range(count):
            edge = 8 + 4 * (i % 5)
            image = rng.integers(0, 60, (40, 48, 3)).astype("uint8")
            image[:edge, :, 0] += 190
            image[edge:, :, 1] += 190
            mask = np.zeros((40, 48), "uint8")
            mask[edge:], mask[edge] = 1, 255
            Image.fromarray(image).save(tmp_path / f"{split}/images/{i}.jpg")
            Image.fromarray(mask).save(tmp_path / f"{split}/masks/{i}.png")
    return tmp_path


def test_a_folder_of_masks_is_learned_and_drawn(
    folder, tmp_path, monkeypatch, capsys
):
    output = tmp_path / "output"
    arguments = (
        *("--images", folder, "--classes", "red", "green"),
        *("--head", "deeplab_aspp", "--image-size", 32, 32),
        *("--batch-size", 8, "--epochs", 12, "--every", 6),
        *("--output", output),
    )
    monkeypatch.setattr(sys, "argv", ["segmentation.py", *map(str, arguments)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    # Measured after the sixth and the last epoch; of the others it is nan.
    printed = re.findall(r"val_miou: (\S+)", capsys.readouterr().out)
    assert [value != "nan" for value in printed] == 2 * [*5 * [False], True]
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["iou"].keys() == {"red", "green"}
    assert metrics["miou"] > 0.7
    assert (output / "predictions.png").stat().st_size > 1000
    model = keras.saving.load_model(output / "model.keras")
    assert model.num_classes == 2
