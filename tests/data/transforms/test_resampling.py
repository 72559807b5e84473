"""Linear resampling against its formula, with OpenCV and without."""

import numpy as np
import pytest

from keras_jft.data.transforms import resampling
from keras_jft.data.transforms.resampling import mirror, resample

SIZES = [((20, 30), (17, 23)), ((37, 25), (41, 60)), ((64, 48), (7, 30))]


@pytest.fixture(params=["with OpenCV", "without"])
def library(request, monkeypatch):
    if request.param == "without":
        monkeypatch.setattr(resampling, "_opencv", lambda: None)
    else:
        pytest.importorskip("cv2")


def _weights(old, new, antialias):
    """`(new, old)` weights; what would lie outside goes to the edge."""
    scale = max(old / new, 1) if antialias else 1
    centers = (np.arange(new)[:, None] + 0.5) * old / new
    if not antialias:
        centers = np.clip(centers, 0.5, old - 0.5)
    weights = 1 - abs(np.arange(old) + 0.5 - centers) / scale
    weights = np.maximum(weights, 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("old, new", SIZES)
@pytest.mark.parametrize("antialias", [True, False])
def test_images_are_resampled_linearly(library, rng, old, new, antialias):
    image = rng.integers(0, 256, (*old, 3), "uint8")
    rows, columns = (
        _weights(*sides, antialias) for sides in zip(old, new, strict=True)
    )
    expected = np.einsum("yh,xw,hwc->yxc", rows, columns, image)
    resized = resample(image, new, antialias=antialias)
    assert resized.dtype == np.uint8
    # Each of the two passes rounds.
    assert abs(resized - expected).max() <= 1.5


@pytest.mark.parametrize("antialias", [True, False])
def test_a_window_is_what_would_be_cut_out(library, rng, antialias):
    for _ in range(30):
        old = tuple(map(int, rng.integers(5, 70, 2)))
        new = tuple(map(int, rng.integers(8, 70, 2)))
        height, width = (int(rng.integers(1, side + 1)) for side in new)
        top = int(rng.integers(new[0] - height + 1))
        left = int(rng.integers(new[1] - width + 1))
        window = top, left, height, width
        for channels in (3, 1):
            pixels = rng.integers(0, 256, (*old, channels), "uint8")
            whole = resample(pixels, new, antialias=antialias).astype(int)
            part = resample(pixels, new, window, antialias=antialias)
            assert part.shape == (height, width, channels)
            cut = whole[top : top + height, left : left + width]
            assert abs(part - cut).max() <= (channels == 3)


def test_opencv_resizes_no_more_than_the_window_needs(rng, monkeypatch):
    cv2 = pytest.importorskip("cv2")
    resized = []

    class Spy:
        def resize(self, pixels, *args, **kwargs):
            resized.append(pixels.shape[:2])
            return cv2.resize(pixels, *args, **kwargs)

    monkeypatch.setattr(resampling, "_opencv", Spy)
    image = rng.integers(0, 256, (680, 510, 3), "uint8")
    # Two pixels are one; three are two, so every even place is an edge of both.
    resample(image, (340, 340), (41, 0, 299, 299), antialias=False)
    resample(image, (340, 340), (0, 40, 100, 299), antialias=False)
    assert resized == [(598, 450), (201, 450)]


def test_a_mirror_is_a_mirror(library, rng):
    for channels in (3, 1):
        pixels = rng.integers(0, 256, (5, 7, channels), "uint8")
        np.testing.assert_array_equal(mirror(pixels), np.fliplr(pixels))
