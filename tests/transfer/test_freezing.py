import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import transfer
from keras_jft.backbones.backbone import layers_by_stage

# Sooner than a graph where a single step is taken; JAX compiles each operation.
EAGER = keras.backend.backend() == "tensorflow"


def _fit(model, rng, side=16):
    """Paths of the variables that a step of `fit` changes."""
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=EAGER)
    before = {v.path: ops.convert_to_numpy(v) for v in model.variables}
    images = rng.integers(0, 256, (8, side, side, 3)).astype("uint8")
    labels = rng.integers(0, 3, (8,)).astype("int32")
    model.fit({"images": images, "labels": labels}, verbose=0)
    return {
        v.path
        for v in model.variables
        if not np.array_equal(before[v.path], ops.convert_to_numpy(v))
    }


def _stock_net(levels, make=keras.applications.MobileNetV2, **options):
    """A stock net under names of its own, with a pyramid as users attach it."""
    options = {"weights": None, "include_top": False, **options}
    net = make(input_shape=(32, 32, 3), **options)
    net.pyramid_outputs = {
        level: net.get_layer(name).output for level, name in levels.items()
    }
    return net


MOBILE = {
    "P2": "block_3_expand_relu",
    "P3": "block_6_expand_relu",
    "P4": "block_13_expand_relu",
    "P5": "out_relu",
}


@pytest.mark.ops
def test_frozen_stages_keep_weights_and_statistics(tiny_backbone, rng):
    model = transfer.Classifier(tiny_backbone, 3)
    assert transfer.freeze(model, before="conv5") is model
    changed = _fit(model, rng)
    stages = {path.split("/")[0].split("_")[0] for path in changed}
    assert stages == {"conv5", "head"}
    assert any("moving_mean" in path for path in changed)


@pytest.mark.ops
def test_freezing_before_the_head_leaves_the_head_alone(tiny_backbone, rng):
    model = transfer.freeze(transfer.Classifier(tiny_backbone, 3), "head")
    changed = _fit(model, rng)
    assert {p.split("/")[0].split("_")[0] for p in changed} == {"head"}


def test_a_stock_net_keeps_what_its_p4_depends_on(rng):
    net = _stock_net(MOBILE, alpha=0.35)
    model = transfer.freeze(transfer.Classifier(net, 3), "P5")
    # This net's layers are in the order of its graph.
    names = [layer.name for layer in net.layers]
    frozen = set(names[: names.index(MOBILE["P4"]) + 1])
    changed = {path.split("/")[0] for path in _fit(model, rng, 32)}
    assert changed
    assert changed.isdisjoint(frozen)
    assert {"block_13_project_BN", "Conv_1", "head_logits"} <= changed


def test_freezing_a_stock_net_before_the_head_freezes_all_of_it():
    net = _stock_net({}, alpha=0.35)  # It needs no pyramid for that.
    model = transfer.freeze(transfer.Classifier(net, 3), "head")
    paths = {v.path.split("/")[0] for v in model.trainable_variables}
    assert paths == {"head_logits"}


def test_efficientnet_before_p5_trains_the_parameters_of_its_last_stage():
    net = _stock_net(
        {
            "P2": "block2b_add",
            "P3": "block3b_add",
            "P4": "block6a_expand_activation",
            "P5": "top_activation",
        },
        keras.applications.EfficientNetV2B0,
    )
    total = net.count_params()
    transfer.freeze(net, "P5")
    trained = sum(int(np.prod(v.shape)) for v in net.trainable_variables)
    # What block6a expands, to 672 channels, is P4 and frozen.
    expected = sum(
        int(np.prod(v.shape))
        for layer in net.layers
        if layer.name.startswith(("block6", "top_"))
        and not layer.name.startswith("block6a_expand")
        for v in layer.weights
        if "moving" not in v.name
    )
    assert trained == expected
    assert (round(total / 1e6, 2), round(trained / 1e6, 2)) == (5.92, 4.41)


@pytest.mark.ops
def test_branches_that_meet_later_belong_to_the_later_stage():
    images = keras.Input((8, 8, 3))
    conv = [keras.layers.Conv2D(4, 1, name=f"conv1_{i}") for i in range(4)]
    p4 = conv[1](conv[0](images))
    # Beside P4, not before it, though made of earlier features.
    p5 = keras.layers.Add(name="meet")([conv[2](conv[0].output), conv[3](p4)])
    net = keras.Model(images, p5)
    net.pyramid_outputs = {"P4": p4, "P5": p5}
    stages = layers_by_stage(net)
    assert [x.name for x in stages["P4"][1:]] == ["conv1_0", "conv1_1"]
    assert {x.name for x in stages["P5"]} == {"conv1_2", "conv1_3", "meet"}


def test_layers_after_the_last_level_train_with_it(tiny_backbone):
    net = keras.Model(
        tiny_backbone.input,
        keras.layers.Conv2D(8, 1, name="after")(tiny_backbone.output),
    )
    net.pyramid_outputs = tiny_backbone.pyramid_outputs
    transfer.freeze(net, "P5")
    assert net.get_layer("after").trainable
    transfer.freeze(net, "head")
    assert not net.get_layer("after").trainable


