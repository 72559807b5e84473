"""One head on one family of nets: a cell of the table in docs/backbones.md."""

import families
import keras
import numpy as np
from keras import ops

from keras_jft import transfer
from keras_jft.backbones.backbone import layers_by_stage
from keras_jft.pretrain import MultiLabelClassifier

CLASSES = 3
_DETECTOR = {
    "rpn_filters": 8,
    "rpn_samples": 64,
    # With 8, the loss of some nets rose during the first steps, presumably
    # since more samples become objects, whose boxes count in it.
    "head_samples": 32,
    "num_proposals": 32,
    "crop_size": 4,
    "anchor_base": 16,
    "anchor_scales": (1.0,),
}


def _build(head, **options):
    return lambda net: transfer.HEADS[head].build(net, CLASSES, **options)


# How each head is built, and a learning rate for it.
HEADS = {
    "multi-label": (lambda net: MultiLabelClassifier(net, CLASSES), 0.003),
    "classification": (_build("classification"), 0.003),
    "DeepLabASPP": (_build("deeplab_aspp", rates=(1, 2)), 0.003),
    "DeepLabV3Plus": (
        _build("deeplab_v3_plus", rates=(1,), projection_filters=4),
        0.0003,
    ),
    "FasterRCNN": (_build("faster_rcnn", **_DETECTOR), 0.003),
    "FasterRCNN, FPN": (
        _build(
            "faster_rcnn",
            **_DETECTOR | {"anchor_base": 8},
            neck="fpn",
            neck_filters=8,
            head_units=16,
        ),
        0.003,
    ),
    "DeepLabV3Plus, KerasHub": (
        _build(
            "deeplab_v3_plus",
            implementation="keras_hub",
            rates=(1,),
            projection_filters=4,
        ),
        0.0003,
    ),
    "RetinaNet": (_build("retinanet"), 0.0001),
    "RetinaNet, KerasHub": (
        _build("retinanet", implementation="keras_hub"),
        0.0001,
    ),
    "YOLOV8": (_build("yolo_v8", depth=1), 0.0003),
    "PoseEstimator": (_build("pose", radius=6.0, upsampling_filters=8), 0.003),
}
OF_ALL = "DeepLabASPP"  # Its loss reaches all of a net.
# What comes out in another order if two scores are nearly equal.
_SORTED = {"proposals", "head_logits", "head_codes"}


def check(family, head, directory):
    """Build a cell, train it frozen before conv5, save it and load it.

    Args:
        family: One of `families.FAMILIES`.
        head: A key of `HEADS`.
        directory: Where to save the model.

    Raises:
        AssertionError: If the loss does not fall, frozen weights change, others
            do not, or what is loaded differs.
        ValueError: If the net cannot have the head.
    """
    keras.utils.set_random_seed(0)
    build, rate = HEADS[head]
    model = build(families.backbone(family))
    transfer.freeze(model, before="conv5")
    # Not traced, which would take longer than the steps.
    model.compile(keras.optimizers.Adam(rate), run_eagerly=True)
    *earlier, last = layers_by_stage(model.backbone).values()
    frozen = _variables(x for stage in earlier for x in stage)
    trained = [v for v in _variables(last) if v.trainable]
    assert frozen
    assert trained
    before = _values(frozen), _values(trained)

    data = batch(model.backbone)
    # Of two stages, the loss of some nets has not fallen after 6 steps.
    steps = 12 if "FasterRCNN" in head else 4
    losses = []
    while len(losses) < steps and not _has_fallen(losses):
        loss = model.train_on_batch(data)
        losses.append(float(np.ravel(loss)[0]))
    assert _has_fallen(losses), losses
    for old, variable in zip(before[0], frozen, strict=True):
        np.testing.assert_array_equal(_value(variable), old, variable.path)
    changed = [
        (old != new).any()
        for old, new in zip(before[1], _values(trained), strict=True)
    ]
    assert sum(changed) > len(changed) / 2

    model.save(directory / "model.keras")
    again = keras.saving.load_model(directory / "model.keras", compile=False)
    for old, new in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(_value(new), _value(old), old.path)
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        _outputs(again, data["images"]),
        _outputs(model, data["images"]),
    )


def _has_fallen(losses):
    return bool(losses) and min(losses) < losses[0]


def batch(net):
    """Four images, each of a color, with whatever any head asks for."""
    images = families.images(np.random.default_rng(0), net)
    count, side = images.shape[:2]
    labels = np.arange(count, dtype="int32") % CLASSES
    masks = np.zeros((count, side, side, 1), "uint8")
    masks[:, side // 2 :] = labels[:, None, None, None]
    box = np.array([[2, 2, 18, 18]], "float32")
    keypoints = np.array([[8, 8, 2], [20, 8, 2], [12, 20, 2]], "float32")
    return {
        "images": images,
        "labels": labels,
        "segmentation_masks": masks,
        "bounding_boxes": {
            "boxes": np.tile(box, (count, 1, 1)),
            "labels": labels[:, None],
        },
        "keypoints": np.tile(keypoints, (count, 1, 1)),
    }


def _outputs(model, images):
    outputs = model(images)
    if isinstance(outputs, dict):
        outputs = {k: v for k, v in outputs.items() if k not in _SORTED}
    return keras.tree.map_structure(ops.convert_to_numpy, outputs)


def _value(variable):
    return ops.convert_to_numpy(variable).copy()


def _values(variables):
    return [_value(variable) for variable in variables]


def _variables(layers):
    found = {id(v): v for layer in layers for v in layer.variables}
    return [v for v in found.values() if "seed" not in v.path]
