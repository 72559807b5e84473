import numpy as np
import pytest

from keras_jft.data.datasets import mask_folder

MASK = [[0, 1, 2, 255], [2, 2, 0, 0], [1, 1, 0, 255]]


@pytest.fixture
def folder(save_image, save_mask, tmp_path):
    for split, value in (("train", 10), ("val", 20)):
        save_image(f"{split}/images/town/a.jpg", value, size=(3, 4))
        save_mask(f"{split}/masks/town/a.png", MASK)
    return tmp_path


def test_an_image_has_the_mask_at_its_path(folder, brightness):
    data = mask_folder.load(folder, "val", classes=3)
    (example,) = data.take([0])
    assert example["ids"] == "town/a"
    assert brightness(example) == 20
    np.testing.assert_array_equal(example["segmentation_masks"][..., 0], MASK)
    assert data.info.mask_names == ("class_0", "class_1", "class_2")
    (same,) = mask_folder.load(folder / "val", classes=list("xyz")).take([0])
    np.testing.assert_array_equal(same["images"], example["images"])


def test_masks_are_resized_by_the_nearest_pixel_and_void_stays(folder):
    data = mask_folder.load(folder, "train", classes=3, image_size=(6, 8))
    example = data[0]
    assert example["images"].shape == (6, 8, 3)
    np.testing.assert_array_equal(
        example["segmentation_masks"][..., 0], np.kron(MASK, np.ones((2, 2)))
    )


def test_folders_and_endings_are_those_of_cityscapes(
    save_image, save_mask, tmp_path
):
    save_image("leftImg8bit/val/ulm/7_leftImg8bit.png", size=(3, 4))
    save_mask("gtFine/val/ulm/7_gtFine_labelTrainIds.png", MASK)
    save_image("gtFine/val/ulm/7_gtFine_color.png", size=(3, 4))
    data = mask_folder.load(
        tmp_path,
        "val",
        classes=3,
        images="leftImg8bit/{split}",
        masks="gtFine/{split}",
        endings=("_leftImg8bit", "_gtFine_labelTrainIds"),
    )
    assert data.ids([0]).tolist() == ["ulm/7"]
    np.testing.assert_array_equal(data[0]["segmentation_masks"][..., 0], MASK)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"void": 0}, r"`void` must be a list. Received: 0. Give \[0\]"),
        ({"void": [0.5]}, "`void` must be a whole number"),
        ({"colors": ["#000000", "#ff0000", "green?"]}, "one color for each"),
        ({"colors": {"bg": (0, 0, 0)}}, "`colors` must be a list"),
        ({"colors": [(0, 0, 0), (1, 1), (2, 2, 2)]}, "one color for each"),
        ({"colors": [(0, 0, 0), (0, 0, 0.5), (2, 2, 2)]}, "one color for"),
        ({"classes": 0}, "`classes` must be a whole number of 1 or more"),
        ({"classes": 2.5}, "`classes` must be a whole number"),
        ({"classes": True}, "`classes` must be a whole number"),
    ],
)
def test_arguments_of_other_kinds_are_named(folder, options, message):
    with pytest.raises(ValueError, match=message):
        mask_folder.load(folder, "train", **{"classes": 3, **options})


def test_a_number_of_classes_may_be_of_numpy(folder):
    data = mask_folder.load(folder, "train", classes=np.int64(3))
    assert data.info.mask_names == ("class_0", "class_1", "class_2")


@pytest.mark.parametrize("classes", ["bg", {"b", "g"}, {"b": 0}, ["b", "b"]])
def test_classes_are_a_list_of_names_or_their_number(folder, classes):
    with pytest.raises(ValueError, match="`classes` must"):
        mask_folder.load(folder, "train", classes=classes)


@pytest.mark.parametrize("endings", [("", "_mask"), ("_a", "_mask_a")])
def test_images_and_masks_may_share_a_folder(
    endings, save_image, save_mask, tmp_path
):
    for name in ("1", "town/2"):
        save_image(f"all/{name}{endings[0]}.jpg", size=(3, 4))
        save_mask(f"all/{name}{endings[1]}.png", MASK)
    options = {"images": "all", "masks": "all", "endings": endings}
    data = mask_folder.load(tmp_path, classes=3, **options)
    assert data.ids([0, 1]).tolist() == ["1", "town/2"]
    np.testing.assert_array_equal(data[0]["segmentation_masks"][..., 0], MASK)


def test_in_a_folder_of_its_own_an_image_may_be_called_a_mask(
    save_image, save_mask, tmp_path
):
    save_image("images/gas_mask.jpg", size=(3, 4))
    save_mask("masks/gas_mask_mask.png", MASK)
    data = mask_folder.load(tmp_path, classes=3, endings=("", "_mask"))
    assert data.ids([0]).tolist() == ["gas_mask"]


@pytest.mark.parametrize("classes", [[], ()])
def test_no_classes_are_refused(folder, classes):
    with pytest.raises(ValueError, match="`classes` must name the classes"):
        mask_folder.load(folder, "train", classes=classes)