def test_only_layers_of_the_backbone_are_frozen_whatever_their_names(
    tiny_backbone,
):
    x = keras.layers.Conv2D(4, 1, name="conv2_of_the_head")(
        tiny_backbone.output
    )
    model = keras.Model(tiny_backbone.input, x)
    model.backbone = tiny_backbone
    transfer.freeze(model, "head")
    assert [v.path for v in model.trainable_variables] == [
        "conv2_of_the_head/kernel",
        "conv2_of_the_head/bias",
    ]


@pytest.mark.ops
def test_a_backbone_that_is_one_layer_of_a_model_is_found(tiny_backbone):
    images = keras.Input((16, 16, 3))
    model = keras.Model(
        images, keras.layers.Dense(3, name="top")(tiny_backbone(images))
    )
    transfer.freeze(model, "conv5")
    stages = {v.path.split("/")[-2][:5] for v in model.trainable_variables}
    assert stages == {"conv5", "top"}


def test_conv5_on_regions_is_frozen_with_the_backbone():
    from keras_jft.backbones import ResNet

    backbone = ResNet(
        (1, 1, 1, 1), width=8, stem="small", image_shape=(32, 32, 3)
    )
    model = transfer.FasterRCNN(
        backbone, 1, anchor_base=16, num_proposals=4, rpn_filters=8
    )
    transfer.freeze(model, "head")
    stages = {v.path.split("/")[-2][:4] for v in model.trainable_variables}
    assert stages == {"rpn_", "head"}
    transfer.freeze(model, "conv5")
    stages = {v.path.split("/")[-2][:5] for v in model.trainable_variables}
    assert {x for x in stages if x.startswith("conv")} == {"conv5"}


@pytest.mark.ops
def test_a_frozen_layer_has_frozen_layers_inside(tiny_backbone):
    norm = keras.layers.BatchNormalization()
    images = keras.Input((8, 8, 3))
    block = keras.Sequential([keras.layers.Conv2D(4, 1), norm])
    x = block(images)
    net = keras.Model(images, keras.layers.Conv2D(4, 1)(x))
    net.pyramid_outputs = {"P4": x, "P5": net.output}
    transfer.freeze(net, "conv5")
    assert not norm.trainable
    transfer.freeze(net, "conv1")
    assert norm.trainable


def test_freezing_before_conv1_frees_everything_again(tiny_backbone):
    model = transfer.freeze(transfer.Classifier(tiny_backbone, 3), "head")
    transfer.freeze(model, before="conv1")
    assert (
        len(model.trainable_weights) == len(tiny_backbone.trainable_weights) + 2
    )


def test_freezing_before_conv2_freezes_the_stem_of_a_resnet(tiny_backbone):
    transfer.freeze(tiny_backbone, "conv2")
    frozen = {x.name for x in tiny_backbone.layers if not x.trainable}
    assert {x for x in frozen if "_" in x} == {
        "conv1_conv",
        "conv1_bn",
        "conv1_relu",
    }
    layer = tiny_backbone.get_layer("conv1_conv")
    assert tiny_backbone.stage_of(layer) == "stem"
    layer = tiny_backbone.get_layer("conv4_1_out")
    assert tiny_backbone.stage_of(layer) == "P4"


@pytest.mark.parametrize("before", ["conv6", "P6", "", "stem", "block5"])
def test_a_stage_that_is_not_there_is_refused_with_those_that_are(
    tiny_backbone, before
):
    model = transfer.Classifier(tiny_backbone, 3)
    stages = r"\['P2', 'P3', 'P4', 'P5', 'head'\]"
    with pytest.raises(ValueError, match=f"one of {stages}"):
        transfer.freeze(model, before=before)


def test_a_stage_that_nothing_comes_before_is_refused():
    net = _stock_net({k: MOBILE[k] for k in ("P4", "P5")}, alpha=0.35)
    with pytest.raises(ValueError, match="nothing comes before"):
        transfer.freeze(net, "P4")
    with pytest.raises(ValueError, match=r"\['P5', 'head'\]"):
        transfer.freeze(net, "P3")


def test_levels_out_of_one_wrapped_net_are_refused():
    net = _stock_net(MOBILE, alpha=0.35)
    images = keras.Input((32, 32, 3))
    wrapped = keras.Model(images, net(images))
    wrapped.pyramid_outputs = dict(net.pyramid_outputs)
    with pytest.raises(ValueError, match="use the net itself"):
        transfer.freeze(wrapped, "P5")


def test_a_backbone_without_a_pyramid_has_no_stages():
    net = keras.applications.MobileNetV2(
        (32, 32, 3), alpha=0.35, weights=None, include_top=False
    )
    with pytest.raises(ValueError, match="Set the attribute"):
        transfer.freeze(transfer.Classifier(net, 3), "P5")


def test_a_model_without_a_backbone_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1, name="conv1_x")(inputs))
    with pytest.raises(ValueError, match="0 layers are backbones"):
        transfer.freeze(model, "head")


def test_a_layer_of_another_model_has_no_stage(tiny_backbone):
    with pytest.raises(ValueError, match="must be a layer of"):
        tiny_backbone.stage_of(keras.layers.Dense(1))
