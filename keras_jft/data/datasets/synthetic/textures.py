"""Textures as fields: 1 where the light tone is, 0 where the dark one is.

A field is a function of coordinates u and v in the frame of the shape, and of
`scale`, the pixels per unit. Its edges are one pixel wide, so a texture that is
too fine for the image fades to its mean.
"""

import numpy as np


def plain(u, v, scale):
    """Return the field of one tone."""
    return np.ones_like(u)


def striped(u, v, scale):
    """Return the field of three stripes of each tone."""
    return _smooth(np.sin(9.4 * v) * (scale / 9.4))


def checked(u, v, scale):
    """Return the field of a checkerboard with four squares per side."""
    return _smooth(np.sin(6.3 * u) * np.sin(6.3 * v) * (scale / 6.3))


def dotted(u, v, scale):
    """Return the field of dark dots."""
    dots = 1.1 - np.cos(9.4 * u) - np.cos(9.4 * v)
    return _smooth(dots * (scale / 9.4))


def banded(u, v, scale):
    """Return the field of rings about the center."""
    return _smooth(np.sin(10.2 * np.sqrt(u * u + v * v)) * (scale / 10.2))


def halved(u, v, scale):
    """Return the field of one tone on each side."""
    return _smooth(u * scale)


def _smooth(pixels):
    """Rise from 0 to 1 across the pixel where a distance changes its sign."""
    return np.clip(pixels + 0.5, 0, 1)


FIELDS = {
    field.__name__: field
    for field in (plain, striped, checked, dotted, banded, halved)
}
