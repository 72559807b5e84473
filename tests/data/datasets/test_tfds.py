"""Data sets of TFDS: the real feature structures, with made-up contents."""

import numpy as np
import pytest

import keras_jft as jft
from keras_jft.data.dataset import Info
from keras_jft.data.datasets import tfds as tfds_labels

tfds = pytest.importorskip("tensorflow_datasets")
NUM = 3


@pytest.fixture
def mocked():
    with tfds.testing.mock_data(num_examples=NUM):
        yield


@pytest.fixture
def arrays(monkeypatch):
    """TFDS draws each field of `objects` with a length of its own, which it
    cannot encode: images are decoded by it."""
    monkeypatch.setattr(tfds_labels, "_decoders", lambda tfds: None)


def _check(data, num_classes):
    examples = data.take(np.arange(NUM))
    for example in examples:
        batch = jft.data.collate([example])
        jft.data.check_batch(batch, num_classes=num_classes)
    return examples


@pytest.mark.parametrize(
    ("config", "field", "num_classes", "name"),
    [
        ("imagenet2012", None, 1000, "n01440764"),
        ("cifar100", None, 100, "0"),
        ("cifar100", "coarse_label", 20, "0"),
        ("mnist", None, 10, "0"),
    ],
)
def test_one_label_an_image(config, field, num_classes, name, mocked):
    data = jft.data.load("tfds", "test", config=config, field=field)
    assert len(data) == NUM and len(data.info.label_names) == num_classes
    # Names of others lie in files that are not part of the package.
    assert data.info.label_names[0] == name
    examples = _check(data, num_classes)
    assert all(np.ndim(example["labels"]) == 0 for example in examples)
    assert [example["ids"] for example in examples] == [0, 1, 2]
    assert data.image_bytes(0)[:4] in (b"\x89PNG", b"\xff\xd8\xff\xe0")


def test_many_labels_an_image(mocked, arrays):
    data = jft.data.load("tfds", config="voc", max_labels=20)
    assert len(data.info.label_names) == 20 and data.info.max_labels == 20
    assert "person" in data.info.label_names
    for example in _check(data, 20):
        assert (np.diff(example["labels"]) > 0).all()
    assert data.image_bytes(0) is None


def test_boxes_come_through_tfds_boxes(mocked):
    for config, field, num in (("voc", "objects", 20), ("coco", None, 80)):
        data = jft.data.load("tfds", config=config, field=field)
        assert len(data) == NUM and len(data.info.label_names) == num
        assert type(data).__name__ == "TfdsBoxes"


def test_open_images_has_many_labels(mocked, arrays):
    data = jft.data.load("tfds", config="open_images_v4/200k")
    assert len(data.info.label_names) == 19_995
    trainable = jft.data.load(
        "tfds", config="open_images_v4/200k", field="objects_trainable"
    )
    assert len(trainable.info.label_names) == 7186
    boxes = jft.data.load("tfds", config="open_images_v4/200k",
                          field="bobjects")  # fmt: skip
    assert len(boxes.info.label_names) == 601


def test_labels_below_a_confidence_are_left_out():
    labels = {
        "label": np.array([5, 2, 9, 2, 7]),
        "confidence": np.array([10, 0, 4, 8, 5]),
        "source": np.zeros(5),
    }
    source = [{"image": np.zeros((4, 5, 1), "uint8"), "objects": labels}]
    info = Info(num_examples=1, label_names=tuple("abcdefghij"))
    for least, expected in ((1, [2, 5, 7, 9]), (5, [2, 5, 7]), (11, [])):
        data = tfds_labels.Tfds(source, "objects", info, "x", least)
        assert data[0]["labels"].tolist() == expected
    assert data[0]["images"].shape == (4, 5, 3)


def test_damage_is_named():
    info = Info(num_examples=2, label_names=("a", "b"))
    source = [{"image": b"no image", "label": np.int64(1)}]
    data = tfds_labels.Tfds(source, "label", info, "some/set", 1)
    with pytest.raises(ValueError, match="Image 0 of some/set.*cannot be"):
        data[0]
    with pytest.raises(ValueError, match="Example 1 of 'some/set' cannot be"):
        data[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": "imagenet21kk"}, "must name a TFDS data set.*21kk"),
        ({"config": "cifar100", "field": "tags"}, r"'coarse_label'.*'tags'"),
        ({"config": "cifar100", "field": "id"}, "must hold class labels"),
        ({"config": "gsm8k"}, "must have the field `image`"),
    ],
)
def test_what_is_no_labeled_image_set_is_refused(options, message, mocked):
    with pytest.raises(ValueError, match=message):
        jft.data.load("tfds", **options)
