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


def names(number=vocabulary.NUM_NAMED):
    """`(L,)` of the combinations that pre-training names, the commonest first.

    Args:
        number: L; fewer than all are spread evenly over common and rare ones.
    """
    places = np.arange(number) * vocabulary.NUM_NAMED // number
    return vocabulary.named()[places]


def frequencies(number=vocabulary.NUM_NAMED, long_tail=ZIPF_EXPONENT):
    """`(L,)` how common each of `names(number)` is among objects.

    Args:
        number: L.
        long_tail: Exponent of Zipf's law; 0 makes all as common.
    """
    weights = np.arange(1, number + 1.0) ** -long_tail
    return weights / weights.sum()


def given(keys, true, wrong, missing, number=vocabulary.NUM_NAMED):
    """`(N, S)` combinations by which the objects of each image are named.

    Args:
        keys: `(N,)` uint64, one an image.
        true: `(N, S)` of `names(number)`, -1 is no object.
        wrong: Probability that a name is another one of them.
        missing: Probability that an object has no name.
        number: How many names there are.
    """
    known = names(number)
    slots = scene.slot_keys(keys, "name", true.shape[1])
    ranks = np.zeros(vocabulary.NUM_COMBINATIONS, int)
    ranks[known] = np.arange(number)
    chances = np.cumsum(confusion(wrong, number), axis=1)[ranks[true]]
    picked = (chances <= scene.draw(slots, "wrong")[..., None]).sum(axis=-1)
    named = (true >= 0) & (scene.draw(slots, "missing") >= missing)
    return np.where(named, known[picked.clip(max=number - 1)], -1)


@functools.lru_cache(maxsize=4)
def confusion(wrong, number=vocabulary.NUM_NAMED):
    """`(L, L)` probability that the one is given the name of the other."""
    pairs = names(number) // len(vocabulary.COLORS)
    others = 1 - np.eye(len(pairs))
    siblings = (pairs[:, None] == pairs) * others
    others /= others.sum(axis=1, keepdims=True)
    counts = siblings.sum(axis=1, keepdims=True)
    # Of few names, some have no sibling: any other is as likely then.
    siblings = np.where(counts > 0, siblings / counts.clip(min=1), others)
    mistakes = _CONFUSABLE * siblings + (1 - _CONFUSABLE) * others
    return (1 - wrong) * np.eye(len(pairs)) + wrong * mistakes


def expected_counts(num_examples, wrong, missing, shares):
    """`(C,)` float64, how many of the images carry each label, expected.

    Args:
        num_examples: Number of images.
        wrong: Probability that a name is another one.
        missing: Probability that an object has no name.
        shares: `(L,)` how common each of `names(L)` is among objects.
    """
    hierarchy = vocabulary.hierarchy()
    leaves = vocabulary.leaf_ids()[names(len(shares))]
    an_object = np.zeros(len(hierarchy))
    shares = shares @ confusion(wrong, len(shares))
    for leaf, share in zip(leaves, shares, strict=True):
        an_object[hierarchy.close([leaf])] += share * (1 - missing)
    numbers = np.arange(1, len(COUNTS) + 1)
    none = np.array(COUNTS) @ (1 - an_object) ** numbers[:, None]
    return num_examples * (1 - none)


def _pick(cumulative, draws):
    """Positions drawn with the probabilities that `cumulative` sums."""
    picked = np.searchsorted(cumulative, draws, side="right")
    return picked.clip(max=len(cumulative) - 1)
