"""Shapes as fields: negative inside, positive outside, about a distance.

Every shape is inside the unit disc. A field is a function of the coordinates u
(right) and v (down), float32 arrays of any shape, and costs a few array
operations.
"""

import numpy as np


def disc(u, v):
    """Return the field of a full disc."""
    return np.sqrt(u * u + v * v) - 1


def ring(u, v):
    """Return the field of a ring, half as wide inside as outside."""
    return np.abs(np.sqrt(u * u + v * v) - 0.74) - 0.26


def crescent(u, v):
    """Return the field of a disc without the disc beside it."""
    bite = 0.8 - np.sqrt((u - 0.48) ** 2 + v * v)
    return np.maximum(disc(u, v), bite)


def heart(u, v):
    """Return the field of a heart: a square on its corner, two half discs."""
    u, v = np.abs(u), v - 0.16
    square = (u + np.abs(v) - 0.77) * 0.707
    lobes = np.sqrt((u - 0.385) ** 2 + (v + 0.385) ** 2) - 0.544
    return np.minimum(square, lobes)


def clover(u, v):
    """Return the field of three discs about the center, one of them up."""
    leaf = np.sqrt(u * u + (v + 0.53) ** 2) - 0.46
    leaves = np.sqrt((np.abs(u) - 0.46) ** 2 + (v - 0.265) ** 2) - 0.46
    return np.minimum(leaf, leaves)


def triangle(u, v):
    """Return the field of an equilateral triangle, a corner up."""
    sides = np.abs(u) * 0.866 - v * 0.5
    return np.maximum(sides, v) - 0.5


def square(u, v):
    """Return the field of an upright square."""
    return np.maximum(np.abs(u), np.abs(v)) - 0.707


def chevron(u, v):
    """Return the field of a broad angle that points up."""
    u = np.abs(u)
    angle = (np.abs(v - u + 0.5) - 0.35) * 0.707
    return np.maximum(angle, u - 0.72)


def star(u, v):
    """Return the field of a five-pointed star, one point up."""
    u = np.abs(u)
    for x in (0.809, -0.809):  # Fold the plane onto the upper point.
        beyond = 2 * np.maximum(u * x + v * 0.588, 0)
        u, v = u - beyond * x, v - beyond * 0.588
    # The edge from the tip (0, -1) to the notch at (0.294, -0.405).
    return np.abs(u) * 0.897 - (v + 1) * 0.443


def cross(u, v):
    """Return the field of two crossed bars."""
    u, v = np.abs(u), np.abs(v)
    long, short = np.maximum(u, v), np.minimum(u, v)
    return np.maximum(long - 0.94, short - 0.31)


def wedge(u, v):
    """Return the field of half a disc."""
    return np.maximum(disc(u, v), v)


def blob(u, v):
    """Return the field of a wobbly patch."""
    u = u + 0.18 * np.sin(3.1 * v + 0.5)
    v = v + 0.18 * np.sin(4.3 * u)
    return np.sqrt(u * u + v * v) - 0.75


FIELDS = {
    field.__name__: field
    for field in (
        disc,
        ring,
        crescent,
        heart,
        clover,
        triangle,
        square,
        chevron,
        star,
        cross,
        wedge,
        blob,
    )
}
