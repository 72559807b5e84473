"""Keyed randomness against plain-integer arithmetic and the uniform law."""

import collections
import itertools

import numpy as np
import pytest
from scipy import stats

from keras_jft.data import keyed_random

_MASK = 2**64 - 1


def _splitmix64(state, steps):
    """Output number `steps` of SplitMix64, in Python's own integers."""
    bits = (state + steps * 0x9E3779B97F4A7C15) & _MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return bits ^ (bits >> 31)


def test_the_reference_generator_is_splitmix64():
    # The published test vector for seed 1234567.
    outputs = [_splitmix64(1234567, i) for i in (1, 2, 3)]
    assert outputs == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@pytest.mark.parametrize("seed", [0, 7, -1, 2**64 - 1])
def test_a_hash_is_an_output_of_splitmix64_started_from_the_seed(seed):
    keys = [0, 1, 2**40, 2**63]
    start = _splitmix64(seed & _MASK, 1)
    expected = [_splitmix64(start, key) for key in keys]
    assert (
        keyed_random.hash64(seed, np.array(keys, "uint64")).tolist() == expected
    )


def test_hashes_do_not_depend_on_shape_or_neighbors():
    keys = np.arange(12)
    hashes = keyed_random.hash64(3, keys)
    assert keyed_random.hash64(3, keys.reshape(3, 4)).tolist() == (
        hashes.reshape(3, 4).tolist()
    )
    assert [
        int(keyed_random.hash64(3, key)) for key in range(12)
    ] == hashes.tolist()
    assert keyed_random.hash64(np.full(12, 3), keys).tolist() == hashes.tolist()


def test_seed_and_key_are_not_interchangeable():
    assert keyed_random.hash64(0, 1) != keyed_random.hash64(1, 0)


def test_strings_hash_by_content_not_by_process_or_container():
    names = ["a/1.jpg", "a/2.jpg", "ä.jpg"]
    hashes = keyed_random.hash64(5, names)
    assert len(set(hashes.tolist())) == 3
    assert (
        keyed_random.hash64(5, np.array(names, object)).tolist()
        == hashes.tolist()
    )
    assert int(keyed_random.hash64(5, "ä.jpg")) == hashes[2]


def test_other_kinds_of_keys_are_refused():
    for keys in ([0.5], [None], ["a", 1.5, None]):
        with pytest.raises(ValueError, match="integers or strings"):
            keyed_random.hash64(0, np.array(keys, dtype=object))


def test_uniform_draws_follow_the_uniform_law_and_streams_are_independent():
    keys = np.arange(100_000)
    draws = keyed_random.uniform(11, keys)
    others = [
        keyed_random.uniform(11, keys, stream=1),
        keyed_random.uniform(12, keys),
    ]
    assert draws.min() >= 0 and draws.max() < 1
    assert stats.kstest(draws, "uniform").pvalue > 0.001
    for other in [*others, np.roll(draws, 1)]:
        assert abs(np.corrcoef(draws, other)[0, 1]) < 0.015


def test_generators_start_each_key_from_its_own_state():
    keys = keyed_random.hash64(2, [5, 6, 5])
    draws = [rng.random(3).tolist() for rng in keyed_random.generators(keys)]
    expected = [
        np.random.Generator(np.random.Philox(key=int(key))).random(3).tolist()
        for key in keys
    ]
    assert draws == expected
    assert draws[0] == draws[2] != draws[1]


def test_a_generator_keeps_nothing_of_the_draws_before():
    def draws(first):
        # 32-bit draws leave half a word in the generator's buffer.
        return [
            rng.integers(100, size=n, dtype="int32").tolist()
            for n, rng in zip(
                (first, 4), keyed_random.generators([1, 2]), strict=True
            )
        ]

    assert draws(1)[1] == draws(2)[1]


@pytest.mark.parametrize("num", [0, 1, 2, 3, 7, 16, 17, 1000, 65_537])
def test_a_permutation_reaches_every_position_once(num):
    shuffled = keyed_random.permutation(num, seed=4)(np.arange(num))
    assert np.sort(shuffled).tolist() == list(range(num))


def test_a_permutation_of_300_million_needs_only_the_asked_positions():
    permute = keyed_random.permutation(300_000_000, seed=0)
    positions = np.r_[:5000, 299_995_000:300_000_000]
    shuffled = permute(positions)
    assert len(np.unique(shuffled)) == 10_000
    assert shuffled.min() >= 0 and shuffled.max() < 300_000_000
    assert stats.kstest(shuffled / 3e8, "uniform").pvalue > 0.001
    assert permute(positions[::-1]).tolist() == shuffled[::-1].tolist()
    assert permute(positions[17]) == shuffled[17]


@pytest.mark.parametrize("num", [2, 3, 4])
def test_all_orders_of_a_few_are_equally_likely_over_seeds(num):
    counts = collections.Counter(
        tuple(keyed_random.permutation(num, seed)(np.arange(num)))
        for seed in range(2400)
    )
    observed = [counts[p] for p in itertools.permutations(range(num))]
    assert stats.chisquare(observed).pvalue > 0.001


def test_every_position_goes_everywhere_equally_often():
    counts = np.zeros((30, 30))
    for seed in range(3000):
        shuffled = keyed_random.permutation(30, seed)(np.arange(30))
        counts[np.arange(30), shuffled] += 1
    assert stats.chisquare(counts.ravel()).pvalue > 0.001


def test_positions_outside_are_refused():
    with pytest.raises(ValueError, match=r"0\.\.9.*10"):
        keyed_random.permutation(10, seed=0)([10])
    with pytest.raises(ValueError, match="num=-1"):
        keyed_random.permutation(-1, seed=0)
