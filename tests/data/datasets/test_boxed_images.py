"""Images with boxes: what is a box, and what becomes of one that is none."""

import numpy as np
import pytest

from keras_jft.data.datasets.boxed_images import (
    BoxedImages,
    Faults,
    clipped,
    fault_of,
)

SIZE = (8, 10)


@pytest.mark.parametrize(
    ("box", "word"),
    [
        ([0, 0, 10, 8], None),
        ([-1, -1, 11, 9], None),
        ([5, 5, 5.01, 5.01], None),
        ([9.5, 0, 10.5, 8], None),
        ([2, 2, 2, 4], "width"),
        ([2, 2, 4, 1], "width"),
        ([5, 5, 5.0001, 6], "width"),
        ([-1.01, 0, 4, 4], "inside"),
        ([0, 0, 10, 9.01], "inside"),
        ([10, 0, 11, 8], "inside"),
        ([-1, 0, 0, 8], "inside"),
    ],
)
def test_a_box_has_sides_and_lies_in_the_image_within_a_pixel(box, word):
    fault = fault_of(box, SIZE)
    assert fault is None if word is None else word in fault


def test_clipping_keeps_what_is_inside():
    assert clipped([-1, 2, 11, 9], SIZE) == (0, 2, 10, 8)


def test_faults_are_raised_or_counted():
    advice = "Bad. .*on_error='drop'"
    with pytest.raises(ValueError, match=advice), Faults("raise"):
        raise ValueError("Bad.")
    faults = Faults("drop")
    for reason in ("one", "two"):
        with faults:
            raise ValueError(reason)
    with pytest.warns(UserWarning, match="Left out 2 .*'file'.*because: one"):
        faults.warn("file")
    with pytest.raises(TypeError), faults:
        raise TypeError("A mistake of ours is no fault of the file.")


def test_no_image_has_a_box(save_image):
    path = save_image("a.png", size=SIZE)
    empty = {
        "boxes": np.zeros((0, 4), "float32"),
        "labels": np.zeros(0, "int32"),
    }
    data = BoxedImages(["a"], [path], [SIZE], [empty], ("cat",))
    assert data.info.max_boxes == 1
    assert data.info.class_counts.tolist() == [0]
    assert data[0]["bounding_boxes"]["boxes"].shape == (0, 4)


def test_boxes_that_are_fractions_of_the_image_are_refused():
    def make(boxes):
        entries = [
            {
                "boxes": np.float32([box]),
                "labels": np.int32([0]),
                "ignored": np.array([False]),
            }
            for box in boxes
        ]
        paths = [f"{place}.png" for place in range(len(boxes))]
        sizes = [(9, 9)] * len(boxes)
        return BoxedImages(paths, paths, sizes, entries, ("cat",))

    with pytest.raises(ValueError, match=r"not in 0\.\.1.*above 1 in 2 boxes"):
        make([(0.25, 0.5, 0.75, 1), (0, 0, 1, 1)])
    # One box in pixels is enough, and a box may be one pixel.
    assert len(make([(0.25, 0.5, 0.75, 1), (0, 0, 2, 1)])) == 2
    assert len(make([(0, 0, 1, 1)])) == 1
