"""Labeled image files are read from their folder and called by their path."""

import numpy as np
import pytest

from keras_jft.data.datasets.dataset import Info
from keras_jft.data.datasets.image_files import ImageFiles


def test_files_are_examples_with_their_paths_as_ids(
    save_image, tmp_path, brightness
):
    save_image("a/1.png", 10)
    save_image("b/2.png", 20)
    data = ImageFiles(
        tmp_path,
        ["b/2.png", "a/1.png"],
        lambda position: np.int32(position + 5),
        Info(num_examples=2),
    )
    assert data.ids([1, 0]).tolist() == ["a/1.png", "b/2.png"]
    first, second = data.take(np.array([0, 1]))
    assert (brightness(first), brightness(second)) == (20, 10)
    assert (first["labels"], second["labels"]) == (5, 6)
    assert type(first["ids"]) is str and first["ids"] == "b/2.png"


def test_a_damaged_file_is_named_with_its_folder(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    data = ImageFiles(tmp_path, ["a.png"], int, Info(num_examples=1))
    with pytest.raises(ValueError, match=str(tmp_path / "a.png")):
        data[0]
