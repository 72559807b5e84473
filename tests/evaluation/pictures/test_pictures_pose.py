import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib import colors

from keras_jft.evaluation.pictures.pose import COLORS, plot_poses

NAMES = ("neck", "left_hip", "right_hip")
BONES = ((0, 1), (0, 2), (1, 2))


@pytest.fixture
def poses():
    """Two people in one image, one in another; one point is not labeled."""
    person = np.float32([[10, 5, 2], [6, 20, 2], [14, 20, 1]])
    return [np.stack([person, person + [3, 2, 0]]), person * [1, 1, 0.5]]


@pytest.fixture(autouse=True)
def closed():
    """Closes the figures of a test."""
    yield
    plt.close("all")


def test_keypoints_are_drawn_in_place_and_joined_by_bones(poses):
    images = [np.zeros((30, 20, 3)), np.zeros((40, 24, 3))]
    poses[1][0, 2] = 0
    figure = plot_poses(images, poses, NAMES, BONES, titles=["a", "b"])
    first, second = figure.axes
    points = np.concatenate([c.get_offsets() for c in first.collections])
    np.testing.assert_allclose(points, poses[0][..., :2].reshape(-1, 2))
    assert len(first.lines) == 6
    # Without the neck one bone is left, between the hips.
    (bone,) = second.lines
    np.testing.assert_allclose(bone.get_xydata(), poses[1][1:, :2])
    assert bone.get_color() == COLORS[""]
    assert first.get_ylabel() == "a" and first.axis() == (0, 20, 30, 0)
    found = second.collections[0].get_facecolors()
    expected = [colors.to_rgba(COLORS[side]) for side in ("left", "right")]
    np.testing.assert_allclose(found, expected)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["left", "right", "middle"]


def test_sides_are_read_in_any_spelling(poses):
    image = [np.zeros((40, 24, 3))]
    names = ("bright spot", "LHip", "RHip")  # The spot has no side.
    figure = plot_poses(image, poses[1:], names)
    found = figure.axes[0].collections[0].get_facecolors()
    expected = [colors.to_rgba(COLORS[side]) for side in ("", "left", "right")]
    np.testing.assert_allclose(found, expected)


def test_truth_prediction_and_heat_maps_are_columns(poses):
    heat = np.zeros((3, 40, 24))
    heat[1, 20, 6] = 1
    figure = plot_poses(
        [np.full((40, 24, 3), 90)],
        poses[1:],
        NAMES,
        truth=poses[1:],
        heatmaps=[heat],
        least_score=0.7,
    )
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["Truth", "Prediction", "Heat maps"]
    truth, found, maps = figure.axes
    assert len(truth.collections[0].get_offsets()) == 3
    # The third scores 0.5.
    assert len(found.collections[0].get_offsets()) == 2
    shown = maps.images[1].get_array()
    assert shown[20, 6] == 1 and shown.sum() == 1


def test_what_does_not_fit_is_refused(poses):
    image = np.zeros((40, 24, 3))
    with pytest.raises(ValueError, match="0 images"):
        plot_poses([], [], NAMES)
    with pytest.raises(ValueError, match="1 image, {'Prediction': 2}"):
        plot_poses([image], poses, NAMES)
    with pytest.raises(ValueError, match=r"2 keypoints.*\(3, 3\)"):
        plot_poses([image], poses[1:], NAMES[:2])
    heat = [np.zeros((3, 24, 40))]
    with pytest.raises(ValueError, match="Heat maps.*the size of their image"):
        plot_poses([image], poses[1:], NAMES, heatmaps=heat)
