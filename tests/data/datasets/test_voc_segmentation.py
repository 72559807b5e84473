"""VOC's segmentation and its trainaug list, on a folder of five images."""

import fuzzing
import numpy as np
import pytest

from keras_jft.data.datasets import voc_segmentation

# Of VOC's 21 classes these masks have one.
pytestmark = pytest.mark.filterwarnings("ignore:.*occurs? in no mask")


@pytest.fixture
def folder(save_image, save_mask, save_list, tmp_path):
    """VOC: train a b, val c. SBD: train b d, val c e. Masks say their source.

    A mask of VOC is class 1, one of `SegmentationClassAug` 2, one of SBD 3.
    """
    for split, names in (("train", "ab"), ("val", "c")):
        save_list(split, names, folder="VOC2012", room="Segmentation")
        for name in names:
            save_mask(f"VOC2012/SegmentationClass/{name}.png", [[1, 255]])
    sbd = tmp_path / "benchmark_RELEASE/dataset"
    for split, names in (("train", "bd"), ("val", "ce")):
        for name in names:
            save_mask(sbd / "cls" / f"{name}.mat", [[3, 0]])
        (sbd / f"{split}.txt").write_text("\n".join(names))
    for value, name in enumerate("abcde"):
        save_image(f"VOC2012/JPEGImages/{name}.jpg", value, size=(1, 2))
    return tmp_path


def masks(data):
    return {
        example["ids"]: example["segmentation_masks"][0, :, 0].tolist()
        for example in data.take(range(len(data)))
    }


def test_a_split_is_its_list_with_the_palette_s_indices(folder):
    data = voc_segmentation.load("train", directory=folder)
    assert masks(data) == {"a": [1, 255], "b": [1, 255]}
    assert len(data.info.mask_names) == 21
    assert data.info.mask_names[0] == "background"
    assert data.info.mask_names[15] == "person"


def test_trainaug_is_train_and_sbd_without_val(folder):
    data = voc_segmentation.load(
        "trainaug",
        directory=folder / "VOC2012",
        sbd=folder / "benchmark_RELEASE",
    )
    assert masks(data) == {
        "a": [1, 255],
        "b": [1, 255],
        "d": [3, 0],
        "e": [3, 0],
    }


def test_trainaug_may_be_a_list_and_a_folder_of_masks(
    folder, save_list, save_mask
):
    save_list("trainaug", "ad", folder="VOC2012", room="Segmentation")
    for name in "ad":
        save_mask(f"VOC2012/SegmentationClassAug/{name}.png", [[2, 0]])
    data = voc_segmentation.load("trainaug", directory=folder)
    assert masks(data) == {"a": [1, 255], "d": [2, 0]}


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(ValueError, match=r"trainaug.*'train', 'val'.*`sbd`"):
        voc_segmentation.load("trainaug", directory=folder)
    with pytest.raises(ValueError, match=r"test\.txt' is missing"):
        voc_segmentation.load("test", directory=folder)
    with pytest.raises(ValueError, match="ImageSets/Segmentation"):
        voc_segmentation.load("train", directory=folder / "benchmark_RELEASE")
    with pytest.raises(ValueError, match="must have the folder 'cls'"):
        voc_segmentation.load(
            "trainaug", directory=folder, sbd=folder / "VOC2012"
        )
    (tmp_path / "VOC2012/SegmentationClass/b.png").unlink()
    with pytest.raises(ValueError, match=r"mask .*1 of 2: \['b'\]"):
        voc_segmentation.load("train", directory=folder)
    (tmp_path / "VOC2012/JPEGImages/a.jpg").unlink()
    with pytest.raises(ValueError, match=r"Missing are 1 of 2: \['a'\]"):
        voc_segmentation.load("train", directory=folder)


def test_masks_are_those_of_numpy(folder):
    example = voc_segmentation.load("val", directory=folder)[0]
    assert example["segmentation_masks"].dtype == np.uint8
    assert example["images"].shape == (1, 2, 3)


def test_a_list_is_read_as_windows_writes_it(folder):
    path = folder / "VOC2012/ImageSets/Segmentation/train.txt"
    path.write_bytes(b"\xef\xbb\xbfb.jpg\r\na\r\n\r\n")
    data = voc_segmentation.load("train", directory=folder)
    assert masks(data) == {"b": [1, 255], "a": [1, 255]}


def test_mutated_lists_are_read_or_refused_by_name(folder):
    path = folder / "VOC2012/ImageSets/Segmentation/train.txt"
    content, rng, refused = b"a\nb\nd\n", np.random.default_rng(0), 0
    for _ in range(300):
        path.write_bytes(fuzzing.mutated_bytes(content, rng))
        try:
            data = voc_segmentation.load("train", directory=folder)
        except ValueError as error:
            refused += 1
            assert "'d'" in str(error) or str(folder) in str(error)
            assert len(str(error)) < 800
        else:
            assert set(masks(data)) <= {"a", "b"}
    assert 150 < refused < 300
