"""`adapt`: numbers, levels, scaling and errors, against the stock nets."""

import inspect

import families
import keras
import numpy as np
import pytest
from keras import ops

from keras_jft import training, transfer
from keras_jft.backbones import AdaptedBackbone, adapt, adapter, nets
from keras_jft.backbones.backbone import layers_by_stage
from keras_jft.layers import FusedBatchNormalization, ImageScaling
from keras_jft.training import keras_internals

applications = keras.applications


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (2, *families.SHAPE)).astype("uint8")


def _numbers(net, images):
    return ops.convert_to_numpy(net(images))


# === Numbers ===


@pytest.mark.parametrize(
    "make, module, mode",
    [
        (families.resnet_v1, applications.resnet, "caffe"),
        (families.resnet_v2, applications.resnet_v2, "tf"),
        (families.dense, applications.densenet, "torch"),
        (families.efficientnet, applications.efficientnet_v2, "none"),
        (families.mobilenet, applications.mobilenet_v3, "none"),
        (
            families.convolutional_transformer,
            applications.convnext,
            "none",
        ),
    ],
)
def test_bytes_give_what_the_stock_net_gives_after_preprocessing(
    make, module, mode, pixels
):
    net = make()
    prepared = module.preprocess_input(pixels.astype("float32"))
    expected = _numbers(net, prepared)
    backbone = adapt(net)
    assert backbone.scaling == mode
    np.testing.assert_allclose(
        _numbers(backbone, pixels), expected, rtol=1e-4, atol=1e-4
    )


def test_a_converter_of_keras_hub_is_the_scaling(pixels):
    keras_hub = pytest.importorskip("keras_hub")
    converter = keras_hub.layers.ImageConverter(
        scale=[1 / 58, 1 / 57, 1 / 56], offset=[-2.1, -2.0, -1.8]
    )
    net = families.hub_cspnet()
    expected = _numbers(net, converter(pixels))
    backbone = adapt(net, scaling=converter)
    np.testing.assert_allclose(_numbers(backbone, pixels), expected, atol=1e-4)


def test_a_net_of_keras_cv_scales_pixels_itself(pixels):
    import keras_cv

    net = keras_cv.models.ResNetBackbone(
        stackwise_filters=[8, 8, 16, 16],
        stackwise_blocks=[1, 1, 1, 1],
        stackwise_strides=[1, 2, 2, 2],
        include_rescaling=True,
        input_shape=families.SHAPE,
    )
    backbone = adapt(net)
    assert backbone.scaling == "none"
    assert list(backbone.strides.values()) == [4, 8, 16, 32]
    again = AdaptedBackbone.from_config(backbone.get_config())
    again.set_weights(backbone.get_weights())
    for each in (backbone, again):
        np.testing.assert_allclose(
            _numbers(each, pixels), _numbers(net, pixels), atol=1e-5
        )


def _functions():
    """One net per module of `keras.applications`."""
    functions = {}
    for function in vars(applications).values():
        if inspect.isfunction(function) and "Large" not in function.__name__:
            functions.setdefault(function.__module__, function)
    return functions


@pytest.mark.slow
@pytest.mark.parametrize("module", _functions())
def test_the_scaling_of_every_net_of_keras_applications_is_known(module):
    function = _functions()[module]
    found = []

    def make():
        net = function(weights=None, include_top=False)
        found.append(adapter._known_scaling(net))
        return net

    keras_internals.shapes_of_weights(make)
    preprocess = getattr(applications, module.rpartition(".")[2])
    images = np.linspace(0, 255, 2 * 2 * 3).reshape(1, 2, 2, 3)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ImageScaling(found[0])(images)),
        preprocess.preprocess_input(images.astype("float32")),
        atol=1e-4,
    )


# === Weights ===


@pytest.mark.ops
def test_the_weights_of_the_net_are_used_not_copied(pixels):
    net = families.resnet_v1()
    backbone = adapt(net)
    assert {id(w) for w in backbone.weights} == {id(w) for w in net.weights}
    net.weights[0].assign(net.weights[0] * 2)
    prepared = applications.resnet.preprocess_input(pixels.astype("float32"))
    np.testing.assert_allclose(
        _numbers(backbone, pixels), _numbers(net, prepared), rtol=1e-4
    )


