"""Transforms move images, masks, boxes and keypoints together."""

import numpy as np
import pytest
from scipy import stats

from keras_jft.data.batch import check_batch, collate
from keras_jft.data.transforms import (
    CenterCrop,
    CentralCrop,
    CropPerson,
    InceptionCrop,
    Pad,
    PadTo,
    RandAugment,
    RandomCrop,
    RandomFlip,
    Resize,
    ResizedCrop,
    ResizeShortest,
)
from keras_jft.data.transforms.presets import TRANSFORMS

NAMES = ("nose", "left_eye", "right_eye")


@pytest.fixture
def example(rng):
    """One marked pixel: its box, mask and keypoint lie on it."""
    image = np.zeros((20, 30, 3), "uint8")
    mask = np.full((20, 30, 1), 255, "uint8")
    image[8, 11] = 200
    mask[8, 11] = 7
    return {
        "images": image,
        "labels": np.int32(3),
        "bounding_boxes": {
            "boxes": np.float32([[11, 8, 12, 9], [0, 0, 30, 20]]),
            "labels": np.int32([4, 5]),
        },
        "segmentation_masks": mask,
        "keypoints": np.float32([[11.5, 8.5, 2], [1, 2, 1], [0, 0, 0]]),
        "ids": "a.jpg",
    }


def _marked(example):
    """Row and column of the marked pixel, alike in image and mask."""
    in_image = np.argwhere(example["images"][..., 0] == 200)
    in_mask = np.argwhere(example["segmentation_masks"][..., 0] == 7)
    np.testing.assert_array_equal(in_image, in_mask)
    assert len(in_image) == 1
    return in_image[0]


def _assert_together(example):
    row, column = _marked(example)
    check_batch(collate([example]))
    assert example["bounding_boxes"]["labels"][0] == 4
    assert example["bounding_boxes"]["boxes"][0].tolist() == [
        column, row, column + 1, row + 1,
    ]  # fmt: skip
    assert [column + 0.5, row + 0.5, 2] in example["keypoints"].tolist()
    assert example["labels"] == 3
    assert example["ids"] == "a.jpg"


def test_a_flip_mirrors_everything_and_swaps_left_and_right(example, rng):
    flipped = RandomFlip(NAMES, probability=1.0)(example, rng)
    np.testing.assert_array_equal(
        flipped["images"], np.fliplr(example["images"])
    )
    _assert_together(flipped)
    assert _marked(flipped).tolist() == [8, 30 - 1 - 11]
    # The left eye, at (1, 2), is now the right one.
    assert flipped["keypoints"].tolist() == [
        [18.5, 8.5, 2],
        [0, 0, 0],
        [29, 2, 1],
    ]
    again = RandomFlip(NAMES, probability=1.0)(flipped, rng)
    for key in ("images", "segmentation_masks", "keypoints"):
        np.testing.assert_array_equal(again[key], example[key])
    np.testing.assert_array_equal(
        again["bounding_boxes"]["boxes"], example["bounding_boxes"]["boxes"]
    )


def test_a_keypoint_on_the_border_stays_in_the_image(example, rng):
    example["keypoints"] = np.float32([[0, 20, 1]])
    flipped = RandomFlip(("nose",), probability=1.0)(example, rng)
    assert flipped["keypoints"].tolist() == [[30, 20, 1]]


def test_pairs_say_what_names_do_not(example, rng):
    usual = RandomFlip(NAMES, 1.0)(example, rng)["keypoints"]
    for names, pairs in (
        (("a", "b", "c"), [("b", "c")]),
        ((), [(2, 1)]),
        (("nose", "Left Eye", "Right Eye"), None),
    ):
        flip = RandomFlip(names, 1.0, flip_pairs=pairs)
        found = flip(example, rng)["keypoints"]
        np.testing.assert_array_equal(found, usual)
    unswapped = RandomFlip(("a", "left_b", "c"), 1.0, flip_pairs=())
    np.testing.assert_array_equal(
        unswapped(example, rng)["keypoints"], usual[[0, 2, 1]]
    )


def test_about_half_of_200_examples_are_flipped(example):
    flips = 0
    for seed in range(200):
        moved = RandomFlip(NAMES)(example, np.random.default_rng(seed))
        flips += _marked(moved)[1] == 18
        _assert_together(moved)
    assert stats.binomtest(flips, 200).pvalue > 0.001


