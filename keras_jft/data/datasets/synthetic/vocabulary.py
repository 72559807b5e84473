"""The vocabulary of the synthetic world, and presets of its difficulty.

An object is a combination of shape, texture and color. Pre-training names 200
of the 480 combinations; the other 280 are kept for transfer.
"""

import dataclasses
import functools

import numpy as np

from keras_jft.data import hierarchy as hierarchy_lib
from keras_jft.data import keyed_random

FAMILIES = {  # family: outline
    "round": "curved",
    "lobed": "curved",
    "polygonal": "angular",
    "spiked": "angular",
}
SHAPES = {  # shape: family
    "disc": "round",
    "ring": "round",
    "crescent": "round",
    "heart": "lobed",
    "clover": "lobed",
    "triangle": "polygonal",
    "square": "polygonal",
    "chevron": "polygonal",
    "star": "spiked",
    "cross": "spiked",
}
TEXTURES = ("plain", "striped", "checked", "dotted", "banded", "halved")
COLORS = {  # color: tone
    "red": "warm",
    "orange": "warm",
    "yellow": "warm",
    "green": "cool",
    "cyan": "cool",
    "blue": "cool",
    "purple": "cool",
    "pink": "warm",
}
NUM_COMBINATIONS = len(SHAPES) * len(TEXTURES) * len(COLORS)
NUM_NAMED = 200

# The vocabulary is the same in every world, whatever the seed of its images.
_SEED = 1707_02968


def parts(combinations):
    """Return shape, texture and color of combination ids, each as ints."""
    return np.unravel_index(
        combinations, (len(SHAPES), len(TEXTURES), len(COLORS))
    )


def families():
    """Return the `(10,)` position in `FAMILIES` of each shape's family."""
    names = list(FAMILIES)
    return np.array([names.index(family) for family in SHAPES.values()])


def name(combination):
    """Return the name of one combination, such as "red striped disc"."""
    shape, texture, color = parts(combination)
    return " ".join(
        (tuple(COLORS)[color], TEXTURES[texture], tuple(SHAPES)[shape])
    )


@functools.cache
def named():
    """Return the `(200,)` combinations that are named, commonest first.

    They contain every pair of shape and texture in three or four colors, so
    that all parts of an unseen combination are known.
    """
    every = np.arange(NUM_COMBINATIONS)
    colors_first = every[np.argsort(keyed_random.hash64(_SEED, every))]
    pairs = colors_first // len(COLORS)
    colors_seen = np.zeros(NUM_COMBINATIONS // len(COLORS), int)
    turns = np.empty(NUM_COMBINATIONS, int)
    for position, pair in enumerate(pairs):
        turns[position] = colors_seen[pair]
        colors_seen[pair] += 1
    chosen = colors_first[np.argsort(turns, kind="stable")[:NUM_NAMED]]
    return chosen[np.argsort(keyed_random.uniform(_SEED, chosen, "rank"))]


@functools.cache
def unseen():
    """Return the `(280,)` combinations that pre-training never shows."""
    return np.setdiff1d(np.arange(NUM_COMBINATIONS), named())


@functools.cache
def classes():
    """Return `(20,)` unseen combinations, two of every shape, by id."""
    shuffled = unseen()[np.argsort(keyed_random.hash64(_SEED, unseen()))]
    shape, _, _ = parts(shuffled)
    return np.sort(
        np.concatenate([shuffled[shape == s][:2] for s in range(len(SHAPES))])
    )


@functools.cache
def hierarchy():
    """Return the `LabelHierarchy` over everything that pre-training names.

    It has five levels: outline, family, shape, shape and texture, combination.
    A second way up leads from combination to color and tone.
    """
    leaves = [name(combination) for combination in np.sort(named())]
    parents = FAMILIES | SHAPES | COLORS
    parents |= {pair: pair.split()[1] for pair in map(_pair, leaves)}
    edges = [(parent, child) for child, parent in parents.items()]
    edges += [(_pair(leaf), leaf) for leaf in leaves]
    edges += [(leaf.split()[0], leaf) for leaf in leaves]
    roots = dict.fromkeys((*FAMILIES.values(), *COLORS.values()))
    return hierarchy_lib.LabelHierarchy([*roots, *parents, *leaves], edges)


@functools.cache
def leaf_ids():
    """Return the `(480,)` label id of every combination, -1 without a name."""
    ids = np.full(NUM_COMBINATIONS, -1, "int32")
    for combination in named():
        ids[combination] = hierarchy().index(name(combination))
    return ids


def _pair(leaf):
    """Return the name of a combination without its color."""
    return leaf.split(" ", 1)[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """How hard it is to recognize objects.

    Lengths are fractions of the image's shorter side, intensities are fractions
    of full scale, rates are probabilities.

    Attributes:
        sizes: Smallest and largest diameter of a single object.
        rotation: Largest rotation either way, in turns.
        aspect: Largest stretch of an object along its own axes; 0.1 is 10%.
        hue_jitter: Largest change of hue, in turns of the color circle.
        clutter: Contrast of the background.
        distractors: Number of slots for nameless things behind the objects,
            each filled half of the time.
        occlusion: Rate of a nameless thing in front of the first object.
        shading: Largest change of the light across the image.
        noise: Standard deviation of the noise of every pixel.
    """

    sizes: tuple[float, float]
    rotation: float
    aspect: float
    hue_jitter: float
    clutter: float
    distractors: int
    occlusion: float
    shading: float
    noise: float


# "standard" is chosen such that the score of a small ResNet trained on 300 to
# 10,000 images rises with the logarithm of their number, neither at chance nor
# saturated. "easy" is near its ceiling there; "hard" can rise for more decades.
PRESETS = {
    "easy": Preset(
        sizes=(0.35, 0.65),
        rotation=0.08,
        aspect=0.12,
        hue_jitter=0.015,
        clutter=0.3,
        distractors=2,
        occlusion=0.25,
        shading=0.25,
        noise=0.03,
    ),
    "standard": Preset(
        sizes=(0.3, 0.6),
        rotation=0.25,
        aspect=0.2,
        hue_jitter=0.03,
        clutter=0.5,
        distractors=3,
        occlusion=0.4,
        shading=0.35,
        noise=0.05,
    ),
    "hard": Preset(
        sizes=(0.2, 0.5),
        rotation=0.5,
        aspect=0.3,
        hue_jitter=0.035,
        clutter=0.8,
        distractors=6,
        occlusion=0.6,
        shading=0.5,
        noise=0.08,
    ),
}