def test_fused_batch_normalization_gives_the_same_numbers(pixels):
    net = families.efficientnet()
    for weight in net.weights:  # So that nothing is 0 or 1.
        weight.assign(weight + 0.05 * keras.random.uniform(weight.shape))
    backbone = adapt(net)
    expected = _numbers(backbone, pixels)
    trained = ops.convert_to_numpy(backbone(pixels, training=True))
    fused = backbone.rebuild(fused=True)
    before = [ops.convert_to_numpy(w).copy() for w in fused.weights]
    kinds = [type(x) for x in keras_internals.flatten_layers(fused)]
    assert FusedBatchNormalization in kinds
    assert keras.layers.BatchNormalization not in kinds
    np.testing.assert_allclose(
        _numbers(fused, pixels) + 1, _numbers(backbone, pixels) + 1, rtol=1e-3
    )
    assert expected.shape == trained.shape
    assert [w.shape for w in fused.weights] == [b.shape for b in before]


@pytest.mark.ops
def test_fused_statistics_move_as_stock_ones_do(pixels):
    stock = adapt(families.resnet_v1())
    fused = stock.rebuild(fused=True)
    stock(pixels, training=True)
    fused(pixels, training=True)
    for one, other in zip(stock.weights, fused.weights, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(one),
            ops.convert_to_numpy(other),
            rtol=1e-3,
            atol=1e-4,
        )


# === Levels ===


def _diamond():
    """A net whose stride 4 is reached on two ways, which meet at stride 8."""
    images = keras.Input((None, None, 3))
    conv = keras.layers.Conv2D
    x = conv(4, 5, strides=4, padding="same", name="fine")(images)
    left = conv(4, 1, name="left")(x)
    left = conv(4, 3, strides=2, padding="same", name="left_down")(left)
    right = keras.layers.AveragePooling2D(2, name="right_down")(x)
    x = keras.layers.Add(name="meet")([left, right])
    x = keras.layers.ZeroPadding2D(1, name="border")(x)
    return keras.Model(images, conv(4, 3, name="last")(x))


def test_a_level_is_the_last_map_that_all_paths_go_through():
    backbone = adapt(_diamond(), scaling="tf")
    assert backbone.pyramid_level_inputs == {"P2": "fine", "P3": "last"}
    assert backbone.strides == {"P2": 4, "P3": 8}
    assert backbone.stage_of(backbone.get_layer("left")) == "P3"
    # The rest of the net applies to the level alone.
    rest = keras.Model(backbone.pyramid_outputs["P2"], backbone.output)
    assert rest(np.zeros((1, 16, 4, 4))).shape == (1, 8, 2, 4)


def test_levels_may_be_given():
    levels = {"P2": "fine", "P3": "meet"}
    backbone = adapt(_diamond(), scaling="tf", levels=levels)
    assert backbone.stage_of(backbone.get_layer("last")) == "P3"
    again = AdaptedBackbone.from_config(backbone.get_config())
    assert again.pyramid_level_inputs == levels


def test_levels_of_a_net_for_any_size_are_those_of_one_for_a_given_size():
    def make(side):
        return applications.MobileNetV2(
            (side, side, 3), alpha=0.35, weights=None, include_top=False
        )

    sized, any_size = adapt(make(64)), adapt(make(None))
    # As Keras's own examples choose them.
    assert sized.pyramid_level_inputs == {
        "P2": "block_3_expand_relu",
        "P3": "block_6_expand_relu",
        "P4": "block_13_expand_relu",
        "P5": "out_relu",
    }
    assert sized.pyramid_level_inputs == any_size.pyramid_level_inputs
    assert sized.strides == any_size.strides