def test_a_crop_moves_everything_by_its_offset(example, rng):
    moved = CenterCrop((10, 16))(example)
    assert moved["images"].shape == (10, 16, 3)
    assert _marked(moved).tolist() == [8 - 5, 11 - 7]
    _assert_together(moved)
    # The large box is clipped; the eye at (1, 2) is outside, so unlabeled.
    assert moved["bounding_boxes"]["boxes"][1].tolist() == [0, 0, 16, 10]
    assert moved["keypoints"][1:].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_boxes_outside_a_crop_are_dropped(example):
    moved = CenterCrop((2, 2))(example)
    assert moved["bounding_boxes"]["labels"].tolist() == [5]
    assert moved["bounding_boxes"]["boxes"].tolist() == [[0, 0, 2, 2]]


def test_what_belongs_to_boxes_moves_with_them(example):
    entry = example["bounding_boxes"]
    entry["ignored"] = np.array([True, False])
    entry["areas"] = np.float32([0.5, 300])
    doubled = Resize((40, 60))(example)["bounding_boxes"]
    assert doubled["areas"].tolist() == [2, 1200]
    assert doubled["ignored"].tolist() == [True, False]
    # The middle 10 x 10 of the box of 20 x 30, half of which is the object.
    middle = CenterCrop((10, 10))(example)["bounding_boxes"]
    assert middle["areas"][-1] == 50
    corner = {**example, "images": example["images"][:2, :2]}
    corner["segmentation_masks"] = example["segmentation_masks"][:2, :2]
    kept = CenterCrop((2, 2))(corner)["bounding_boxes"]
    assert kept["labels"].tolist() == [5], "the first lies outside"
    assert kept["areas"].tolist() == [2]
    assert kept["ignored"].tolist() == [False]


def test_random_crops_reach_every_offset_equally_often(example):
    gradient = np.arange(20)[:, None] * 30 + np.arange(30)
    example["images"] = np.repeat(gradient[..., None] % 256, 3, -1).astype(
        "uint8"
    )
    counts = np.zeros((3, 4))
    for seed in range(600):
        rng = np.random.default_rng(seed)
        window = RandomCrop((18, 27))(example, rng)["images"]
        offsets = [
            (top, left)
            for top in range(3)
            for left in range(4)
            if (
                window == example["images"][top : top + 18, left : left + 27]
            ).all()
        ]
        assert len(offsets) == 1
        counts[offsets[0]] += 1
    assert stats.chisquare(counts.ravel()).pvalue > 0.001


def test_random_crops_move_everything_together(example):
    for seed in range(50):
        rng = np.random.default_rng(seed)
        _assert_together(RandomCrop((14, 20))(example, rng))


def test_a_margin_shifts_everything_and_is_void_in_masks(example):
    moved = Pad(3, value=9)(example)
    assert moved["images"].shape == (26, 36, 3)
    assert _marked(moved).tolist() == [11, 14]
    _assert_together(moved)
    assert (moved["images"][:3] == 9).all() and (
        moved["images"][:, -3:] == 9
    ).all()
    assert (moved["segmentation_masks"][-3:] == 255).all()
    assert moved["bounding_boxes"]["boxes"][1].tolist() == [3, 3, 33, 23]


def test_resizing_scales_coordinates_and_takes_the_nearest_mask(example, rng):
    mask = rng.integers(0, 256, (20, 30, 1), "uint8")
    moved = Resize((32, 8))({**example, "segmentation_masks": mask})
    # The nearest pixel to the center of each new one.
    rows = ((np.arange(32) + 0.5) * 20 / 32).astype(int)
    columns = ((np.arange(8) + 0.5) * 30 / 8).astype(int)
    np.testing.assert_array_equal(
        moved["segmentation_masks"], mask[rows][:, columns]
    )
    np.testing.assert_allclose(
        moved["bounding_boxes"]["boxes"][0],
        [44 / 15, 12.8, 3.2, 14.4],
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        moved["keypoints"][0], [46 / 15, 13.6, 2], rtol=1e-6
    )


def _triangle(old, new):
    """`(new, old)` weights of anti-aliased linear resampling."""
    scale = max(old / new, 1)
    centers = (np.arange(new)[:, None] + 0.5) * old / new
    weights = 1 - abs(np.arange(old) + 0.5 - centers) / scale
    weights = np.maximum(weights, 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [(10, 10), (41, 60), (7, 45)])
