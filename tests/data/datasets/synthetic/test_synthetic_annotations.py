"""What an annotator would draw, against brute force."""

import numpy as np

from keras_jft.data.datasets import synthetic
from keras_jft.data.datasets.synthetic import tasks


def test_a_void_ring_is_where_a_neighbor_has_a_higher_class():
    plain, ringed = (
        synthetic.load(task="segmentation", image_size=24, void_ring=ring)
        for ring in (False, True)
    )
    for a, b in zip(plain.take(range(10)), ringed.take(range(10)), strict=True):
        mask = a["segmentation_masks"][..., 0]
        for y in range(24):
            for x in range(24):
                neighbors = [
                    mask[j, i]
                    for j, i in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
                    if 0 <= j < 24 and 0 <= i < 24
                ]
                expected = 255 if max(neighbors) > mask[y, x] else mask[y, x]
                assert b["segmentation_masks"][y, x, 0] == expected


def test_the_box_of_a_mask_is_that_of_numpy_nonzero():
    masks = np.random.default_rng(0).random((30, 7, 9)) < 0.05
    masks[0] = False
    for mask, box in zip(masks, tasks._boxes_of(masks), strict=True):
        rows, columns = np.nonzero(mask)
        expected = (
            (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            if len(rows)
            else (0, 0, 0, 0)
        )
        np.testing.assert_array_equal(box, expected)
