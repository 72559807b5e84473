"""`check_batch` accepts whole batches and says what is wrong with others."""

import copy

import keras
import numpy as np
import pytest

from keras_jft.data.batch import check_batch, label_ids


@pytest.fixture
def batch():
    """A batch of two images, 6 high and 8 wide, with every key."""
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 256, (2, 6, 8, 3), "uint8"),
        "labels": np.array([[0, 4], [-1, 2]], "int32"),
        "unknown_labels": np.array([[3], [-1]], "int32"),
        "bounding_boxes": {
            "boxes": np.array(
                [[[1, 1, 5, 6], [0, 0, 8, 2]], [[2, 2, 3, 3], [9, 9, 0, 0]]],
                "float32",
            ),
            "labels": np.array([[0, 3], [4, -1]], "int32"),
            "ignored": np.array([[False, True], [False, False]]),
            "areas": np.array([[20, 9.5], [0, np.nan]], "float32"),
        },
        "segmentation_masks": rng.choice(
            np.array([0, 1, 2, 255], "uint8"), (2, 6, 8, 1)
        ),
        "keypoints": np.array([[[1, 2, 2]], [[0, 0, 0]]], "float32"),
        "image_sizes": np.array([[6, 8], [5, 4]], "int32"),
        "ids": np.array(["a", "b"]),
    }


LIMITS = {"num_classes": 5, "num_mask_classes": 3, "num_keypoints": 1}


def _replaced(batch, path, value):
    """A copy of `batch` with one entry replaced, or edited by a function."""
    batch = copy.deepcopy(batch)
    *folders, key = path.split("/")
    place = batch
    for folder in folders:
        place = place[folder]
    place[key] = value(place[key]) if callable(value) else value
    return batch


def test_a_whole_batch_passes(batch):
    check_batch(batch)
    check_batch(batch, **LIMITS)


def test_labels_may_have_weights_from_0_to_1(batch):
    weights = np.array([[1, 0.3], [0, 0.7]], "float32")
    check_batch({**batch, "label_weights": weights}, **LIMITS)
    for wrong, message in (
        (weights * 2, r"in 0\.\.1\. Received values in 0\.\.2"),
        (weights[:, :1], r"shape of `labels`, \(2, 2\)"),
        (weights.astype("float64"), "must be float32"),
        (weights * np.nan, "in 0..1"),
    ):
        with pytest.raises(ValueError, match=message):
            check_batch({**batch, "label_weights": wrong})


def test_each_key_but_images_may_be_missing(batch):
    for key in batch.keys() - {"images"}:
        check_batch({k: v for k, v in batch.items() if k != key}, **LIMITS)
    with pytest.raises(ValueError, match="must have `images`"):
        check_batch({"labels": batch["labels"]})


def test_what_belongs_to_boxes_may_be_missing(batch):
    for key in ("ignored", "areas"):
        del batch["bounding_boxes"][key]
        check_batch(batch, **LIMITS)


def test_padding_rows_of_boxes_may_hold_anything(batch):
    boxes = batch["bounding_boxes"]["boxes"]
    boxes[1, 1] = [np.nan, -5, 1e9, 0]
    check_batch(batch, **LIMITS)


@pytest.mark.ops
def test_tensors_of_the_backend_pass_like_arrays(batch):
    del batch["ids"]
    tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, batch)
    check_batch(tensors, **LIMITS)
    tensors["images"] = keras.ops.convert_to_tensor(batch["images"] / 255.0)
    with pytest.raises(ValueError, match="images"):
        check_batch(tensors)


