"""Labeled image files are read from their folder and called by their path."""

import numpy as np
import pytest

from keras_jft import data as jft_data
from keras_jft.data.dataset import Info
from keras_jft.data.datasets.image_files import ImageFiles, files_below


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


HIDDEN = (
    ".ipynb_checkpoints/0-checkpoint.png",
    "@eaDir/0.png",
    "@Recycle/0.png",
    "#recycle/0.png",
    "$RECYCLE.BIN/0.png",
    ".thumbnails/deep/0.png",
    ".AppleDouble/0.png",
    "__MACOSX/._0.png",
    "lost+found/0.png",
    "._0.png",
    "Thumbs.db",
    ".DS_Store",
)


def test_hidden_folders_and_those_of_tools_are_left_out(save_image, tmp_path):
    kept = [save_image(f"{part}/0.png") for part in ("a", "a/b", "@a", "a/#1")]
    for parent in ("", "a/", "a/b/"):
        for name in HIDDEN:
            path = tmp_path / parent / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(kept[0].read_bytes())
    assert files_below(tmp_path) == sorted(kept)
    assert files_below(tmp_path, (".db",)) == []


@pytest.mark.filterwarnings("ignore:.*occurs? in no mask")
@pytest.mark.parametrize("part", ["", "cat/", "cat/deep/"])
def test_no_source_reads_what_tools_leave_behind(part, save_image, tmp_path):
    folders = (
        "train/{}",
        "set/images/{}",
        "set/masks/{}",
        "camvid/train/{}",
    )
    folders += ("camvid/trainannot/{}",)
    for folder in folders:
        save_image(folder.format("cat/deep/0.png"), mode="L")
        for name in HIDDEN:
            path = tmp_path / folder.format(part) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"not an image")
    data = jft_data.load("image_folder", directory=tmp_path)
    assert data.ids([*range(len(data))]).tolist() == ["cat/deep/0.png"]
    assert data.info.label_names == ("cat",)
    options = {"directory": tmp_path / "set", "classes": ["sky"]}
    masked = jft_data.load("mask_folder", None, **options)
    camvid = jft_data.load("camvid", directory=tmp_path / "camvid")
    for data in (masked, camvid):
        assert data.ids([*range(len(data))]).tolist() == ["cat/deep/0"]
