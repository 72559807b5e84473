"""Examples become batches: stacked, and padded with -1."""

import numpy as np
import pytest

from keras_jft.data.batch import check_batch, collate


def _example(num_labels, num_boxes, name):
    return {
        "images": np.full((4, 5, 3), num_labels, "uint8"),
        "labels": np.arange(num_labels, dtype="int32"),
        "bounding_boxes": {
            "boxes": np.tile(np.float32([0, 0, 5, 4]), (num_boxes, 1)),
            "labels": np.arange(num_boxes, dtype="int32"),
        },
        "segmentation_masks": np.full((4, 5, 1), num_boxes, "uint8"),
        "keypoints": np.full((2, 3), 1, "float32"),
        "ids": name,
    }


def test_a_batch_holds_each_example_and_padding():
    sizes = [(2, 0), (0, 3), (3, 1)]
    examples = [_example(n, m, f"{n}{m}") for n, m in sizes]
    batch = collate(examples)
    check_batch(batch)
    assert batch["labels"].tolist() == [[0, 1, -1], [-1, -1, -1], [0, 1, 2]]
    boxes = batch["bounding_boxes"]
    assert boxes["labels"].tolist() == [[-1, -1, -1], [0, 1, 2], [0, -1, -1]]
    assert boxes["boxes"].shape == (3, 3, 4)
    assert (boxes["boxes"][boxes["labels"] < 0] == 0).all()
    assert (boxes["boxes"][boxes["labels"] >= 0] == [0, 0, 5, 4]).all()
    assert batch["images"][:, 0, 0, 0].tolist() == [2, 0, 3]
    assert batch["segmentation_masks"][:, 0, 0, 0].tolist() == [0, 3, 1]
    assert batch["keypoints"].shape == (3, 2, 3)
    assert batch["ids"].tolist() == ["20", "03", "31"]


def test_batches_can_all_be_padded_to_one_width():
    batch = collate([_example(1, 1, 0)], max_labels=4, max_boxes=2)
    assert batch["labels"].tolist() == [[0, -1, -1, -1]]
    assert batch["bounding_boxes"]["boxes"].shape == (1, 2, 4)
    assert batch["ids"].dtype.kind == "i"


def test_single_labels_become_a_vector():
    examples = [
        {"images": np.zeros((1, 1, 3), "uint8"), "labels": np.int32(n)}
        for n in (5, 2)
    ]
    batch = collate(examples)
    assert batch["labels"].tolist() == [5, 2]
    assert batch["labels"].dtype == np.int32


def test_more_labels_or_boxes_than_allowed_are_refused():
    with pytest.raises(ValueError, match="`max_labels`=2.*with 3"):
        collate([_example(3, 0, 0)], max_labels=2)
    with pytest.raises(ValueError, match="`max_boxes`=1.*with 2"):
        collate([_example(0, 2, 0)], max_boxes=1)


def test_images_of_several_sizes_are_refused_by_id():
    odd = {**_example(1, 1, "odd.jpg"), "images": np.zeros((9, 5, 3), "uint8")}
    with pytest.raises(ValueError, match=r"odd\.jpg.*\(9, 5, 3\).*Resize"):
        collate([_example(1, 1, "a.jpg"), odd])


def test_images_of_several_sizes_are_padded_where_they_say_their_size():
    sizes = [(4, 5), (9, 3)]
    batch = collate(
        [
            {
                "images": np.full((*size, 3), i, "uint8"),
                "segmentation_masks": np.full((*size, 1), i, "uint8"),
                "image_sizes": np.array(size, "int32"),
            }
            for i, size in enumerate(sizes)
        ]
    )
    check_batch(batch)
    assert batch["images"].shape == (2, 9, 5, 3)
    for i, (height, width) in enumerate(sizes):
        for key, fill in (("images", 127), ("segmentation_masks", 255)):
            array = batch[key][i].copy()
            assert (array[:height, :width] == i).all()
            array[:height, :width] = fill
            assert (array == fill).all()
    assert batch["image_sizes"].tolist() == [[4, 5], [9, 3]]


def test_examples_with_other_keys_are_refused_by_id():
    odd = _example(1, 1, "odd.jpg")
    del odd["keypoints"]
    with pytest.raises(ValueError, match=r"same keys.*odd\.jpg"):
        collate([_example(1, 1, "a.jpg"), odd])


def test_what_belongs_to_boxes_is_padded_with_them():
    examples = [_example(1, count, count) for count in (2, 0)]
    for count, example in zip((2, 0), examples, strict=True):
        entry = example["bounding_boxes"]
        entry["ignored"] = np.ones(count, bool)
        entry["areas"] = np.full(count, 7, "float32")
    boxes = collate(examples, max_boxes=3)["bounding_boxes"]
    assert boxes["ignored"].tolist() == [[True, True, False], [False] * 3]
    assert boxes["areas"].tolist() == [[7, 7, 0], [0, 0, 0]]
    del examples[1]["bounding_boxes"]["areas"]
    with pytest.raises(ValueError, match="same keys.*'areas'"):
        collate(examples)


def test_no_examples_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        collate([])
