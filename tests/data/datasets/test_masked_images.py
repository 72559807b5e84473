"""Masks of indices, of colors and of SBD; wrong ones are named."""

import numpy as np
import pytest
from PIL import Image

from keras_jft.data.datasets.mask_folder import MaskedImages, files

MASK = [[0, 1, 2, 255], [2, 2, 7, 0], [1, 1, 0, 255]]
COLORS = [(0, 0, 0), (255, 0, 3), (9, 255, 0)]


@pytest.fixture
def load(save_image, save_mask, tmp_path):
    """`load(mask, ...)`: the data set of one image, 3 x 4, and its mask."""
    save_image("a.png", 10, size=(3, 4))

    def load(mask=MASK, name="mask.png", **options):
        path = tmp_path / name
        if mask is not None:
            path = save_mask(name, mask)
        options.setdefault("mask_names", ("sky", "road", "car"))
        return MaskedImages({"a": tmp_path / "a.png"}, {"a": path}, **options)

    return load


@pytest.mark.parametrize("name", ["mask.png", "mask.mat"])
def test_indices_are_kept_and_void_is_255(load, name):
    example = load(name=name, void=(7,))[0]
    expected = np.array(MASK)
    expected[expected == 7] = 255
    mask = example["segmentation_masks"]
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask[..., 0], expected)


def test_colors_become_classes_and_other_black_and_white_void(load, tmp_path):
    values = np.array(MASK)
    palette = np.zeros((256, 3), "uint8")
    palette[:3], palette[255] = COLORS, 255
    values[values == 7] = 1
    Image.fromarray(palette[values]).save(tmp_path / "mask.png")
    mask = load(None, colors=COLORS)[0]["segmentation_masks"]
    np.testing.assert_array_equal(mask[..., 0], values)
    for texts in (
        ["#000000", "#ff0003", "#09FF00"],
        ["black", (255, 0, 3), "09ff00"],
        ["#000", np.uint8([255, 0, 3]), "rgb(9, 255, 0)"],
    ):
        mask = load(None, colors=texts)[0]["segmentation_masks"]
        np.testing.assert_array_equal(mask[..., 0], values)
    no_black = ((1, 1, 1), *COLORS[1:])
    mask = load(None, colors=no_black)[0]["segmentation_masks"]
    expected = np.where(values == 0, 255, values)
    np.testing.assert_array_equal(mask[..., 0], expected)


def test_a_color_that_is_no_class_is_named(load, tmp_path):
    Image.new("RGB", (4, 3), (255, 0, 4)).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=r"\[255, 0, 4\] in .*mask\.png"):
        load(None, colors=COLORS)[0]


@pytest.mark.parametrize(
    "colors",
    [
        COLORS[:2],
        [*COLORS[:2], (0, 0, 256)],
        [(1, 2, 3)] * 3,
        ["#010203", (1, 2, 3), "#000"],
        ["#010203", "#000", "#ff00000"],
        ["#010203", "#000", "#ff000080"],
        ["#010203", "#000", "no such color"],
    ],
)
def test_colors_that_tell_no_classes_apart_are_refused(load, colors):
    with pytest.raises(ValueError, match="one color for each of 3 .*#ff0000"):
        load(colors=colors)


@pytest.mark.parametrize("name", ["mask.png", "mask.mat"])
def test_a_mask_of_another_size_is_named(load, name):
    with pytest.raises(ValueError, match=r"mask\..*\(3, 4\).*\(2, 4\)"):
        load(MASK[:2], name)[0]


@pytest.mark.parametrize("name", ["mask.png", "mask.mat"])
def test_values_that_are_no_class_are_named(load, name):
    with pytest.raises(
        ValueError, match=r"0\.\.2, and 9 or 255 .*\[7\] in .*mask\."
    ):
        load(name=name, void=(9,))[0]


def test_a_mask_that_is_void_everywhere_is_named_unless_allowed(load):
    void = np.full((3, 4), 255)
    with pytest.raises(ValueError, match=r"mask\.png', void everywhere"):
        load(void)[0]
    mask = load(void, allow_void=True)[0]["segmentation_masks"]
    assert (mask == 255).all()


def test_a_colored_mask_given_for_indices_is_named(load, tmp_path):
    Image.new("RGB", (4, 3), (1, 2, 1)).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=r"mask\.png.*'RGB'.*`colors`"):
        load(None)[0]


