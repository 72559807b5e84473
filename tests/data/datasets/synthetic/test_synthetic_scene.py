"""Where the things of the synthetic world are, and what they look like."""

import colorsys
import dataclasses

import numpy as np
import pytest

from keras_jft.data.datasets.synthetic import scene, vocabulary

KEYS = np.arange(3000, dtype="uint64")
PRESET = vocabulary.PRESETS["standard"]


def shown(*counts):
    """Combinations for `KEYS`: so many objects an image, in turn."""
    rng = np.random.default_rng(0)
    combinations = rng.integers(0, 480, (len(KEYS), max(counts)))
    number = np.resize(counts, len(KEYS))[:, None]
    return np.where(np.arange(max(counts)) < number, combinations, -1)


@pytest.fixture(scope="module")
def things():
    return scene.objects(KEYS, shown(1, 2, 3), (1.5, 1.0), PRESET)


def test_a_draw_is_uniform_and_differs_by_key_and_name():
    first, second = (scene.draw(KEYS, name, 2, 6) for name in ("a", "b"))
    counts, _ = np.histogram(first, 4, (2, 6))
    assert np.abs(counts - 750).max() < 110
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.08
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.08
    assert len(np.unique(first)) == len(KEYS)


def test_objects_are_what_they_are_called(things):
    combinations = shown(1, 2, 3)
    present = combinations >= 0
    shape, texture, _ = vocabulary.parts(combinations[present])
    np.testing.assert_array_equal(things.shape >= 0, present)
    np.testing.assert_array_equal(things.shape[present], shape)
    np.testing.assert_array_equal(things.texture[present], texture)
    np.testing.assert_array_equal(things.tag, combinations)


def test_objects_keep_within_the_limits_of_their_preset(things):
    present = things.shape >= 0
    diameters = 2 * things.radius * present.sum(axis=1, keepdims=True) ** 0.4
    limits = {
        "size": (diameters, PRESET.sizes),
        "angle": (things.angle, (-PRESET.rotation, PRESET.rotation)),
        "aspect": (things.aspect, (1 - PRESET.aspect, 1 + PRESET.aspect)),
        "x": (things.x, (0, 1.5)),
        "y": (things.y, (0, 1)),
    }
    for name, (values, (low, high)) in limits.items():
        values = values[present]
        assert values.min() >= low and values.max() <= high, name
        assert np.ptp(values) > 0.7 * (high - low), name


def test_hues_stay_nearest_to_their_own_color(things):
    present = things.shape >= 0
    _, _, color = vocabulary.parts(things.tag[present])
    hues = [
        colorsys.rgb_to_hsv(*rgb)[0] for rgb in things.light[present].tolist()
    ]
    for position in range(len(vocabulary.COLORS)):
        # On the circle: the spread about the first, and the mean.
        own = np.array(hues)[color == position]
        away = (own - own[0] + 0.5) % 1 - 0.5
        assert np.ptp(away) == pytest.approx(2 * PRESET.hue_jitter, rel=0.05)


def test_objects_rarely_overlap(things):
    pairs = things.shape[:, 1] >= 0
    distance = np.hypot(
        things.x[pairs, 0] - things.x[pairs, 1],
        things.y[pairs, 0] - things.y[pairs, 1],
    )
    reach = things.radius[pairs, 0] + things.radius[pairs, 1]
    at_random = np.hypot(
        things.x[pairs, 0] - np.roll(things.x[pairs, 1], 1),
        things.y[pairs, 0] - np.roll(things.y[pairs, 1], 1),
    )
    assert (distance < reach).mean() < 0.1 < (at_random < reach).mean()


def test_another_preset_shows_the_same_scene_harder():
    hard = scene.objects(KEYS, shown(1), (1, 1), vocabulary.PRESETS["hard"])
    easy = scene.objects(KEYS, shown(1), (1, 1), vocabulary.PRESETS["easy"])
    np.testing.assert_array_equal(hard.shape, easy.shape)
    for name in ("x", "y", "angle", "radius"):
        a, b = (getattr(things, name).ravel() for things in (hard, easy))
        assert np.corrcoef(a, b)[0, 1] > 0.9, name


def test_occluders_come_as_often_as_asked():
    x = y = radius = np.full(len(KEYS), 0.4)
    for rate in (0.0, 0.3, 1.0):
        preset = dataclasses.replace(PRESET, occlusion=rate)
        there = scene.occluders(KEYS, x, y, radius, preset).shape >= 0
        assert there.mean() == pytest.approx(rate, abs=0.04)


def test_things_without_a_name_are_muted():
    things = scene.distractors(KEYS, (1, 1), PRESET)
    light = things.light.reshape(-1, 3)
    saturation = 1 - light.min(axis=1) / light.max(axis=1)
    assert saturation.max() <= 0.35 + 1e-9
    assert (things.tag == -1).all()
    assert (things.shape >= 0).mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("hue", np.linspace(0, 0.99, 12))
def test_rgb_is_that_of_colorsys(hue):
    expected = colorsys.hsv_to_rgb(hue, 0.7, 0.9)
    np.testing.assert_allclose(
        scene.rgb(hue, np.array(0.7), np.array(0.9)), expected, atol=1e-9
    )