def test_images_may_be_floats_in_0_to_255_and_black(batch):
    check_batch({"images": batch["images"].astype("float32")})
    check_batch({"images": np.zeros((1, 2, 2, 3), "float32")})
    check_batch({"images": np.zeros((0, 2, 2, 3), "float32")})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("images", lambda x: (x / 255).astype("float32"), "not in 0..1.*255"),
        ("images", lambda x: x / np.float32(127.5) - 1, "0..255.*Undo"),
        ("images", lambda x: x.astype("float32") * 2, "0..255.*Undo"),
        ("images", lambda x: x.astype("float32") * np.nan, "finite"),
        ("images", lambda x: x.astype("int64"), "uint8 or float32.*int64"),
        ("images", lambda x: x[0], r"shape.*\(6, 8, 3\)"),
        ("images", lambda x: x[..., :1], r"shape.*\(2, 6, 8, 1\)"),
        ("label", np.zeros(2), r"Rename or drop \['label'\]"),
        ("labels", lambda x: x.astype("int64"), "`labels` must be int32"),
        ("labels", lambda x: x.astype("float32"), "`labels` must be int32"),
        ("labels", lambda x: x[:1], r"`labels` must have shape \(2,\)"),
        ("labels", lambda x: x + 1, r"`labels` must be in -1\.\.4"),
        ("labels", lambda x: x - 1, r"`labels` must be in -1\.\.4"),
        ("labels", np.array([0, -1], "int32"), r"must be in 0\.\.4"),
        ("labels", np.eye(2, 5, dtype="int32"), "label ids.*zeros and ones"),
        ("unknown_labels", lambda x: x + 2, r"unknown_labels.*-1\.\.4"),
        ("unknown_labels", lambda x: x[:, 0], r"shape \(2, labels\)"),
        ("unknown_labels", lambda x: x > 0, "`unknown_labels` must be int32"),
        ("bounding_boxes", np.zeros((2, 1, 5)), "dict with `boxes`"),
        ("bounding_boxes/boxes", lambda x: x / 10, "not in 0..1"),
        ("bounding_boxes/boxes", lambda x: x[:, :1], r"\(2, N, 4\)"),
        ("bounding_boxes/boxes", lambda x: x[..., [2, 1, 0, 3]], "x1 < x2"),
        ("bounding_boxes/boxes", lambda x: x * [1, 1, 1, np.nan], "float32"),
        ("bounding_boxes/boxes", lambda x: x * np.float32(np.nan), "finite"),
        ("bounding_boxes/boxes", lambda x: x + np.float32(1), "in the image"),
        ("bounding_boxes/labels", lambda x: x + 1, r"of boxes.*-1\.\.4"),
        ("bounding_boxes/ignored", lambda x: x * 1, "ignored of boxes.*bool"),
        ("bounding_boxes/ignored", lambda x: x[:, :1], r"labels, \(2, 2\)"),
        ("bounding_boxes/areas", lambda x: -x, "areas.*0 or more"),
        ("bounding_boxes/areas", lambda x: x * np.float32(np.nan), "finite"),
        ("bounding_boxes/scores", np.zeros((2, 2)), "no other keys but"),
        ("segmentation_masks", lambda x: x[..., 0], r"\(2, 6, 8, 1\)"),
        ("segmentation_masks", lambda x: x[:, :3], r"\(2, 6, 8, 1\)"),
        ("segmentation_masks", lambda x: x.astype("int32"), "uint8"),
        ("segmentation_masks", lambda x: x // 2, r"0\.\.2.*127"),
        ("keypoints", lambda x: x[..., :2], r"\(2, 1, 3\)"),
        ("keypoints", lambda x: np.repeat(x, 2, axis=1), r"\(2, 1, 3\)"),
        ("keypoints", lambda x: x * np.float32(np.nan), "finite"),
        ("keypoints", lambda x: x[..., ::-1] + np.float32(3), "visibility"),
        ("image_sizes", lambda x: x + np.int32(1), "before padding to.*PadTo"),
        ("image_sizes", lambda x: x[0], r"shape \(2, 2\)"),
        ("image_sizes", lambda x: x * 1.0, "`image_sizes` must be int32"),
        ("image_sizes", lambda x: x // 2, "in the image, 4 wide and 3 high"),
        ("ids", lambda x: x[:1], "2 integers or strings"),
        ("ids", np.zeros(2), "integers or strings.*float64"),
    ],
)
def test_a_broken_batch_is_refused_with_the_reason(batch, path, value, message):
    with pytest.raises(ValueError, match=message):
        check_batch(_replaced(batch, path, value), **LIMITS)


def test_multi_hot_targets_become_the_ids_of_their_ones(rng):
    targets = rng.random((50, 7)) < 0.3
    expected = [np.flatnonzero(row).tolist() for row in targets]
    for kind in ("bool", "int64", "uint8", "float32"):
        ids = label_ids(targets.astype(kind))
        assert ids.dtype == np.int32
        assert ids.shape == (50, targets.sum(axis=1).max())
        assert [[i for i in row if i >= 0] for row in ids.tolist()] == expected
    assert label_ids(np.zeros((2, 3))).tolist() == [[-1], [-1]]


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        ([[0, 3], [1, -1]], "label ids already"),
        ([[0.2, 1.0]], "threshold"),
        ([[np.nan, 1.0]], "zeros and ones"),
        ([["cat", "dog"]], "zeros and ones"),
        ([0, 1], "multi-hot"),
    ],
)
def test_what_is_not_multi_hot_is_not_converted(targets, says):
    with pytest.raises(ValueError, match=says):
        label_ids(targets)


def test_a_batch_of_multi_hot_labels_is_refused_and_of_ids_is_not():
    images = np.zeros((2, 8, 8, 3), "uint8")

    def check(labels, num_classes):
        labels = np.array(labels, "int32")
        check_batch(
            {"images": images, "labels": labels}, num_classes=num_classes
        )

    for labels in ([[0, 1, 0], [1, 1, 0]], [[0, 0], [1, 0]]):
        with pytest.raises(ValueError, match=r"jft.data.label_ids\(Y\)"):
            check(labels, len(labels[0]))
    check([[0, 1], [1, 0]], 2)  # Legal ids: both classes of each image.
    check([[0, 1, -1], [1, -1, -1]], 3)
    check([[0, 1, 0], [1, 1, 0]], 4)  # As many slots as fit no class count.
