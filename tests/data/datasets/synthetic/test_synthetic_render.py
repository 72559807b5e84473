"""Pixels of the synthetic world at every size."""

import dataclasses

import numpy as np
import pytest

from keras_jft.data.datasets import synthetic
from keras_jft.data.datasets.synthetic import render, scene, vocabulary


@pytest.mark.parametrize("task", synthetic.TASKS)
def test_the_size_of_an_image_changes_only_its_resolution(task):
    quiet = synthetic.Preset(
        **{**vars(synthetic.PRESETS["standard"]), "noise": 0.0}
    )
    sizes = ((32, 48), (96, 144))
    small, large = (
        synthetic.load(task=task, preset=quiet, image_size=size).take(range(16))
        for size in sizes
    )
    for a, b in zip(small, large, strict=True):
        shrunk = b["images"].reshape(32, 3, 48, 3, 3).mean(axis=(1, 3))
        assert np.abs(shrunk - a["images"]).mean() < 2.5
        if task == "pose":
            np.testing.assert_allclose(
                b["keypoints"][:, :2], 3 * a["keypoints"][:, :2], rtol=1e-5
            )
            np.testing.assert_array_equal(
                b["keypoints"][:, 2], a["keypoints"][:, 2]
            )


def test_one_pixel_and_six_hundred_are_sizes_too():
    assert synthetic.load(image_size=1)[0]["images"].shape == (1, 1, 3)
    large = synthetic.load(task="detection", image_size=600)[0]
    assert large["images"].shape == (600, 600, 3)
    assert large["bounding_boxes"]["boxes"].max() > 200


def test_edges_are_smooth(bare):
    # The light that an object sends does not depend on the size of a pixel.
    disc = dataclasses.replace(bare, sizes=(0.5, 0.5))
    for position in range(12):
        means = [
            synthetic.load(task="classification", preset=disc, image_size=size)[
                position
            ]["images"].mean()
            for size in (16, 160)
        ]
        assert means[0] == pytest.approx(means[1], abs=1.0)


def test_noise_is_white_and_as_strong_as_asked():
    keys = np.arange(40, dtype="uint64")
    noisy = dataclasses.replace(
        vocabulary.PRESETS["easy"], clutter=0.0, shading=0.0, noise=0.05
    )
    backdrop = dataclasses.replace(
        scene.backdrop(keys, noisy), base=np.full((40, 3), 0.5)
    )
    nothing = scene.distractors(
        keys, (1, 1), dataclasses.replace(noisy, distractors=0)
    )
    images, top = render.paint(nothing, backdrop, 24, 24)
    noise = images.astype(float) - 127.5
    assert (top == -1).all()
    assert abs(noise.mean()) < 0.2
    assert noise.std() == pytest.approx(0.05 * 255, rel=0.02)
    flat = noise / noise.std()
    others = {
        "image": flat[1:] * flat[:-1],
        "row": flat[:, 1:] * flat[:, :-1],
        "column": flat[:, :, 1:] * flat[:, :, :-1],
        "channel": flat[..., 1:] * flat[..., :-1],
        "channel and column": flat[:, :, 1:, :-1] * flat[:, :, :-1, 1:],
    }
    for along, products in others.items():
        assert abs(products.mean()) < 4 / products.size**0.5, along


def test_a_point_is_covered_by_what_is_painted_on_its_pixel():
    keys = np.arange(30, dtype="uint64")
    preset = dataclasses.replace(vocabulary.PRESETS["hard"], noise=0.0)
    extent = (1.5, 1.0)
    things = scene.distractors(keys, extent, preset)
    _, top = render.paint(things, scene.backdrop(keys, preset), 40, 60)
    y, x = np.mgrid[:40, :60].reshape(2, -1) + 0.5
    points = (np.repeat(axis[None] / 40, 30, axis=0) for axis in (x, y))
    covered = render.covers(things, *points)  # (30, slots, 2400)
    slots = np.arange(preset.distractors)[:, None]
    highest = np.where(covered, slots, -1).max(axis=1)
    assert (highest >= 0).mean() > 0.1
    # Exactly half a pixel may round either way.
    assert (highest == top.reshape(30, -1)).mean() > 0.9999