def test_levels_of_images_smaller_than_a_stride_are_those_of_large_ones():
    large = adapt(families.hub_cspnet(), scaling="torch")
    small = large.rebuild(image_shape=(16, 16, 3))
    assert small.pyramid_outputs["P4"].shape == (None, 1, 1, 16)
    assert small.pyramid_outputs["P5"].shape == (None, 1, 1, 32)
    assert (
        small.strides == large.strides == {"P2": 4, "P3": 8, "P4": 16, "P5": 32}
    )


def test_a_stock_net_before_conv5_keeps_what_p4_depends_on():
    net = applications.EfficientNetV2B0(weights=None, include_top=False)
    backbone = transfer.freeze(adapt(net), "conv5")
    trained = sum(w.shape.num_elements() for w in _values(backbone))
    # All of block6 but its expansion, which is P4, and the top.
    assert round(trained / 1e6, 2) == 4.41


def _values(model):
    return [w.value for w in model.trainable_weights]


# === Tokens ===


@pytest.mark.ops
def test_tokens_become_a_map_without_the_class_token(pixels):
    net = families.hub_vit()
    tokens = _numbers(net, pixels / 127.5 - 1)
    backbone = adapt(net, scaling="tf")
    np.testing.assert_allclose(
        _numbers(backbone, pixels),
        tokens[:, 1:].reshape(2, 4, 4, 16),
        atol=1e-4,
    )
    pooled = keras.Model(backbone.input, backbone.pooled_output)
    np.testing.assert_allclose(
        _numbers(pooled, pixels), tokens[:, 0], atol=1e-4
    )


# Those of KerasHub of which `families.STOCK` has none, as small as they can be.
_TRANSFORMER = {
    "image_shape": families.SHAPE,
    "patch_size": 8,
    "num_layers": 4,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 8,
}
OTHERS_OF_HUB = {
    "DeiTBackbone": _TRANSFORMER,
    "DINOV3Backbone": _TRANSFORMER,
    "DenseNetBackbone": {
        "stackwise_num_repeats": [1, 1, 1, 1],
        "growth_rate": 4,
    },
    "VGGBackbone": {
        "stackwise_num_repeats": [1] * 5,
        "stackwise_num_filters": [4] * 5,
    },
    "XceptionBackbone": {
        "stackwise_conv_filters": [[4, 4], [8], [12], [16], [20], [24]],
        "stackwise_pooling": [False, True, True, True, True, False],
    },
}


@pytest.mark.parametrize("name", OTHERS_OF_HUB)
def test_a_net_of_keras_hub_gives_its_own_numbers(name, pixels):
    import keras_hub

    net = getattr(keras_hub.models, name)(**OTHERS_OF_HUB[name])
    images = pixels.astype("float32") / 255
    given = {"pixel_values": images} if name == "DINOV3Backbone" else images
    expected = np.asarray(net(given))
    if expected.ndim == 3:  # The patches are the last tokens.
        expected = expected[:, -16:].reshape(-1, 4, 4, expected.shape[-1])
    found = np.asarray(adapt(net, scaling="none")(images))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_every_net_of_keras_hub_that_can_be_named_is_tried():
    stock = inspect.getsource(families)
    assert [n for n in nets.HUB if n not in stock] == sorted(
        OTHERS_OF_HUB, key=nets.HUB.index
    )


@pytest.mark.ops
def test_registers_of_dinov2_are_no_part_of_its_map(pixels):
    net = families.hub_dinov2()
    backbone = adapt(net, scaling="tf")
    tokens = _numbers(net, {"images": pixels / 127.5 - 1})
    np.testing.assert_allclose(
        _numbers(backbone, pixels),
        tokens[:, 3:].reshape(2, 4, 4, 16),
        atol=1e-4,
    )


