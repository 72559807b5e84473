"""Keyed randomness: the same number for the same key, on every platform.

With a stateful generator, the draw for an example depends on the batch, the
worker and the starting position. Here a draw is a pure function of a seed and a
key (an example's id, a position, an epoch), so order, subsets, noise and
augmentation are unaffected by sharding and resuming, and nothing is stored.
"""

import functools
import hashlib
import math

import numpy as np

from keras_jft import text

# Weyl increment and multipliers of SplitMix64 (Steele et al. 2014, Figure 16).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)
_ROUNDS = 8
_SMALLEST_SIDE = 4  # A narrower grid cannot produce all orders.


def hash64(seed, keys):
    """Return a 64-bit hash of every key, uint64, of the shape of `keys`.

    Output number `key` of a SplitMix64 generator that starts from `seed`, so
    distinct integer keys never collide under one seed.

    Args:
        seed: Integer, or an integer array that broadcasts with `keys`. To
            combine several keys, use one hash as the seed of the next:
            `hash64(hash64(seed, epoch), ids)`.
        keys: Integers or strings, a scalar or an array of any shape.

    Example:

    >>> hash64(0, [1, 2])
    array([12035550249420947055, 12935080325729570654], dtype=uint64)
    >>> hash64(0, ["cat.jpg", "dog.jpg"]).shape
    (2,)

    References:
        Steele, Lea, Flood. "Fast splittable pseudorandom number generators",
        2014, https://doi.org/10.1145/2714064.2660195, Figure 16.
    """
    with np.errstate(over="ignore"):  # Arithmetic is modulo 2**64.
        state = _mix(_as_uint64(seed) + _GOLDEN)
        return _mix(state + _as_uint64(keys) * _GOLDEN)


def uniform(seed, keys, stream=0):
    """Return uniform numbers in [0, 1), float64, one per key.

    Args:
        seed: As in `hash64`.
        keys: As in `hash64`.
        stream: Integer; each stream gives an independent draw for the same
            key.

    Example:

    >>> draws = uniform(0, np.arange(100_000))
    >>> bool(abs(draws.mean() - 0.5) < 0.01)
    True
    """
    bits = hash64(hash64(seed, stream), keys)
    return (bits >> np.uint64(11)) * 2.0**-53


def generators(keys):
    """Yield a `numpy.random.Generator` per key, in the key's own state.

    One generator object is reset for each key, which is several times faster
    than creating a new one. Draw from it before taking the next.

    Args:
        keys: `(n,)` uint64, as `hash64` returns them.

    Example:

    >>> [int(rng.integers(10)) for rng in generators(hash64(0, [1, 2, 1]))]
    [2, 3, 2]
    """
    bits = np.random.Philox(key=0)
    generator, state = np.random.Generator(bits), bits.state
    for key in np.asarray(keys, "uint64"):
        state["state"]["key"][0] = key
        bits.state = state
        yield generator


def permutation(num, seed):
    """Return a function of positions that shuffles `range(num)`.

    It stores only its keys, so 300,000,000 examples are shuffled in the memory
    of one batch. It is a generalized Feistel network over a grid of about `num`
    cells, which is a bijection for any round function. Results past the end
    are put through the network again until they are inside (cycle walking).

    Args:
        num: Number of positions.
        seed: Integer.

    Returns:
        `permute(positions)`: integers in `0..num - 1`, of any shape, to int64
        of that shape.

    Raises:
        ValueError: `num` is negative, or a position is not in `0..num - 1`.

    Example:

    >>> permute = permutation(10, seed=0)
    >>> sorted(permute(np.arange(10)).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]

    References:
        Black, Rogaway. "Ciphers with arbitrary finite domains", CT-RSA 2002,
        https://doi.org/10.1007/3-540-45760-7_9: the generalized Feistel
        construction (section 5) and cycle walking (section 4).
    """
    if num < 0:
        raise ValueError(
            f"`num` must be 0 or more. Received: num={num}. "
            "Pass the number of examples."
        )
    side = max(_SMALLEST_SIDE, math.isqrt(num))
    rows = np.uint64(side)
    columns = np.uint64(max(_SMALLEST_SIDE, -(-num // side)))
    keys = hash64(seed, np.arange(_ROUNDS)).reshape(-1, 2)
    with np.errstate(over="ignore"):  # Arithmetic is modulo 2**64.
        states = _mix(keys + _GOLDEN)  # Of `hash64(key, ...)`.
    # Not a closure, so that it can be pickled for other processes.
    return functools.partial(_permute, num, (rows, columns, states))


def _permute(num, grid, positions):
    positions = np.asarray(positions)
    if positions.size and (positions.min() < 0 or positions.max() >= num):
        raise ValueError(
            f"Positions must be in 0..{num - 1}. Received: "
            f"{positions.min()}..{positions.max()}."
        )
    cells = _shuffle_grid(grid, positions.astype(np.uint64))
    while (outside := cells >= num).any():
        cells = np.where(outside, _shuffle_grid(grid, cells), cells)
    return cells.astype(np.int64)


def _shuffle_grid(grid, cells):
    rows, columns, states = grid
    row, column = cells // columns, cells % columns
    with np.errstate(over="ignore"):
        for of_rows, of_columns in states:
            row = (row + _mix(of_rows + column * _GOLDEN) % rows) % rows
            draws = _mix(of_columns + row * _GOLDEN)
            column = (column + draws % columns) % columns
    return row * columns + column


def _mix(bits):
    """Apply SplitMix64's output function, a bijection of 64-bit integers."""
    for shift, multiplier in zip(_SHIFTS, (*_MULTIPLIERS, 1), strict=True):
        bits = (bits ^ (bits >> shift)) * np.uint64(multiplier)
    return bits


def _as_uint64(keys):
    keys = np.asarray(keys if not isinstance(keys, int) else keys % 2**64)
    if keys.dtype.kind in "ui":
        return keys.astype(np.uint64)
    if keys.dtype.kind in "UO" and all(isinstance(k, str) for k in keys.flat):
        digests = (
            hashlib.blake2b(text.encode(key), digest_size=8).digest()
            for key in keys.flat
        )
        bits = np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)
        return bits.reshape(keys.shape)
    raise ValueError(
        "Seeds and keys must be integers or strings. Received an array of "
        f"dtype {keys.dtype}."
    )
