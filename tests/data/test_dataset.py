"""Data sets are told apart; a wrapper passes on all that it does not change."""

import hashlib

import numpy as np
import pytest

import keras_jft as jft
from keras_jft.data import subsets
from keras_jft.data.dataset import fingerprint
from keras_jft.evaluation.duplicates.copies import Copies

NAMES = ("x", "y", "z")


class Files(jft.data.Dataset):
    """Three examples with files; reading their images can be forbidden."""

    may_open = True
    info = jft.data.Info(num_examples=3, label_names=NAMES, max_labels=2)

    def ids(self, positions):
        return np.array(["a", "b", "c"])[np.asarray(positions)]

    def image_bytes(self, position):
        return f"file {position}".encode()

    def take(self, positions):
        assert self.may_open, "an image was opened"
        return [
            {**row, "images": np.full((8, 8, 3), position, "uint8")}
            for position, row in zip(
                positions, self.annotations(positions), strict=True
            )
        ]

    def annotations(self, positions):
        return [
            {"ids": str(self.ids(p)), "labels": np.array([0, p], "int32")}
            for p in positions
        ]


class Reversed(jft.data.Wrapped):
    """The examples from last to first, with one label each."""

    def __init__(self, data):
        super().__init__(data, max_labels=1)

    def positions_in_data(self, positions):
        return len(self) - 1 - np.asarray(positions)

    def change(self, examples):
        return [{**e, "labels": e["labels"][-1:]} for e in examples]


def test_a_wrapper_without_changes_has_what_its_data_set_has():
    data = Files()
    wrapped = jft.data.Wrapped(data)
    assert wrapped.info is data.info
    assert wrapped.ids([2, 0]).tolist() == ["c", "a"]
    assert wrapped.image_bytes(1) == b"file 1"
    assert wrapped[1]["images"].max() == 1
    assert [e["ids"] for e in wrapped] == ["a", "b", "c"]
    with pytest.raises(IndexError, match="0..2"):
        wrapped[3]


@pytest.mark.parametrize(
    "door",
    [
        lambda data: jft.data.iterate(data, 2),
        lambda data: jft.data.subset(data, 2),
        lambda data: jft.data.NoisyLabels(data),
        jft.data.Wrapped,
        jft.data.describe,
        jft.data.cache,
    ],
)
@pytest.mark.parametrize("other", [None, "photos", [1, 2]], ids=repr)
def test_what_is_not_a_data_set_is_refused(door, other):
    with pytest.raises(ValueError, match="`data` must be a data set"):
        door(other)


@pytest.mark.parametrize("field", ["label_names", "mask_names"])
def test_names_in_two_unicode_forms_are_refused_from_every_source(field):
    twins = {field: ("dog", "caf\u00e9", "cafe\u0301")}
    with pytest.raises(ValueError, match=f"`{field}`.*another Unicode form"):
        jft.data.Info(num_examples=1, **twins)


def test_order_and_labels_can_be_changed():
    wrapped = Reversed(Files())
    assert wrapped.info.max_labels == 1
    assert wrapped.info.label_names == NAMES
    assert wrapped.ids([0, 1]).tolist() == ["c", "b"]
    assert wrapped.image_bytes(0) == b"file 2"
    example = wrapped[0]
    assert example["ids"] == "c"
    assert example["images"].max() == 2
    assert example["labels"].tolist() == [2]
    labels = [e["labels"].tolist() for e in wrapped.annotations([0, 1, 2])]
    assert labels == [[2], [1], [0]]


@pytest.mark.parametrize(
    "wrap",
    [
        jft.data.Wrapped,
        Reversed,
        lambda data: jft.data.subset(data, 3),
        lambda data: subsets.at(data, np.array([2, 0])),
        lambda data: subsets.OnlyLabels(data, ["x", "y"]),
        lambda data: jft.data.NoisyLabels(data, wrong=0.5),
        lambda data: Copies(data, "flip"),
        jft.data.cache,
    ],
)
def test_annotations_are_read_without_opening_images(wrap):
    data = Files()
    wrapped = wrap(data)
    data.may_open = False  # From here on: a cache has read all images.
    positions = np.arange(len(wrapped))
    found = wrapped.annotations(positions)
    assert [e["ids"] for e in found] == wrapped.ids(positions).tolist()
    assert not any("images" in e for e in found)


def test_edited_copies_are_not_the_images_of_files():
    copies = Copies(Files(), "flip")
    assert copies.image_bytes(0) is None
    assert copies.ids([1]).tolist() == ["b"]


def test_a_fingerprint_is_a_digest_of_ids_in_their_order(make_data, listed):
    data = make_data(100)
    # 64 positions from 0 to 99, rounded down.
    ids = sorted({int(i * 99 / 63) for i in range(64)})
    digest = hashlib.sha256(repr(ids).encode()).hexdigest()
    assert fingerprint(data) == digest[:16]
    assert not data.reads
    assert fingerprint(listed(data.examples[::-1])) != fingerprint(data)
    assert fingerprint(make_data(2)) != fingerprint(make_data(3))


def test_numbers_and_texts_have_other_fingerprints(make_data):
    numbers, texts = make_data(3), make_data(3, ids=["0", "1", "2"])
    assert fingerprint(numbers) != fingerprint(texts)
