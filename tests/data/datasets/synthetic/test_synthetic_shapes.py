"""Shapes of the synthetic world as fields over the plane."""

import numpy as np
import pytest

from keras_jft.data.datasets.synthetic import shapes, vocabulary


@pytest.mark.parametrize("name", shapes.FIELDS)
def test_every_shape_fills_its_disc_and_leaves_it_nowhere(name, grid):
    u, v = grid(1.5, 0.01)
    covered = shapes.FIELDS[name](u, v) < 0
    radius = np.sqrt(u * u + v * v)[covered]
    assert radius.max() < 1.02
    assert radius.max() > 0.85
    assert 0.2 < covered.sum() * 0.01**2 < 3.15


@pytest.mark.parametrize("name", shapes.FIELDS)
def test_every_shape_is_about_as_steep_as_a_distance_at_its_edge(name, grid):
    u, v = grid(1.5, 0.01)
    field = shapes.FIELDS[name](u, v)
    steepness = np.hypot(*np.gradient(field, 0.01))[np.abs(field) < 0.01]
    # A blob is bent; a field is flatter where two edges meet.
    assert np.quantile(steepness, 0.05) > (0.4 if name == "blob" else 0.55)
    assert np.quantile(steepness, 0.98) < (2.0 if name == "blob" else 1.02)


def test_no_two_shapes_cover_the_same(grid):
    u, v = grid(1, 0.02)
    covered = {
        name: shapes.FIELDS[name](u, v) < 0 for name in vocabulary.SHAPES
    }
    for a in covered:
        for b in covered:
            both = (covered[a] & covered[b]).sum()
            assert a == b or both / (covered[a] | covered[b]).sum() < 0.85
