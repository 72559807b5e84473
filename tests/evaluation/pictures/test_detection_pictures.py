import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import Rectangle

from keras_jft.evaluation import plot_detections

IMAGES = [np.zeros((40, 60, 3), "uint8"), np.zeros((30, 30, 3), "uint8")]
TRUTH = [
    {
        "boxes": np.array([[5, 10, 25, 30], [0, 0, 60, 40]], "float32"),
        "labels": np.array([1, 0]),
        "ignored": np.array([False, True]),
    },
    {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)},
]
FOUND = {
    "boxes": np.array([[[6, 11, 24, 29], [1, 1, 9, 9]], [[-1] * 4] * 2]),
    "labels": np.array([[1, 0], [-1, -1]]),
    "scores": np.array([[0.87, 0.2], [-1, -1]]),
}


def _drawn(axes):
    boxes = [p for p in axes.patches if isinstance(p, Rectangle)]
    corners = [[*b.get_xy(), b.get_width(), b.get_height()] for b in boxes]
    return corners, [t.get_text() for t in axes.texts], boxes


def test_truth_is_drawn_on_the_left_and_detections_on_the_right():
    figure = plot_detections(IMAGES, TRUTH, FOUND, ("cat", "dog"))
    panels = np.array(figure.axes).reshape(2, 2)
    corners, texts, boxes = _drawn(panels[0, 0])
    assert corners == [[5, 10, 20, 20], [0, 0, 60, 40]]
    assert texts == ["dog", "cat"]
    assert [box.get_linestyle() for box in boxes] == ["-", "--"]
    # What scores below the threshold, and padding, is not drawn.
    found, texts, found_boxes = _drawn(panels[0, 1])
    assert found == [[6, 11, 18, 18]] and texts == ["dog 87"]
    assert found_boxes[0].get_edgecolor() == boxes[0].get_edgecolor()
    assert not panels[1, 0].patches and not panels[1, 1].patches
    # Coordinates of boxes are those of the picture.
    assert [*panels[0, 0].images[0].get_extent()] == [0, 60, 40, 0]
    plt.close(figure)


def test_classes_without_names_are_numbered():
    figure = plot_detections(
        IMAGES[:1],
        TRUTH[:1],
        [{key: rows[0] for key, rows in FOUND.items()}],
        threshold=0.1,
    )
    assert sorted(t.get_text() for t in figure.axes[1].texts) == [
        "0 20",
        "1 87",
    ]
    plt.close(figure)


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(ValueError, match="1 image, 2 truths, 2 predictions"):
        plot_detections(IMAGES[:1], TRUTH, FOUND)
    with pytest.raises(ValueError, match="0 images"):
        plot_detections([], [], [])