def test_resizing_is_linear_and_anti_aliased(example, rng, size):
    image = rng.integers(0, 256, (20, 30, 3), "uint8")
    resized = Resize(size)({**example, "images": image})["images"]
    expected = np.einsum(
        "yh,xw,hwc->yxc", _triangle(20, size[0]), _triangle(30, size[1]), image
    )
    assert resized.dtype == np.uint8
    # Each of the two passes rounds.
    assert abs(resized - expected).max() <= 1.5


@pytest.mark.parametrize(
    "size, expected",
    [
        # By hand: the scale is 600 / the shorter side, or 1024 / the longer.
        ((480, 640), (600, 800)),
        ((333, 500), (600, 901)),
        ((500, 333), (901, 600)),
        ((427, 1000), (437, 1024)),
        ((600, 1024), (600, 1024)),
        ((1, 3000), (1, 1024)),
    ],
)
def test_the_shorter_side_gets_its_length(size, expected):
    assert ResizeShortest(600, 1024).image_size_of(size) == expected
    with pytest.raises(ValueError, match="at most `longest`"):
        ResizeShortest(600, 500)


def test_the_aspect_ratio_is_kept_and_everything_moves(example):
    moved = ResizeShortest(40, 100)(example)
    assert moved["images"].shape == (40, 60, 3)
    assert moved["bounding_boxes"]["boxes"][0].tolist() == [22, 16, 24, 18]
    assert moved["keypoints"][0].tolist() == [23, 17, 2]
    assert (moved["segmentation_masks"][16:18, 22:24] == 7).all()


def test_padding_is_gray_and_void_and_remembers_the_image(example, rng):
    moved = PadTo((22, 35))(example)
    assert moved["images"].shape == (22, 35, 3)
    assert (moved["images"][20:] == 127).all()
    assert (moved["images"][:, 30:] == 127).all()
    assert (moved["segmentation_masks"][20:] == 255).all()
    assert moved["image_sizes"].tolist() == [20, 30]
    _assert_together(moved)
    assert PadTo((30, 40))(moved)["image_sizes"].tolist() == [20, 30]
    batch = collate([PadTo()(example), PadTo()(CenterCrop((9, 30))(example))])
    check_batch(batch)
    assert batch["image_sizes"].tolist() == [[20, 30], [9, 30]]
    with pytest.raises(ValueError, match=r"fit into PadTo.*a\.jpg.*Resize"):
        PadTo((19, 40))(example)


def test_examples_are_not_changed_in_place(example, rng):
    before = {
        key: np.copy(example[key])
        for key in ("images", "segmentation_masks", "keypoints")
    }
    boxes = example["bounding_boxes"]["boxes"].copy()
    for transform in (
        Resize((9, 9)), Pad(2), RandomCrop((4, 4)), CenterCrop((4, 4)),
        RandomFlip(NAMES, probability=1.0), ResizeShortest(9, 12), PadTo(),
        PadTo((32, 32)),
    ):  # fmt: skip
        transform(example, rng)
        for key, value in before.items():
            np.testing.assert_array_equal(example[key], value)
        np.testing.assert_array_equal(example["bounding_boxes"]["boxes"], boxes)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("training", [True, False])
def test_presets_keep_the_contract(example, name, training, rng):
    image = rng.integers(0, 256, (32, 32, 3), "uint8")
    mask = np.zeros((32, 32, 1), "uint8")
    example |= {"images": image, "segmentation_masks": mask}
    shapes = set()
    for transform in TRANSFORMS[name](training, keypoint_names=NAMES):
        example = transform(example, rng)
    shapes.add(example["images"].shape)
    check_batch(collate([example]))
    sides = {
        "jft": 299,
        "imagenet": 224,
        "modern": 224,
        "detection": 600,
        "segmentation": 513,
        "segmentation_padded": 513,
    }
    side = sides.get(name, 32)
    size = {"pose": (353, 257), "pose_small": (65, 49)}.get(name, (side, side))
    assert shapes == {(*size, 3)}


