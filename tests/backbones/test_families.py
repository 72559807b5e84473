"""Every family of nets under every head of images: the table of the docs."""

import families
import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import transfer
from keras_jft.backbones.backbone import layers_by_stage
from keras_jft.pretrain import MultiLabelClassifier

HEADS = {
    "multi-label": lambda net: MultiLabelClassifier(net, 4),
    "classification": lambda net: transfer.Classifier(net, 4),
}


@pytest.fixture(params=families.FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def batch(rng):
    def make(model):
        return {
            "images": families.images(rng, model.backbone),
            "labels": np.arange(4, dtype="int32"),
        }

    return make


def _values(variables):
    return [ops.convert_to_numpy(variable).copy() for variable in variables]


def _variables(layers):
    found = {id(v): v for layer in layers for v in layer.variables}
    return [v for v in found.values() if "seed" not in v.path]


@pytest.mark.parametrize("head", HEADS)
def test_a_head_learns_on_a_family_and_loads_as_it_was_saved(
    family, head, batch, tmp_path
):
    model = HEADS[head](families.backbone(family))
    # Not traced, which would take longer than the steps.
    model.compile(keras.optimizers.Adam(0.003), run_eagerly=True)
    data = batch(model)
    losses = [model.train_on_batch(data) for _ in range(4)]
    first, *_, third, fourth = [float(np.ravel(loss)[0]) for loss in losses]
    assert min(third, fourth) < first

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(
        ops.convert_to_numpy(again(data["images"])),
        ops.convert_to_numpy(model(data["images"])),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("head", ["classification"])
def test_what_is_frozen_before_conv5_keeps_every_bit(family, head, batch):
    model = HEADS[head](families.backbone(family))
    transfer.freeze(model, before="conv5")
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    *earlier, last = layers_by_stage(model.backbone).values()
    frozen = _variables([layer for stage in earlier for layer in stage])
    trained = _variables(last)
    assert frozen
    assert trained
    before = _values(frozen), _values(trained)
    model.train_on_batch(batch(model))
    for old, variable in zip(before[0], frozen, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(variable), old, variable.path
        )
    changed = [
        (old != new).any()
        for old, new in zip(before[1], _values(trained), strict=True)
    ]
    assert sum(changed) > len(changed) / 2


def test_stages_are_what_the_gradients_of_levels_say(family):
    """A level has gradients for its own stage and those before, no others."""
    import tensorflow as tf

    net = families.backbone(family)
    stages = layers_by_stage(net)
    ends = keras.Model(net.input, dict(net.stage_outputs))
    shape = (2, *net.input.shape[1:])
    images = np.random.default_rng(0).uniform(0, 255, shape)
    weights = {
        stage: [w for layer in layers for w in layer.trainable_weights]
        for stage, layers in stages.items()
    }
    with tf.GradientTape(persistent=True) as tape:
        outputs = ends(images.astype("float32"))
        sums = {stage: ops.sum(x) for stage, x in outputs.items()}
    for i, end in enumerate(stages):
        for j, stage in enumerate(stages):
            values = [w.value for w in weights[stage]]
            found = tape.gradient(sums[end], values)
            is_used = [gradient is not None for gradient in found]
            if j > i:
                assert not any(is_used), (end, stage)
            elif values:
                assert sum(is_used) > len(values) / 2, (end, stage)
