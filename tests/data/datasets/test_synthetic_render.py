"""Pixels of the synthetic world against its boxes and masks."""

import colorsys
import dataclasses

import numpy as np
import pytest

from keras_jft.data.datasets import synthetic
from keras_jft.data.datasets.synthetic import (
    annotations,
    shapes,
    textures,
    vocabulary,
)

# An object on one even color, and nothing else.
BARE = dataclasses.replace(
    synthetic.PRESETS["standard"],
    clutter=0.0,
    distractors=0,
    occlusion=0.0,
    shading=0.0,
    noise=0.0,
)


def painted(image):
    """`(H, W)` bool, where an image of `BARE` is not its background."""
    return (image != np.median(image, axis=(0, 1))).any(axis=-1)


def inside(mask):
    """Where a pixel and its eight neighbors are all True."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    return np.logical_and.reduce(
        [
            padded[y : y + height, x : x + width]
            for y in range(3)
            for x in range(3)
        ]
    )


@pytest.mark.parametrize("height, width", ((32, 32), (48, 80), (60, 40)))
def test_a_box_is_tight_around_the_pixels_of_its_object(height, width):
    # The same scene, five times finer, shows where the object really ends.
    coarse, fine = (
        synthetic.load(
            task="detection", preset=BARE, image_size=(k * height, k * width)
        ).take(range(100))
        for k in (1, 5)
    )
    errors = []
    for example, sharp in zip(coarse, fine, strict=True):
        boxes = example["bounding_boxes"]["boxes"]
        if len(boxes) == 1:
            rows, columns = np.nonzero(painted(sharp["images"]))
            extent = (
                columns.min(),
                rows.min(),
                columns.max() + 1,
                rows.max() + 1,
            )
            errors.append(np.abs(np.divide(extent, 5) - boxes[0]))
    assert len(errors) > 9
    assert np.mean(errors) < 0.4
    # A sharp tip may cover less than half of its last two pixels.
    assert np.max(errors) < 2


def test_every_object_has_its_box():
    data = synthetic.load(task="detection", preset=BARE, image_size=64)
    for example in data.take(range(60)):
        rest = painted(example["images"])
        for x0, y0, x1, y1 in example["bounding_boxes"]["boxes"].astype(int):
            rest[max(y0 - 2, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 2] = False
        assert rest.sum() < 4  # The tip of a crescent.


def test_a_mask_says_the_hue_of_its_pixels():
    data = synthetic.load(task="segmentation", preset=BARE, image_size=64)
    hues = {"red": 0, "orange": 30, "yellow": 60, "green": 120, "cyan": 180}
    hues |= {"blue": 220, "purple": 272, "pink": 322}
    assert data.info.mask_names == ("background", *hues)
    right = []
    for example in data.take(range(40)):
        mask = example["segmentation_masks"][..., 0]
        for value in np.unique(mask[mask > 0]):
            for pixel in example["images"][inside(mask == value)]:
                hue = 360 * colorsys.rgb_to_hsv(*pixel / 255)[0]
                away = np.abs((np.array(list(hues.values())) - hue + 180) % 360)
                right.append(np.abs(away - 180).argmin() == value - 1)
    assert len(right) > 5000
    assert np.mean(right) > 0.995


def test_a_mask_covers_what_is_painted_and_no_more():
    data = synthetic.load(task="segmentation", preset=BARE, image_size=64)
    for example in data.take(range(40)):
        mask = example["segmentation_masks"][..., 0] > 0
        foreground = painted(example["images"])
        assert foreground[mask].all()
        assert foreground[inside(inside(~mask))].mean() < 0.002


def test_masks_of_color_shape_and_family_have_one_outline():
    kinds = {
        kind: synthetic.load(task="segmentation", masks=kind, image_size=48)
        for kind in synthetic.MASKS
    }
    names = {kind: data.info.mask_names for kind, data in kinds.items()}
    assert [len(n) for n in names.values()] == [9, 11, 5]
    for color, shape, family in zip(
        *(data.take(range(20)) for data in kinds.values()), strict=True
    ):
        shape, family = (
            e["segmentation_masks"].ravel() for e in (shape, family)
        )
        color = color["segmentation_masks"].ravel()
        np.testing.assert_array_equal(color > 0, shape > 0)
        for s, f in set(zip(shape.tolist(), family.tolist(), strict=True)):
            if s:
                shape_name = names["shape"][s]
                assert names["family"][f] == vocabulary.SHAPES[shape_name]
            else:
                assert f == 0


def test_nothing_without_a_name_is_in_a_mask():
    busy = dataclasses.replace(BARE, distractors=6, occlusion=1.0)
    masks, bare = (
        synthetic.load(task="segmentation", preset=preset, image_size=48)
        for preset in (busy, BARE)
    )
    less = 0
    for a, b in zip(masks.take(range(30)), bare.take(range(30)), strict=True):
        kept = a["segmentation_masks"] == b["segmentation_masks"]
        assert (a["segmentation_masks"][~kept] == 0).all()
        less += (~kept).sum()
        # What is not hidden looks the same.
        same = (a["images"] == b["images"]).all(axis=-1)
        seen = (a["segmentation_masks"] > 0)[..., 0]
        assert same[inside(inside(seen))].all()
    assert less > 500


def test_a_void_ring_is_where_a_neighbor_has_a_higher_class():
    plain, ringed = (
        synthetic.load(task="segmentation", image_size=24, void_ring=ring)
        for ring in (False, True)
    )
    for a, b in zip(plain.take(range(10)), ringed.take(range(10)), strict=True):
        mask = a["segmentation_masks"][..., 0]
        for y in range(24):
            for x in range(24):
                neighbors = [
                    mask[j, i]
                    for j, i in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
                    if 0 <= j < 24 and 0 <= i < 24
                ]
                expected = 255 if max(neighbors) > mask[y, x] else mask[y, x]
                assert b["segmentation_masks"][y, x, 0] == expected


def test_the_box_of_a_mask_is_that_of_numpy_nonzero():
    masks = np.random.default_rng(0).random((30, 7, 9)) < 0.05
    masks[0] = False
    for mask, box in zip(masks, annotations.boxes(masks), strict=True):
        rows, columns = np.nonzero(mask)
        expected = (
            (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            if len(rows)
            else (0, 0, 0, 0)
        )
        np.testing.assert_array_equal(box, expected)


def grid(half_side, step):
    axis = np.arange(-half_side, half_side, step, dtype="float32") + step / 2
    return np.meshgrid(axis, axis)


@pytest.mark.parametrize("name", shapes.FIELDS)
def test_every_shape_fills_its_disc_and_leaves_it_nowhere(name):
    u, v = grid(1.5, 0.01)
    covered = shapes.FIELDS[name](u, v) < 0
    radius = np.sqrt(u * u + v * v)[covered]
    assert radius.max() < 1.02
    assert radius.max() > 0.85
    assert 0.2 < covered.sum() * 0.01**2 < 3.15


@pytest.mark.parametrize("name", shapes.FIELDS)
def test_every_shape_is_about_as_steep_as_a_distance_at_its_edge(name):
    u, v = grid(1.5, 0.01)
    field = shapes.FIELDS[name](u, v)
    steepness = np.hypot(*np.gradient(field, 0.01))[np.abs(field) < 0.01]
    # A blob is bent; a field is flatter where two edges meet.
    assert np.quantile(steepness, 0.05) > (0.4 if name == "blob" else 0.55)
    assert np.quantile(steepness, 0.98) < (2.0 if name == "blob" else 1.02)


def test_no_two_shapes_cover_the_same():
    u, v = grid(1, 0.02)
    covered = {
        name: shapes.FIELDS[name](u, v) < 0 for name in vocabulary.SHAPES
    }
    for a in covered:
        for b in covered:
            both = (covered[a] & covered[b]).sum()
            assert a == b or both / (covered[a] | covered[b]).sum() < 0.85


@pytest.mark.parametrize("name", textures.FIELDS)
def test_a_texture_has_two_tones_that_fade_where_it_is_too_fine(name):
    u, v = grid(0.9, 0.02)
    light = textures.FIELDS[name](u, v, 100.0)
    assert light.min() >= 0 and light.max() <= 1
    if name == "plain":
        assert (light == 1).all()
        return
    assert 0.15 < light.mean() < 0.85
    assert (np.abs(light - 0.5) > 0.45).mean() > 0.8
    faint = textures.FIELDS[name](u, v, 0.1)
    assert np.abs(faint - faint.mean()).max() < 0.15


def test_edges_are_smooth():
    # The light that an object sends does not depend on the size of a pixel.
    disc = dataclasses.replace(BARE, sizes=(0.5, 0.5))
    for position in range(12):
        means = [
            synthetic.load(task="classification", preset=disc, image_size=size)[
                position
            ]["images"].mean()
            for size in (16, 160)
        ]
        assert means[0] == pytest.approx(means[1], abs=1.0)
