"""Sizes and unreadable images against the list of examples."""

from collections import Counter

import numpy as np

from keras_jft.data.statistics.counts import examine


def _examples(rng, num):
    sizes = [(4 + i % 3, 5 + i % 7) for i in range(num)]
    return [
        {
            "images": rng.integers(0, 255, (*size, 3), "uint8"),
            "ids": f"{i}.png",
        }
        for i, size in enumerate(sizes)
    ]


def test_every_image_is_read_once_and_bad_ones_are_counted(listed, rng):
    examples = _examples(rng, 300)
    examples[3]["images"][...] = 9
    bad = {f"{i}.png" for i in range(0, 300, 50)}
    sample = examine(listed(examples, bad), 300, most_named=4)
    sizes = [e["images"].shape[:2] for e in examples if e["ids"] not in bad]
    assert sample.examined == 300 and sample.read == 294
    assert sample.sizes == Counter(sizes)
    assert sample.widths.mean == np.mean([width for _, width in sizes])
    assert sample.heights.quantile(0.5) == np.quantile(
        [height for height, _ in sizes], 0.5, method="inverted_cdf"
    )
    assert sample.gray == 1
    assert sample.failures.causes == {"is damaged": 6}
    assert len(sample.failures.named) == 4


def test_a_sample_is_the_same_whatever_the_order_of_the_source(listed, rng):
    examples = _examples(rng, 60)
    forward, backward = listed(examples), listed(examples[::-1])
    examine(forward, 9, seed=3)
    examine(backward, 9, seed=3)
    assert set(forward.reads) == set(backward.reads)
    assert len(set(forward.reads)) == 9


def test_mask_values_are_counted_by_pixel_and_image(listed, rng):
    masks = rng.choice([0, 3, 255], (20, 6, 6, 1)).astype("uint8")
    examples = [
        {
            "images": np.zeros((6, 6, 3), "uint8"),
            "segmentation_masks": m,
            "ids": i,
        }
        for i, m in enumerate(masks)
    ]
    sample = examine(listed(examples), 20)
    for value in (0, 3, 255):
        assert sample.mask_pixels[value] == (masks == value).sum()
        images = (masks == value).any(axis=(1, 2, 3)).sum()
        assert sample.mask_images[value] == images
    assert sample.mask_pixels.sum() == masks.size


def test_no_image_is_read_unasked(listed, rng):
    data = listed(_examples(rng, 5))
    assert examine(data, 0).examined == 0 == len(data.reads)
    assert examine(listed([]), 10).examined == 0
