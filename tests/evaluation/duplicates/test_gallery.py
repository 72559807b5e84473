import numpy as np
import pytest

from keras_jft.evaluation.duplicates import find, gallery, near


@pytest.fixture
def found():
    """Ten queries of similarity 0, 0.1, ..., 0.9."""
    cosines = np.arange(10) / 10
    queries = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)
    return find(queries, np.float32([[1, 0]]), threshold=0.55)


def test_pairs_near_the_threshold_are_on_both_sides(found):
    assert near(found, 4).tolist() == [7, 6, 5, 4]
    assert near(found, 4, threshold=0.95).tolist() == [9, 8, 7, 6]
    assert near(found, 4, threshold=-1).tolist() == [3, 2, 1, 0]


def test_a_gallery_shows_each_query_above_its_reference(found):
    shown = []

    def image(name):
        shown.append(int(name))
        return np.zeros((8, 8, 3), "uint8")

    figure = gallery(found, near(found, 4), image, image, columns=2)
    assert shown == [7, 0, 6, 0, 5, 0, 4, 0]
    titles = [axis.get_title() for axis in figure.axes]
    assert [t for t in titles if t] == ["0.700", "0.600", "0.500", "0.400"]


def test_nothing_to_show_is_an_error(found):
    with pytest.raises(ValueError, match="pairs to show"):
        gallery(found, [], None, None)