def test_a_file_that_is_no_mask_is_named(load, tmp_path):
    with pytest.raises(ValueError, match=r"gone\.png' does not exist"):
        load(None, "gone.png")[0]
    (tmp_path / "bad.mat").write_text("no mask")
    with pytest.raises(ValueError, match=r"bad\.mat' cannot be read as a mask"):
        load(None, "bad.mat")[0]


def test_an_image_without_a_mask_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"1 of 2: \['b'\]"):
        MaskedImages({"a": "a.png", "b": "b.png"}, {"a": "m.png"}, ("sky",))


def test_files_are_found_below_a_folder_by_their_ending(save_image, tmp_path):
    save_image("city/x/1_image.png")
    save_image("city/y/1_image.jpg")
    save_image("city/y/1_depth.png")
    (tmp_path / "city/y/notes_image.txt").write_text("no image")
    found = files(tmp_path / "city", ending="_image")
    assert found == {
        "x/1": tmp_path / "city/x/1_image.png",
        "y/1": tmp_path / "city/y/1_image.jpg",
    }
    with pytest.raises(ValueError, match="end with '_mask'.*none"):
        files(tmp_path / "city", ending="_mask")
    save_image("city/y/1_image.png")
    with pytest.raises(ValueError, match="more than their suffix"):
        files(tmp_path / "city", ending="_image")
    with pytest.raises(ValueError, match="Received without .*town"):
        files(tmp_path / "town")


def _masks(tmp_path, values, size=(4, 4)):
    """`{id: path}` of images and of masks that hold so many values each."""
    images, masks = {}, {}
    for number, row in enumerate(values):
        mask = np.resize(np.array(row, "uint8"), size)
        images[f"{number:02}"] = masks[f"{number:02}"] = (
            tmp_path / f"{number}.png"
        )
        Image.fromarray(mask).save(tmp_path / f"{number}.png")
    return images, masks


def test_masks_of_0_and_255_warn_and_name_colors(tmp_path):
    found = _masks(tmp_path, [(0, 255)] * 40)
    with pytest.warns(UserWarning, match=r"'object'.*`colors=\[\(0, 0, 0\)"):
        data = MaskedImages(*found, ("background", "object"))
    assert set(np.unique(data[0]["segmentation_masks"])) == {0, 255}
    # What the warning says to do, mends it.
    colors = [(0, 0, 0), (255, 255, 255)]
    data = MaskedImages(*found, ("background", "object"), colors=colors)
    assert set(np.unique(data[0]["segmentation_masks"])) == {0, 1}


def test_masks_of_0_and_255_warn_where_there_is_a_single_class(tmp_path):
    found = _masks(tmp_path, [(0, 255)] * 3)
    message = r"0, which is the class 'object'.*255, which is void.*`colors="
    with pytest.warns(UserWarning, match=message):
        data = MaskedImages(*found, ("object",))
    assert set(np.unique(data[0]["segmentation_masks"])) == {0, 255}
    # Void that is declared is meant; warnings are errors here.
    MaskedImages(*found, ("object",), void=(255,))


def test_a_class_in_no_mask_is_warned_of_where_all_masks_were_seen(tmp_path):
    names = ("sky", "road", "car")
    few, many = [(0, 1)] * 3, [(0, 1)] * 40
    with pytest.warns(UserWarning, match="1 of 3 classes .*'car'"):
        MaskedImages(*_masks(tmp_path, few), names, is_complete=True)
    # Warnings are errors here: others say nothing, since it may well be rare.
    MaskedImages(*_masks(tmp_path, few), names)
    MaskedImages(*_masks(tmp_path, many), names, is_complete=True)
    MaskedImages(*_masks(tmp_path, [(0, 2), (1, 2)]), names, is_complete=True)
    MaskedImages(*_masks(tmp_path, [(0, 0)]), names[:1])


def test_a_class_that_few_masks_show_may_be_in_the_others(
    save_image, save_mask, tmp_path
):
    """Of many masks some are looked at, which the warning says."""
    save_image("a.png", size=(3, 4))
    save_mask("b.png", np.zeros((3, 4), int))
    names = [str(i) for i in range(40)]
    for count, message in (
        (40, r"'b'\. Unless .* check"), (9, r"no mask: 'b'\. Check"),
    ):  # fmt: skip
        images = dict.fromkeys(names[:count], tmp_path / "a.png")
        with pytest.warns(UserWarning, match=message) as told:
            MaskedImages(
                images, dict.fromkeys(images, tmp_path / "b.png"), ("a", "b"),
                is_complete=True,
            )  # fmt: skip
        many = "of the 16, of 40, looked at" in str(told[0].message)
        assert many == (count == 40)
