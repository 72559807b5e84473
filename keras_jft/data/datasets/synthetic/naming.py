"""Which objects an image of pre-training holds, and which names it is given.

Few objects are common and most are rare; names are missing and names are
wrong, mostly by the color of the same shape and texture. Shapes: N images, S
slots, L named combinations, C labels.
"""

import functools

import numpy as np

from keras_jft.data.datasets.synthetic import scene, vocabulary

COUNTS = (0.67, 0.25, 0.08)  # Of 1, 2 and 3 objects; 1.41 on average.
ZIPF_EXPONENT = 0.8
# Rates of wrong and of missing names. As in JFT-300M, a fifth of the training
# labels are wrong and an image has 1.26 of them (1.41 less the missing ones).
NOISE = {"train": (0.2, 0.1), "test": (0.0, 0.0)}
_CONFUSABLE = 0.7  # Share of the wrong names that are a sibling's.


def combinations(keys, choices, counts, frequencies=None):
    """`(N, S)` combinations of the objects of each image, -1 where none.

    Args:
        keys: `(N,)` uint64, one an image.
        choices: `(n,)` combinations to draw from.
        counts: `(S,)` probabilities of 1..S objects.
        frequencies: `(n,)` probabilities of `choices`; equal if left out.
    """
    slots = scene.slot_keys(keys, "what", len(counts))
    if frequencies is None:
        frequencies = np.full(len(choices), 1 / len(choices))
    number = _pick(np.cumsum(counts), scene.draw(keys, "number"))
    drawn = choices[_pick(np.cumsum(frequencies), scene.draw(slots, "what"))]
    return np.where(np.arange(len(counts)) <= number[:, None], drawn, -1)


def frequencies():
    """`(L,)` how common each of `vocabulary.named()` is among objects."""
    weights = np.arange(1, vocabulary.NUM_NAMED + 1) ** -ZIPF_EXPONENT
    return weights / weights.sum()


def given(keys, true, wrong, missing):
    """`(N, S)` combinations by which the objects of each image are named.

    Args:
        keys: `(N,)` uint64, one an image.
        true: `(N, S)` named combinations, -1 is no object.
        wrong: Probability that a name is another one.
        missing: Probability that an object has no name.
    """
    names = vocabulary.named()
    slots = scene.slot_keys(keys, "name", true.shape[1])
    ranks = np.zeros(vocabulary.NUM_COMBINATIONS, int)
    ranks[names] = np.arange(len(names))
    chances = np.cumsum(confusion(wrong), axis=1)[ranks[true]]
    picked = (chances <= scene.draw(slots, "wrong")[..., None]).sum(axis=-1)
    named = (true >= 0) & (scene.draw(slots, "missing") >= missing)
    return np.where(named, names[picked.clip(max=len(names) - 1)], -1)


@functools.lru_cache(maxsize=4)
def confusion(wrong):
    """`(L, L)` probability that the one is given the name of the other."""
    pairs = vocabulary.named() // len(vocabulary.COLORS)
    others = 1 - np.eye(len(pairs))
    siblings = (pairs[:, None] == pairs) * others
    siblings /= siblings.sum(axis=1, keepdims=True)
    others /= others.sum(axis=1, keepdims=True)
    mistakes = _CONFUSABLE * siblings + (1 - _CONFUSABLE) * others
    return (1 - wrong) * np.eye(len(pairs)) + wrong * mistakes


def expected_counts(num_examples, wrong, missing):
    """`(C,)` float64, how many of the images carry each label, expected."""
    hierarchy = vocabulary.hierarchy()
    leaves = vocabulary.leaf_ids()[vocabulary.named()]
    an_object = np.zeros(len(hierarchy))
    shares = frequencies() @ confusion(wrong)
    for leaf, share in zip(leaves, shares, strict=True):
        an_object[hierarchy.close([leaf])] += share * (1 - missing)
    numbers = np.arange(1, len(COUNTS) + 1)
    none = np.array(COUNTS) @ (1 - an_object) ** numbers[:, None]
    return num_examples * (1 - none)


def _pick(cumulative, draws):
    """Positions drawn with the probabilities that `cumulative` sums."""
    picked = np.searchsorted(cumulative, draws, side="right")
    return picked.clip(max=len(cumulative) - 1)