def test_presets_are_the_published_steps():
    preset = TRANSFORMS["jft"]
    sizes = (340, 340), (299, 299)
    assert preset(False) == (
        ResizedCrop(*sizes, random=False, antialias=False),
    )
    assert preset(True) == (ResizedCrop(*sizes, antialias=False), RandomFlip())
    small = preset(True, resize=(40, 40), crop=(32, 32), antialias=True)
    assert small[0] == ResizedCrop((40, 40), (32, 32))
    assert TRANSFORMS["imagenet"](True) == (InceptionCrop(), RandomFlip())
    assert TRANSFORMS["imagenet"](False) == (CentralCrop((224, 224), 0.875),)
    assert TRANSFORMS["modern"](True)[2] == RandAugment(2, 0.9)
    assert TRANSFORMS["modern"](False) == TRANSFORMS["imagenet"](False)
    assert TRANSFORMS["flip"](False) == TRANSFORMS["none"](True) == ()
    assert TRANSFORMS["shift_and_flip"](True)[0] == Pad(4)
    assert TRANSFORMS["segmentation"](False) == (Resize((513, 513)),)
    assert TRANSFORMS["detection"](True) == (
        RandomFlip(), ResizeShortest(600, 1024), PadTo(),
    )  # fmt: skip
    assert TRANSFORMS["pose"](False) == (CropPerson((353, 257), (1.25, 1.25)),)
    assert TRANSFORMS["pose"](True)[0].scales == (1.0, 1.5)
    padded = TRANSFORMS["segmentation_padded"](False)
    assert padded == (ResizeShortest(513, 513), PadTo((513, 513)))


@pytest.mark.parametrize("random", [True, False])
@pytest.mark.parametrize("antialias", [True, False])
def test_cropping_first_changes_no_more_than_one_gray_level(
    example, rng, random, antialias
):
    example["images"] = rng.integers(0, 256, (20, 30, 3), "uint8")
    example["segmentation_masks"] = rng.integers(0, 256, (20, 30, 1), "uint8")
    for seed in range(20):
        size = tuple(map(int, rng.integers(14, 50, 2)))
        crop = RandomCrop((13, 14)) if random else CenterCrop((13, 14))
        steps = Resize(size, antialias=antialias), crop
        expected = example
        for step in steps:
            expected = step(expected, np.random.default_rng(seed))
        fused = ResizedCrop(size, (13, 14), random, antialias)
        moved = fused(example, np.random.default_rng(seed))
        gaps = moved["images"].astype(int) - expected["images"]
        assert abs(gaps).max() <= 1
        for key in ("segmentation_masks", "keypoints"):
            np.testing.assert_allclose(moved[key], expected[key], rtol=1e-5)
        for key, rows in expected["bounding_boxes"].items():
            found = moved["bounding_boxes"][key]
            np.testing.assert_allclose(found, rows, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"`resize` of size \(12, 40\)"):
        ResizedCrop((12, 40), (13, 14))


def test_wrong_use_is_an_error_that_says_what_to_do(example, rng):
    with pytest.raises(ValueError, match=r"a\.jpg.*\(20, 30\).*Resize or pad"):
        CenterCrop((21, 30))(example)
    with pytest.raises(ValueError, match="0 names for 3 keypoints"):
        RandomFlip(probability=1.0)(example, rng)
    with pytest.raises(ValueError, match=r"\['left_eye'\].*`flip_pairs`"):
        RandomFlip(("nose", "left_eye"))
    for size in (32, (0, 4), (4.0, 4), (4, 4, 3)):
        with pytest.raises(ValueError, match="`image_size` must be"):
            Resize(size)


def test_sizes_may_be_lists_and_of_numpy(example, rng):
    for make in (Resize, RandomCrop, CenterCrop, PadTo):
        for size in ([20, 30], list(np.int64([20, 30])), (20, np.int32(30))):
            transform = make(size)
            assert transform == make((20, 30))
            assert hash(transform) == hash(make((20, 30)))
            assert transform(example, rng)["images"].shape == (20, 30, 3)
    fused = ResizedCrop([np.int64(40), 50], [20, 30])
    assert fused == ResizedCrop((40, 50), (20, 30))
    assert fused(example, rng)["images"].shape == (20, 30, 3)
    for size in (40, "40", (40.0, 50), (40, 50, 3)):
        with pytest.raises(ValueError, match="`resize` must be"):
            ResizedCrop(size, (20, 30))
