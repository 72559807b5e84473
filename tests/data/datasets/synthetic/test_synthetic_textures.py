"""Textures of the synthetic world as fields over the plane."""

import numpy as np
import pytest

from keras_jft.data.datasets.synthetic import textures


@pytest.mark.parametrize("name", textures.FIELDS)
def test_a_texture_has_two_tones_that_fade_where_it_is_too_fine(name, grid):
    u, v = grid(0.9, 0.02)
    light = textures.FIELDS[name](u, v, 100.0)
    assert light.min() >= 0 and light.max() <= 1
    if name == "plain":
        assert (light == 1).all()
        return
    assert 0.15 < light.mean() < 0.85
    assert (np.abs(light - 0.5) > 0.45).mean() > 0.8
    faint = textures.FIELDS[name](u, v, 0.1)
    assert np.abs(faint - faint.mean()).max() < 0.15
