import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import transfer

pytestmark = pytest.mark.ops


def _fit(model, rng):
    model.compile(keras.optimizers.SGD(0.1))
    before = {v.path: ops.convert_to_numpy(v) for v in model.variables}
    images = rng.integers(0, 256, (8, 16, 16, 3)).astype("uint8")
    labels = rng.integers(0, 3, (8,)).astype("int32")
    model.fit({"images": images, "labels": labels}, verbose=0)
    return {
        v.path
        for v in model.variables
        if not np.array_equal(before[v.path], ops.convert_to_numpy(v))
    }


def test_frozen_stages_keep_weights_and_statistics(tiny_backbone, rng):
    model = transfer.Classifier(tiny_backbone, 3)
    assert transfer.freeze(model, before="conv5") is model
    changed = _fit(model, rng)
    stages = {path.split("/")[0].split("_")[0] for path in changed}
    assert stages == {"conv5", "head"}
    assert any("moving_mean" in path for path in changed)


def test_freezing_before_the_head_leaves_the_head_alone(tiny_backbone, rng):
    model = transfer.freeze(transfer.Classifier(tiny_backbone, 3), "head")
    changed = _fit(model, rng)
    assert {p.split("/")[0].split("_")[0] for p in changed} == {"head"}


def test_freezing_before_conv1_frees_everything_again(tiny_backbone):
    model = transfer.freeze(transfer.Classifier(tiny_backbone, 3), "head")
    transfer.freeze(model, before="conv1")
    assert (
        len(model.trainable_weights) == len(tiny_backbone.trainable_weights) + 2
    )


def test_an_unknown_stage_is_refused(tiny_backbone):
    model = transfer.Classifier(tiny_backbone, 3)
    with pytest.raises(ValueError, match="`before` must be one of"):
        transfer.freeze(model, before="conv6")
