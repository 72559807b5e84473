"""Boxes of TFDS: fractions in y, x order become pixels in x, y order."""

import numpy as np
import pytest

from keras_jft import data as jft_data
from keras_jft.data.datasets import tfds as tfds_lib
from keras_jft.data.datasets.tfds import TfdsBoxes


def _source(boxes, **extra):
    labels = np.arange(len(boxes))
    objects = {"bbox": np.float32(boxes), "label": labels, **extra}
    return [{"image": np.zeros((8, 10, 3), "uint8"), "objects": objects}]


def test_fractions_become_pixels():
    source = _source(
        [[0.25, 0.1, 0.5, 0.4], [0, 0, 1, 1]],
        is_difficult=np.array([True, False]),
        area=np.array([3, 80]),
    )
    data = TfdsBoxes(source, ("a", "b"), "set")
    example = data[0]
    entry = example["bounding_boxes"]
    np.testing.assert_allclose(
        entry["boxes"], [[1, 2, 4, 4], [0, 0, 10, 8]], atol=1e-5
    )
    assert entry["ignored"].tolist() == [True, False]
    assert entry["areas"].tolist() == [3, 80]
    assert example["ids"] == 0 and data.ids([0]).tolist() == [0]
    # VOC's boxes begin one pixel before their first pixel's number.
    moved = TfdsBoxes(source, ("a", "b"), "set", shift=-1.0)[0][
        "bounding_boxes"
    ]
    np.testing.assert_allclose(
        moved["boxes"], [[0, 1, 4, 4], [0, 0, 10, 8]], atol=1e-5
    )


def test_faulty_boxes_are_named_or_dropped():
    source = _source([[0, 0, 1, 1], [0.5, 0, 0.25, 1]])
    with pytest.raises(ValueError, match="Example 0, box number 1: expected a"):
        TfdsBoxes(source, ("a", "b"), "set")[0]
    data = TfdsBoxes(source, ("a", "b"), "set", on_error="drop")
    entry = data[0]["bounding_boxes"]
    assert entry["boxes"].shape == (1, 4) and entry["labels"].tolist() == [0]


def test_an_image_may_have_no_boxes():
    source = _source(np.zeros((0, 4)))
    data = TfdsBoxes(source, (), "set")
    assert data[0]["bounding_boxes"]["boxes"].shape == (0, 4)


class _Torn(list):
    """A source whose last example cannot be read."""

    def __len__(self):
        return super().__len__() + 1


def test_damage_is_named():
    source = _Torn(_source([[0, 0, 1, 1]]))
    source[0]["image"] = b"no image"
    data = TfdsBoxes(source, ("a",), "some/set")
    with pytest.raises(jft_data.UnreadableImage, match="Image 0 of some/set"):
        data[0]
    with pytest.raises(ValueError, match="Example 1 of 'some/set' cannot be"):
        data[1]
    with pytest.raises(ValueError, match="`on_error` must be one of"):
        TfdsBoxes(source, ("a",), "some/set", on_error="nonsense")


def _even(examples):
    """TFDS's made-up examples with boxes that could be.

    It draws each field of `objects` with a length of its own, and the corners
    of a box in any order.
    """
    for example in examples:
        objects = example["objects"]
        shortest = min(map(len, objects.values()))
        objects = {key: rows[:shortest] for key, rows in objects.items()}
        corners = np.sort(objects["bbox"].reshape(-1, 2, 2), axis=1)
        objects["bbox"] = corners.reshape(-1, 4)
        yield {**example, "objects": objects}


@pytest.mark.parametrize(
    ("name", "num_classes", "known"),
    [("coco", 80, {"ignored", "areas"}), ("voc", 20, {"ignored"})],
)
def test_the_structure_is_that_of_tfds(name, num_classes, known, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    # TFDS cannot encode what it makes up: see `_even`.
    monkeypatch.setattr(tfds_lib, "_decoders", lambda tfds: None)
    with tfds.testing.mock_data(num_examples=3):
        data = jft_data.load(name, source="tfds", on_error="drop")
        data._source = list(_even(data._source))
    assert len(data) == 3 and len(data.info.label_names) == num_classes
    examples = data.take([0, 1, 2])
    assert sum(len(e["bounding_boxes"]["boxes"]) for e in examples) > 0
    for example in examples:
        entry = example["bounding_boxes"]
        assert entry.keys() == {"boxes", "labels", *known}
        batch = jft_data.collate([example])
        jft_data.check_batch(batch, num_classes=num_classes)