@pytest.mark.ops
def test_a_vit_has_four_stages_of_blocks_and_a_pyramid_that_is_the_heads():
    backbone = adapt(families.hub_vit(), scaling="tf")
    stages = layers_by_stage(backbone)
    for i in range(4):
        names = [layer.name for layer in stages[f"P{i + 2}"]]
        assert f"transformer_block_{i + 1}" in names
    before = len(backbone.weights)
    shapes = {k: v.shape[1:] for k, v in backbone.pyramid_outputs.items()}
    assert shapes == {
        "P2": (8, 8, 16),
        "P3": (4, 4, 16),
        "P4": (2, 2, 16),
        "P5": (1, 1, 16),
    }
    assert len(backbone.weights) == before
    transfer.freeze(backbone, "head")
    neck = keras.Model(backbone.input, backbone.pyramid_outputs)
    assert {w.path.split("/")[0][:10] for w in neck.trainable_weights} == {
        f"pyramid_p{level}" for level in range(2, 6)
    }


@pytest.mark.ops
def test_position_embeddings_are_interpolated_for_larger_images():
    backbone = adapt(families.hub_vit(), scaling="tf")
    (positions,) = [w for w in backbone.weights if w.shape == (17, 16)]
    ramp = np.zeros((17, 16), "float32")
    ramp[0] = 7.0  # Of the class token.
    ramp[1:] = np.repeat(np.arange(4.0), 4)[:, None]  # Grows downwards.
    positions.assign(ramp)
    larger = backbone.rebuild(image_shape=(64, 64, 3))
    (found,) = [w for w in larger.weights if w.shape == (65, 16)]
    found = ops.convert_to_numpy(found)
    np.testing.assert_array_equal(found[0], 7.0)
    grid = found[1:].reshape(8, 8, 16)
    np.testing.assert_allclose(np.ptp(grid, axis=1), 0, atol=1e-5)
    # Half as steep, in the middle where no border is near.
    np.testing.assert_allclose(
        grid[2:6, 0, 0], [0.75, 1.25, 1.75, 2.25], atol=0.05
    )


# === Rebuilding ===


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_rebuilt_net_computes_the_same_with_weights_of_its_own(family, rng):
    net = families.backbone(family)
    transfer.freeze(net, "conv5")
    images = families.images(rng, net, 2)
    expected = _numbers(net, images)
    rebuilt = net.rebuild()
    np.testing.assert_allclose(_numbers(rebuilt, images), expected, atol=1e-5)
    assert not {id(w) for w in net.weights} & {id(w) for w in rebuilt.weights}
    assert [w.trainable for w in net.weights] == [
        w.trainable for w in rebuilt.weights
    ]
    assert net.stages_text() == rebuilt.stages_text()
    thawed = transfer.freeze(rebuilt, "conv1")
    names = {weight.name for weight in thawed.trainable_weights}
    assert "mask_token" not in names  # Nothing depends on it.


def test_frozen_batch_normalization_stays_so_when_its_layers_thaw():
    moving = adapt(families.resnet_v1())
    net = moving.rebuild(bn_mode="frozen")
    for one, other in zip(moving.weights, net.weights, strict=True):
        assert one.name == other.name
    transfer.freeze(net, "head")
    transfer.freeze(net, "conv1")
    names = {weight.name for weight in net.trainable_weights}
    assert names == {"kernel", "bias"}


def test_a_net_is_rebuilt_in_bfloat16_and_with_still_statistics(pixels):
    net = adapt(families.resnet_v1())
    rebuilt = net.rebuild(
        dtype="mixed_bfloat16", bn_mode="affine", bn_momentum=0.5
    )
    assert rebuilt.dtype_policy.name == "mixed_bfloat16"
    layers = [layer for layer in rebuilt.layers if layer.weights]
    assert {x.dtype_policy.name for x in layers} == {"mixed_bfloat16"}
    before = [ops.convert_to_numpy(w).copy() for w in rebuilt.weights]
    rebuilt(pixels, training=True)
    for old, weight in zip(before, rebuilt.weights, strict=True):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(weight))
    assert rebuilt.get_layer("conv1_bn").momentum == 0.5
    error = _numbers(rebuilt, pixels) - _numbers(net, pixels)
    assert np.abs(error).max() < 0.1 * np.abs(_numbers(net, pixels)).max()


