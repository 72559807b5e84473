"""What every head promises, run over the table of heads."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import training
from keras_jft.backbones import ResNet
from keras_jft.transfer import HEADS

pytestmark = [pytest.mark.ops, pytest.mark.rewritten]

# What a tiny instance of each head takes, and a batch that it can learn.
OPTIONS = {
    "classification": {},
    "multi_label": {},
    "deeplab_aspp": {"output_stride": 4, "rates": (1, 2)},
    "faster_rcnn": {
        "anchor_base": 11,
        "anchor_scales": (1.0,),
        "rpn_filters": 16,
        "rpn_samples": 32,
        "head_samples": 16,
        "num_proposals": 24,
        "crop_size": 4,
    },
    "pose": {"output_stride": 2, "radius": 4.0},
    "deeplab_v3_plus": {"rates": (1,), "projection_filters": 8},
    "deeplab_v3_plus, keras_hub": {
        "implementation": "keras_hub",
        "rates": (1,),
        "projection_filters": 8,
    },
    "retinanet": {},
    "retinanet, keras_hub": {"implementation": "keras_hub"},
    "yolo_v8": {"depth": 1},
}
# Learning rate and steps, if not 0.05 and 60.
TRAINING = {
    "faster_rcnn": (0.02, 60),
    "retinanet": (0.05, 20),
    "yolo_v8": (0.01, 40),
}
# Sooner than a graph where a single step is taken; JAX compiles each operation.
EAGER = keras.backend.backend() == "tensorflow"
# KerasCV's detectors train on TensorFlow alone.
NAMES = [
    name
    for name in OPTIONS
    if name not in ("retinanet", "yolo_v8")
    or keras.backend.backend() == "tensorflow"
]


def build(case, backbone, **options):
    head = HEADS[case.split(",")[0]]
    return head.build(backbone, 3, **OPTIONS[case], **options)


@pytest.fixture
def batch(rng):
    """Images whose color is their class; the lower half is another class.

    Around each keypoint is a dot of a color of its own.
    """
    labels = np.arange(8) % 3
    images = rng.integers(0, 60, (8, 16, 16, 3))
    masks = np.zeros((8, 16, 16, 1), "uint8")
    halves = np.array([[0, 0, 16, 8], [0, 8, 16, 16]], "float32")
    keypoints = np.full((8, 3, 3), 2, "float32")
    for row, label in enumerate(labels):
        images[row, ..., label] += 150
        images[row, 8:] = 255 - images[row, 8:]
        masks[row, :8] = label
        masks[row, 8:] = (label + 1) % 3
        keypoints[row, :, :2] = [[4 + label, 8], [8, 4], [12, 8 - label]]
        for color, (x, y) in zip(
            np.eye(3), keypoints[row, :, :2].astype(int), strict=True
        ):
            images[row, y - 1 : y + 1, x - 1 : x + 1] = 255 * color
    return {
        "images": images.astype("uint8"),
        "labels": labels.astype("int32"),
        "bounding_boxes": {
            "boxes": np.tile(halves, (8, 1, 1)),
            "labels": np.stack([labels, (labels + 1) % 3], 1).astype("int32"),
        },
        "segmentation_masks": masks,
        "keypoints": keypoints,
    }


def test_every_head_is_in_this_test():
    assert {name.split(",")[0] for name in OPTIONS} == set(HEADS)


# These train a copy of the net that they are given. Steps on JAX donate
# buffers: of weights that both had, those of the net would be deleted.
COPYING = ("deeplab_aspp", "pose", "faster_rcnn")
# KerasHub's RetinaNet needs a tenth of the rate and three times the steps, half
# a minute: tests/backbones sees its loss fall.
LEARNING = [name for name in NAMES if name != "retinanet, keras_hub"]


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNING)
def test_a_head_learns_one_batch(name, tiny_backbone, batch):
    """And leaves a net as it was that it copies."""
    features = ops.convert_to_numpy(tiny_backbone(batch["images"]))
    model = build(name, tiny_backbone)
    assert isinstance(model, training.Model)
    rate, steps = TRAINING.get(name, (0.05, 60))
    model.compile(keras.optimizers.SGD(rate, momentum=0.9))
    # One epoch: the rest of an epoch takes longer than a step.
    repeated = keras.tree.map_structure(
        lambda x: np.concatenate([x] * (steps - 2)), batch
    )
    # One compiled step serves all three.
    before, _, after = (
        model.fit(data, batch_size=8, shuffle=False, verbose=0).history["loss"]
        for data in (batch, repeated, batch)
    )
    assert after[0] < 0.5 * before[0]
    if name in COPYING:
        np.testing.assert_array_equal(
            ops.convert_to_numpy(tiny_backbone(batch["images"])), features
        )


@pytest.fixture(scope="module", params=NAMES)
def compiled(request, tiny):
    """Each head, for tests that leave its weights as they are."""
    model = build(request.param, tiny(), name="other")
    model.compile("sgd", run_eagerly=EAGER)
    return model


def test_a_head_loads_as_it_was_saved(compiled, batch, tmp_path):
    model = compiled
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.run_eagerly == EAGER
    assert again.get_config() == model.get_config()
    for ours, theirs in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs)
        )
    keras.tree.map_structure(
        np.testing.assert_array_equal,
        again.predict(batch, verbose=0),
        model.predict(batch, verbose=0),
    )
    assert np.isfinite(again.evaluate(batch, verbose=0)).all()


def test_a_head_says_what_its_batch_lacks(compiled, batch):
    with pytest.raises(ValueError, match=r"needs `\w+` in a batch"):
        compiled.fit({"images": batch["images"]}, verbose=0)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Once is enough."
)
@pytest.mark.parametrize("name", NAMES)
def test_a_head_keeps_its_dtypes_when_it_is_loaded(name, tmp_path):
    options = {"block": "basic", "stem": "small", "width": 16}
    with training.dtype_policy("mixed_bfloat16"):
        backbone = ResNet((1, 1, 1, 1), image_shape=(16, 16, 3), **options)
        model = build(name, backbone)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")

    def policies(model):
        return [
            (type(layer).__name__, layer.dtype_policy.name)
            for layer in model._flatten_layers(include_self=False)
            # A model within has one, and does not use it.
            if layer.weights and not isinstance(layer, keras.Model)
        ]

    assert policies(again) == policies(model)
