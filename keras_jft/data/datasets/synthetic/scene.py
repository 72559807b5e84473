"""The contents of an image as numbers, independent of pixels.

Lengths are in units of the image's shorter side; x points right and y down from
the upper left corner.

Shapes: N images, S slots of things per image in the order in which they are
painted, W waves of a backdrop.
"""

import dataclasses

import numpy as np

from keras_jft.data import keyed_random
from keras_jft.data.datasets.synthetic import shapes, textures, vocabulary

_HUES = {  # In degrees.
    "red": 0,
    "orange": 30,
    "yellow": 58,
    "green": 120,
    "cyan": 178,
    "blue": 222,
    "purple": 272,
    "pink": 322,
}
_DARK = 0.35  # Brightness of a texture's dark tone relative to its light tone.
_CANDIDATES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Things:
    """The things in N images, S slots each, the ones in front last.

    Attributes:
        shape: `(N, S)` position in `shapes.FIELDS`; -1 is an empty slot.
        texture: `(N, S)` position in `textures.FIELDS`.
        x: `(N, S)` x of the center.
        y: `(N, S)` y of the center.
        radius: `(N, S)` radius of the disc around the shape.
        aspect: `(N, S)` width over height.
        stretch: `(N, S)` half the length by which the shape is pulled apart
            along its own u axis, in radii.
        angle: `(N, S)` rotation in turns, from x to y.
        light: `(N, S, 3)` RGB of the light tone, in [0, 1].
        dark: `(N, S, 3)` RGB of the dark tone.
        tag: `(N, S)` what the thing means to the task: a combination, or part
            of a figure; -1 is nothing.
    """

    shape: np.ndarray
    texture: np.ndarray
    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    aspect: np.ndarray
    stretch: np.ndarray
    angle: np.ndarray
    light: np.ndarray
    dark: np.ndarray
    tag: np.ndarray

    @classmethod
    def concatenate(cls, groups):
        """Return all slots of several groups, later groups in front."""
        return cls(
            **{
                field.name: np.concatenate(
                    [getattr(group, field.name) for group in groups], axis=1
                )
                for field in dataclasses.fields(cls)
            }
        )

    def each(self, function):
        """Return `Things` with `function` applied to every array."""
        return Things(
            **{
                field.name: function(getattr(self, field.name))
                for field in dataclasses.fields(self)
            }
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backdrop:
    """The background and the light of N images, W waves each.

    Attributes:
        base: `(N, 3)` mean RGB.
        colors: `(N, W, 3)` RGB that each wave adds at its crest.
        frequencies: `(N, W, 2)` radians per unit of x and of y.
        phases: `(N, W)` radians.
        light: `(N, 3)` exposure at the center, and its slopes in x and y.
        noise: Standard deviation of the noise of a pixel.
        noise_keys: `(N,)` uint32, one noise pattern each.
    """

    base: np.ndarray
    colors: np.ndarray
    frequencies: np.ndarray
    phases: np.ndarray
    light: np.ndarray
    noise: float
    noise_keys: np.ndarray


def draw(keys, name, low=0.0, high=1.0):
    """Draw uniform numbers in [low, high), one per key; `name` is the draw."""
    return low + (high - low) * keyed_random.uniform(0, keys, name)


def slot_keys(keys, group, num):
    """Return `(N, num)` keys of the slots of `group` in each image."""
    return keyed_random.hash64(
        keyed_random.hash64(keys, group)[:, None], np.arange(num)
    )


def objects(keys, combinations, extent, preset):
    """Place labeled objects, one per combination, where there is room.

    Args:
        keys: `(N,)` uint64, one per image.
        combinations: `(N, S)` what the objects are; -1 is an empty slot.
        extent: Width and height of the image in units of its shorter side.
        preset: `Preset`.
    """
    shape, texture, color = vocabulary.parts(np.maximum(combinations, 0))
    present = combinations >= 0
    slots = slot_keys(keys, "object", combinations.shape[1])
    # The more objects, the smaller, so that all have room.
    crowd = present.sum(axis=1, keepdims=True) ** -0.4
    low, high = preset.sizes
    radius = draw(slots, "size", low, high) * crowd / 2
    x, y = _apart(slots, radius, extent)
    hues = np.array([_HUES[name] for name in vocabulary.COLORS]) / 360
    hue = hues[color] + draw(
        slots, "hue", -preset.hue_jitter, preset.hue_jitter
    )
    light = rgb(
        hue, draw(slots, "saturation", 0.75, 1), draw(slots, "value", 0.8, 1)
    )
    return Things(
        shape=np.where(present, shape, -1),
        texture=texture,
        x=x,
        y=y,
        radius=radius,
        aspect=draw(slots, "aspect", 1 - preset.aspect, 1 + preset.aspect),
        stretch=np.zeros(slots.shape),
        angle=draw(slots, "angle", -preset.rotation, preset.rotation),
        light=light,
        dark=light * _DARK,
        tag=combinations,
    )


def distractors(keys, extent, preset):
    """Place things without a name anywhere; half of the slots are empty."""
    slots = slot_keys(keys, "distractor", preset.distractors)
    return _nameless(
        slots,
        x=draw(slots, "x", 0, extent[0]),
        y=draw(slots, "y", 0, extent[1]),
        radius=draw(slots, "size", 0.08, 0.22),
        present=draw(slots, "present") < 0.5,
    )


def occluders(keys, x, y, radius, preset):
    """Place a nameless thing across the rim of a disc, in some images.

    Args:
        keys: `(N,)` uint64, one per image.
        x: `(N,)` center of the disc.
        y: `(N,)`.
        radius: `(N,)`.
        preset: `Preset`.
    """
    slots = slot_keys(keys, "occluder", 1)
    around = 2 * np.pi * draw(slots, "around")
    x, y, radius = x[:, None], y[:, None], radius[:, None]
    return _nameless(
        slots,
        x=x + radius * np.cos(around),
        y=y + radius * np.sin(around),
        radius=radius * draw(slots, "size", 0.4, 0.7),
        present=draw(slots, "present") < preset.occlusion,
    )


def backdrop(keys, preset, num_waves=3):
    """Draw waves of muted color under one light."""
    waves = slot_keys(keys, "wave", num_waves)
    angle = 2 * np.pi * draw(waves, "angle")
    frequency = 2 * np.pi * draw(waves, "frequency", 0.5, 4)
    amplitude = preset.clutter * draw(waves, "amplitude", 0.1, 0.5)
    color = 2 * _muted(waves) - 1
    side = 2 * np.pi * draw(keys, "light from")
    shading = preset.shading * draw(keys, "shading")
    exposure = draw(keys, "exposure", 1 - preset.shading, 1)
    return Backdrop(
        base=_muted(keys),
        colors=amplitude[..., None] * color,
        frequencies=frequency[..., None]
        * np.stack([np.cos(angle), np.sin(angle)], axis=-1),
        phases=2 * np.pi * draw(waves, "phase"),
        light=np.stack(
            [exposure, shading * np.cos(side), shading * np.sin(side)], axis=-1
        ),
        noise=preset.noise,
        noise_keys=keyed_random.hash64(keys, "noise").astype("uint32"),
    )


def rgb(hue, saturation, value):
    """Return RGB of hue (in turns), saturation and value, in a new axis."""
    corners = np.array([5, 3, 1])
    turn = (corners + 6 * np.asarray(hue)[..., None]) % 6
    ramp = np.clip(np.minimum(turn, 4 - turn), 0, 1)
    return value[..., None] * (1 - saturation[..., None] * ramp)


def _nameless(slots, *, x, y, radius, present):
    """Return muted things of shapes that no label has."""
    kinds = np.array(
        [list(shapes.FIELDS).index(name) for name in ("disc", "wedge", "blob")]
    )
    kind = (3 * draw(slots, "shape")).astype(int)
    light = _muted(slots)
    return Things(
        shape=np.where(present, kinds[kind], -1),
        texture=(len(textures.FIELDS) * draw(slots, "texture")).astype(int),
        x=x,
        y=y,
        radius=radius,
        aspect=draw(slots, "aspect", 0.7, 1.4),
        # A disc pulled apart is a bar; a full disc would have a name.
        stretch=np.where(kind == 0, draw(slots, "stretch", 1, 2), 0),
        angle=draw(slots, "angle", -0.5, 0.5),
        light=light,
        dark=light * 0.6,
        tag=np.full(slots.shape, -1),
    )


def _apart(slots, radius, extent):
    """Return centers in the image, the freest of a few candidates per slot."""
    x, y = np.zeros(slots.shape), np.zeros(slots.shape)
    for slot in range(slots.shape[1]):
        r = radius[:, slot : slot + 1]
        tries = slot_keys(slots[:, slot], "place", _CANDIDATES if slot else 1)
        inside = 0.8 * r  # The rim may be cut off by the image's edge.
        tries_x = inside + (extent[0] - 2 * inside) * draw(tries, "x")
        tries_y = inside + (extent[1] - 2 * inside) * draw(tries, "y")
        overlap = np.zeros(tries.shape)
        for other in range(slot):
            dx = tries_x - x[:, other : other + 1]
            dy = tries_y - y[:, other : other + 1]
            reach = r + radius[:, other : other + 1]
            overlap = np.maximum(overlap, reach - np.sqrt(dx * dx + dy * dy))
        best = overlap.argmin(axis=1)[:, None]
        x[:, slot] = np.take_along_axis(tries_x, best, axis=1)[:, 0]
        y[:, slot] = np.take_along_axis(tries_y, best, axis=1)[:, 0]
    return x, y


def _muted(keys):
    """Draw RGB of little saturation, one per key."""
    return rgb(
        draw(keys, "muted hue"),
        draw(keys, "muted saturation", 0, 0.35),
        draw(keys, "muted value", 0.15, 0.9),
    )