# === Bad input ===


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def _small(channels=3, layer=None, side=32):
    images = keras.Input((side, side, channels))
    x = keras.layers.Conv2D(4, 3, strides=4, padding="same")(images)
    return keras.Model(images, x if layer is None else layer(x))


@pytest.mark.parametrize(
    "make, options, message",
    [
        (Subclassed, {}, "functional `keras.Model`.*Received: a Subclassed"),
        (lambda: _small(channels=1), {}, "three channels.*1"),
        (_small, {"scaling": None}, "is not known: .*Give what it was trained"),
        (_small, {"scaling": "imagenet"}, "`scaling` must be one of"),
        (_small, {"scaling": object()}, "image converter of KerasHub"),
        (
            lambda: _small(layer=keras.layers.GlobalAveragePooling2D()),
            {},
            "ends in a feature map .*include_top=False",
        ),
        (
            lambda: _small(layer=keras.layers.Lambda(lambda x: x)),
            {},
            "cannot be a backbone, since it holds .*Lambda",
        ),
        (
            lambda: _small(layer=keras.layers.UpSampling2D(2)),
            {},
            r"one of the strides \[4, 8, 16, 32\].*stride 2",
        ),
        (lambda: families.hub_mit(32), {}, "how many channels.*larger images"),
        (_small, {"levels": {"P3": "nothing"}}, "layers of the net.*nothing"),
        (_small, {"levels": {"fine": "conv2d"}}, '`levels` must be {"P2"'),
    ],
)
def test_a_net_that_can_be_no_backbone_is_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        adapt(make(), **{"scaling": "tf", **options})


def test_a_change_that_a_net_does_not_take_is_refused():
    vit = adapt(families.hub_vit(), scaling="tf")
    with pytest.raises(ValueError, match="cannot be rebuilt .*patch size"):
        vit.rebuild(image_shape=(60, 64, 3))
    assert vit.rebuild(output_stride=8, dilated=False).output_stride == 8
    with pytest.raises(ValueError, match="cannot be dilated: .* 8 pixels"):
        vit.rebuild(dilated=True)
    with pytest.raises(ValueError, match="cannot be dilated"):
        vit.rebuild(output_stride=4)
    with pytest.raises(ValueError, match="`change` must be one of"):
        vit.rebuild(width=8)
    with pytest.raises(ValueError, match="are maps, and .* gives tokens"):
        adapt(families.hub_vit(), scaling="tf", levels={"P2": "vit_encoder"})


def test_what_is_frozen_is_printed(capsys):
    model = transfer.Classifier(families.backbone("KerasHub ResNet"), 3)
    transfer.freeze(model, "conv5")
    model.summary()
    lines = capsys.readouterr().out.splitlines()[-5:]
    assert [line.split()[0] for line in lines[1:]] == [
        "P2:",
        "P3:",
        "P4:",
        "P5:",
    ]
    assert [line.split()[-1] for line in lines[1:]] == 3 * ["frozen"] + [
        "trains"
    ]


# === Under a strategy ===


def test_two_replicas_take_the_step_of_one_device(rng):
    # Without batch normalization, whose statistics are those of a replica.
    images = rng.integers(0, 256, (4, *families.SHAPE)).astype("uint8")
    labels = np.int32([0, 1, 2, 1])

    def stepped(strategy):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            net = adapt(families.convolutional_transformer())
            model = transfer.Classifier(net, 3)
            # The graph of one device would take longer than its step.
            model.compile(
                keras.optimizers.SGD(0.1),
                run_eagerly=strategy.num_replicas_in_sync == 1,
            )
        before = [ops.convert_to_numpy(w) for w in model.trainable_weights]
        model.fit(images, labels, batch_size=4, verbose=0)
        after = [ops.convert_to_numpy(w) for w in model.trainable_weights]
        return [b - a for a, b in zip(before, after, strict=True)]

    alone = stepped(training.strategy("one_device"))
    both = stepped(training.strategy("mirrored", devices=["CPU:0", "CPU:1"]))
    assert sum((step != 0).any() for step in alone) > len(alone) / 2
    for one, two in zip(alone, both, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-6)
