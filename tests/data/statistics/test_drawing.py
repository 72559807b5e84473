"""Figures are whole SVGs, small whatever the number of classes."""

import xml.etree.ElementTree
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_jft.data.statistics import page
from keras_jft.data.statistics.counts import Histogram


def _histogram(numbers):
    seen = Histogram()
    seen.add(np.array(numbers, int))
    return seen


@pytest.mark.parametrize(
    "draw",
    [
        lambda: page._plot_rank_count(np.zeros(5, int)),
        lambda: page._plot_rank_count(np.array([7])),
        lambda: page._plot_rank_count(np.arange(100_000)),
        lambda: page._plot_per_image(_histogram([]), "Boxes"),
        lambda: page._plot_per_image(
            _histogram([0, 1, 500]), "Labels", ("some", _histogram([3]))
        ),
        lambda: page._plot_image_sizes(Counter({(3, 4): 9, (5, 5): 1})),
    ],
)
def test_a_figure_is_a_small_svg_and_is_closed(draw):
    svg = draw()
    xml.etree.ElementTree.fromstring(svg)
    assert len(svg) < 100_000
    assert plt.get_fignums() == []
    assert draw() == svg
