"""CamVid: images with index masks of 11 classes and void."""

import numpy as np
import pytest
from PIL import Image

from keras_jft.data.datasets import mask_folder


@pytest.fixture
def folder(save_image, tmp_path):
    """Two training images; the mask of the second has all 11 classes."""
    save_image("train/b.png", 20, size=(3, 4))
    save_image("train/a.jpg", 10, size=(3, 4))
    save_image("trainannot/a.png", 3, size=(3, 4), mode="L")
    mask = np.arange(12, dtype="uint8").reshape(3, 4)
    Image.fromarray(mask).save(tmp_path / "trainannot/b.png")
    return tmp_path


def test_images_have_the_masks_of_their_names(folder, brightness):
    data = mask_folder.load_camvid(folder)
    assert data.ids([0, 1]).tolist() == ["a", "b"]
    first, second = data.take([0, 1])
    assert (brightness(first), brightness(second)) == (10, 20)
    assert (first["segmentation_masks"] == 3).all()
    # Class 11 is void.
    expected = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 255]]
    assert second["segmentation_masks"][..., 0].tolist() == expected
    assert second["segmentation_masks"].dtype == np.uint8
    assert len(data.info.mask_names) == 11
    assert data.info.mask_names[8:] == ("car", "pedestrian", "cyclist")


def test_images_and_masks_are_resized_together(folder):
    example = mask_folder.load_camvid(folder, image_size=(6, 8))[1]
    assert example["images"].shape == (6, 8, 3)
    mask = example["segmentation_masks"]
    original = mask_folder.load_camvid(folder)[1]["segmentation_masks"]
    np.testing.assert_array_equal(mask, np.kron(original, np.ones((2, 2, 1))))


def test_an_image_without_a_mask_is_named(folder, save_image):
    save_image("train/c.png")
    with pytest.raises(ValueError, match=r"mask of its name.*1 of 3: \['c'\]"):
        mask_folder.load_camvid(folder)


def test_a_mask_of_another_size_or_class_is_named(folder, save_image):
    save_image("trainannot/a.png", 3, size=(4, 4), mode="L")
    with pytest.raises(ValueError, match=r"trainannot/a\.png'.*\(3, 4\)"):
        mask_folder.load_camvid(folder)[0]
    save_image("trainannot/a.png", 12, size=(3, 4), mode="L")
    with pytest.raises(ValueError, match=r"\[12\] in .*trainannot/a\.png"):
        mask_folder.load_camvid(folder)[0]


def test_missing_and_empty_folders_are_named(folder):
    with pytest.raises(ValueError, match=r"without .*val'"):
        mask_folder.load_camvid(folder, "val")
    (folder / "val").mkdir()
    with pytest.raises(ValueError, match=r"val' must hold images"):
        mask_folder.load_camvid(folder, "val")
