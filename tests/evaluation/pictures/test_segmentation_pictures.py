import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_jft.evaluation.pictures import plot_segmentation
from keras_jft.evaluation.pictures.segmentation import _class_colors

MASK = np.array([[0, 1, 255], [1, 1, 0]], "uint8")
WRONG = np.array([[0, 2, 1], [1, 1, 0]])
NAMES = ("sky", "road", "car", "tree")


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (2, 3, 3), "uint8")


def test_a_row_shows_image_truth_prediction_and_errors(image):
    figure = plot_segmentation(
        [image, image], [MASK[..., None], MASK], [WRONG, MASK], NAMES
    )
    panels = np.reshape(figure.axes, (2, 4))
    shown = [ax.images[0].get_array() for ax in panels[0]]
    colors = _class_colors(4)
    np.testing.assert_array_equal(shown[0], image)
    np.testing.assert_array_equal(shown[1], colors[MASK])
    np.testing.assert_array_equal(shown[2], colors[WRONG])
    is_red = (shown[3] == mpl.colors.to_rgb("#C00000")).all(-1)
    # Void is no error, whatever is predicted there.
    assert is_red.tolist() == [[False, True, False], [False, False, False]]
    assert shown[3][0, 2].tolist() == [1, 1, 1]
    titles = [ax.get_title() for ax in panels.flat]
    assert titles[:4] == ["Image", "Truth", "Prediction", "Errors; 80% right"]
    assert titles[7] == "Errors; 100% right"


def test_the_legend_names_the_classes_that_occur(image):
    figure = plot_segmentation([image], [MASK], [WRONG], NAMES)
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["sky", "road", "car", "void", "right", "wrong"]


def test_all_classes_have_colors_of_their_own():
    colors = _class_colors(150)
    assert len(np.unique(colors[[*range(150), 255]].round(3), axis=0)) == 151


def test_pictures_that_do_not_fit_are_refused(image):
    with pytest.raises(ValueError, match="1 image, 2 masks, 1 prediction"):
        plot_segmentation([image], [MASK] * 2, [MASK], NAMES)
    with pytest.raises(ValueError, match=r"mask \(2, 2\)"):
        plot_segmentation([image], [MASK[:, :2]], [MASK], NAMES)
    with pytest.raises(ValueError, match=r"hold 0\.\.1 or 255.*2"):
        plot_segmentation([image], [MASK], [WRONG], NAMES[:2])
