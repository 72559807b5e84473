"""Textures as fields: 1 where the light tone is, 0 where the dark one is.

A field takes coordinates u and v in the frame of the shape, and `scale`, the
pixels that are one unit long, by which its edges are one pixel wide: a
texture too fine for the image fades to its mean.
"""

import numpy as np


def plain(u, v, scale):
    """One tone."""
    return np.ones_like(u)


def striped(u, v, scale):
    """Three stripes of each tone."""
    return _smooth(np.sin(9.4 * v) * (scale / 9.4))


def checked(u, v, scale):
    """A checkerboard, four fields a side."""
    return _smooth(np.sin(6.3 * u) * np.sin(6.3 * v) * (scale / 6.3))


def dotted(u, v, scale):
    """Dark dots."""
    dots = 1.1 - np.cos(9.4 * u) - np.cos(9.4 * v)
    return _smooth(dots * (scale / 9.4))


def banded(u, v, scale):
    """Rings about the center."""
    return _smooth(np.sin(10.2 * np.sqrt(u * u + v * v)) * (scale / 10.2))


def halved(u, v, scale):
    """One tone on each side."""
    return _smooth(u * scale)


def _smooth(pixels):
    """From 0 to 1 across the pixel in which a distance changes its sign."""
    return np.clip(pixels + 0.5, 0, 1)


FIELDS = {
    field.__name__: field
    for field in (plain, striped, checked, dotted, banded, halved)
}
