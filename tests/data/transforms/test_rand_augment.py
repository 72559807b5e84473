"""Each distortion by its formula; everything moves with the pixels."""

import contextlib

import keras
import numpy as np
import pytest

from keras_jft.data import batches
from keras_jft.data.batch import check_batch, collate
from keras_jft.data.pipeline import iterate
from keras_jft.data.transforms.rand_augment import OPERATIONS, RandAugment

SHAPES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
pytestmark = pytest.mark.ops


@pytest.fixture
def example():
    """A bright square with its box, mask, area and keypoint."""
    image = np.full((60, 80, 3), 30, "uint8")
    mask = np.zeros((60, 80, 1), "uint8")
    image[20:32, 44:56], mask[20:32, 44:56] = 220, 7
    return {
        "images": image,
        "segmentation_masks": mask,
        "bounding_boxes": {
            "boxes": np.float32([[44, 20, 56, 32]]),
            "labels": np.int32([3]),
            "areas": np.float32([144]),
        },
        "keypoints": np.float32([[50, 26, 2]]),
        "ids": "a",
    }


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("amount", [-0.6, -0.4, 0.4])
def test_everything_moves_with_the_pixels(example, name, amount):
    moved = OPERATIONS[name](example, amount)
    check_batch(collate([moved]))
    bright = moved["images"][..., 0] > 170
    square = moved["segmentation_masks"][..., 0] == 7
    assert (bright ^ square).sum() <= 30, "the border alone"
    (box,) = moved["bounding_boxes"]["boxes"]
    rows, columns = np.nonzero(square)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert abs(box - seen).max() <= 1.5
    center = [columns.mean() + 0.5, rows.mean() + 0.5]
    assert abs(moved["keypoints"][0, :2] - center).max() < 0.5
    # Turning and shearing change no area.
    assert abs(moved["bounding_boxes"]["areas"] - 144) < 1
    assert abs(square.sum() - 144) <= 12
    # What was not there is gray, and void in the mask.
    void = moved["segmentation_masks"][..., 0] == 255
    assert void.any() and (moved["images"][void] == 127).all()


def test_what_leaves_the_image_is_cut_and_dropped(example):
    example["bounding_boxes"]["boxes"][0] = [70, 20, 80, 30]
    moved = OPERATIONS["translate_x"](example, 1 / 6)  # 6 of 80 pixels.
    entry = moved["bounding_boxes"]
    assert entry["boxes"].tolist() == [[76, 20, 80, 30]]
    np.testing.assert_allclose(entry["areas"], [144 * 0.4], rtol=1e-5)
    gone = OPERATIONS["translate_x"](example, 0.5)
    assert gone["bounding_boxes"]["labels"].tolist() == []


def _gray(x):
    return (x @ [0.2989, 0.587, 0.114])[..., None]


def _smooth(x):
    """3 x 3 means with a heavy center; edges are repeated."""
    kernel = np.float64([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    framed = np.pad(x, [(1, 1), (1, 1), (0, 0)], mode="edge")
    height, width = x.shape[:2]
    return sum(
        kernel[i, j] * framed[i : i + height, j : j + width]
        for i in range(3)
        for j in range(3)
    )


def _around_mean(x, factor):
    mean = x.mean((0, 1))
    return mean + factor * (x - mean)


@pytest.mark.parametrize(
    "name, amount, formula",
    [
        ("identity", 1, lambda x: x),
        ("brightness", -0.4, lambda x: x - 0.18 * 255),
        ("contrast", 0.5, lambda x: _around_mean(x, 1.45)),
        ("color", -0.5, lambda x: 0.55 * x + 0.45 * _gray(x)),
        ("sharpness", -1, lambda x: 0.1 * x + 0.9 * _smooth(x)),
        ("sharpness", 0, lambda x: x),
        ("posterize", 1, lambda x: x // 16 * 16),
        ("solarize", 0.59, lambda x: np.where(x > 104, 255 - x, x)),
        (
            "auto_contrast",
            1,
            lambda x: (x - x.min((0, 1))) * 255 / np.ptp(x, axis=(0, 1)),
        ),
    ],
)  # fmt: skip
def test_colors_change_by_their_formula(rng, name, amount, formula):
    image = rng.integers(20, 200, (24, 30, 3), "uint8")
    changed = OPERATIONS[name]({"images": image}, amount)["images"]
    expected = np.clip(formula(image.astype("float64")), 0, 255)
    assert changed.dtype == np.uint8
    assert abs(changed - expected).max() <= 1.01


def test_each_operation_is_drawn_about_equally_often(monkeypatch):
    counts = dict.fromkeys(OPERATIONS, 0)
    signs = []
    for name in OPERATIONS:

        def count(example, amount, name=name):
            counts[name] += 1
            signs.append(amount)
            return example

        monkeypatch.setitem(OPERATIONS, name, count)
    for seed in range(650):
        RandAugment(2, 0.5)({}, np.random.default_rng(seed))
    # 100 each; the standard deviation is 9.6.
    assert all(60 < count < 140 for count in counts.values())
    assert set(signs) == {-0.5, 0.5}


def test_draws_are_the_pipeline_s(make_data):
    data = make_data(8, size=(32, 32))
    options = {"transforms": [RandAugment(3)], "training": True}
    first = list(iterate(data, 4, workers=1, **options))
    for batch, other in zip(first, iterate(data, 4, **options), strict=True):
        np.testing.assert_array_equal(batch["images"], other["images"])


# Strategies are TensorFlow's.
SCOPES = ["none", "mirrored"][: 1 + (keras.backend.backend() == "tensorflow")]


@pytest.mark.parametrize("scope", SCOPES)
def test_tf_data_gives_the_same(make_data, scope):
    tf = pytest.importorskip("tensorflow")
    data = make_data(6, size=(40, 50))
    options = {"transforms": "modern", "training": True, "seed": 3}
    expected = list(iterate(data, 3, **options))
    context = contextlib.nullcontext()
    if scope == "mirrored":
        cpus = tf.config.list_logical_devices("CPU")
        names = [cpu.name for cpu in cpus]
        context = tf.distribute.MirroredStrategy(names).scope()
    with context:
        dataset = batches(data, 3, **options)
        assert dataset.element_spec["images"].shape == (3, 224, 224, 3)
        found = list(dataset)
    for batch, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(batch["images"], other["images"])


def test_what_knows_its_place_is_not_turned(example):
    padded = {**example, "image_sizes": np.int32([60, 80])}
    with pytest.raises(ValueError, match=r"'a' with \['image_sizes'\]"):
        OPERATIONS["rotate"](padded, 1)
    with pytest.raises(ValueError, match="`magnitude`"):
        RandAugment(2, 1.5)
