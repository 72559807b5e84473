"""Small nets of many families, as their authors build them, and as backbones.

`keras.applications` has no small members: these are made by the functions
behind the public ones, which name their layers alike.
"""

from keras.src.applications import (
    convnext,
    densenet,
    efficientnet_v2,
    mobilenet_v3,
    resnet,
)

from keras_jft.backbones import ResNet, adapt

SIDE = 32
SHAPE = (SIDE, SIDE, 3)
_STOCK = {"weights": None, "include_top": False}


def _resnet(version, **kwargs):
    stack = getattr(resnet, f"stack_residual_blocks_v{version}")

    def stacks(x):
        for i in range(2, 6):
            stride = {"stride1": 1} if i == (2 if version == 1 else 5) else {}
            x = stack(x, 4, 2 if version == 2 else 1, name=f"conv{i}", **stride)
        return x

    return resnet.ResNet(
        stacks,
        preact=version == 2,
        use_bias=True,
        input_shape=SHAPE,
        **_STOCK,
        **kwargs,
    )


def resnet_v1():
    """A ResNet of `keras.applications`, scaled as Caffe did."""
    return _resnet(1)


def resnet_v2():
    """A ResNetV2 of `keras.applications`."""
    return _resnet(2)


def efficientnet():
    """An EfficientNetV2 of `keras.applications`, of one block per stage."""
    return efficientnet_v2.EfficientNetV2(
        width_coefficient=0.25,
        depth_coefficient=0.1,
        default_size=SIDE,
        name="efficientnetv2-b0",
        input_shape=SHAPE,
        **_STOCK,
    )


def convolutional_transformer():
    """A ConvNeXt of `keras.applications`."""
    return convnext.ConvNeXt(
        depths=[1, 1, 1, 1],
        projection_dims=[8, 8, 16, 16],
        input_shape=SHAPE,
        **_STOCK,
    )


def mobilenet():
    """A MobileNetV3 of `keras.applications`."""

    def stack(x, kernel, activation, se_ratio):
        block = mobilenet_v3._inverted_res_block
        for i in range(4):
            # The first one does not expand.
            x = block(x, 1 + (i > 0), 8, 3, 2, se_ratio, activation, i)
        return x

    return mobilenet_v3.MobileNetV3(
        stack, 16, alpha=0.5, input_shape=SHAPE, **_STOCK
    )


def dense():
    """A DenseNet of `keras.applications`."""
    return densenet.DenseNet([1, 1, 1, 1], input_shape=SHAPE, **_STOCK)


def _hub(name, **kwargs):
    import keras_hub

    return getattr(keras_hub.models, name)(**kwargs)


def _hub_resnet(kind, **kwargs):
    return _hub(
        "ResNetBackbone",
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 8, 8, 16],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type=kind,
        image_shape=SHAPE,
        **kwargs,
    )


def hub_mit(side=2 * SIDE):
    """A MiT, whose KerasHub version has no single feature as its last map."""
    return _hub(
        "MiTBackbone",
        layerwise_depths=[1, 1, 1, 1],
        num_layers=4,
        image_shape=(side, side, 3),
        hidden_dims=[8, 8, 16, 16],
        layerwise_num_heads=[1, 1, 2, 2],
        layerwise_sr_ratios=[8, 4, 2, 1],
        max_drop_path_rate=0.1,
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
    )


def hub_efficientnet():
    """An EfficientNet of KerasHub."""
    return _hub(
        "EfficientNetBackbone",
        stackwise_kernel_sizes=[3] * 5,
        stackwise_num_repeats=[1] * 5,
        stackwise_input_filters=[8, 8, 16, 16, 24],
        stackwise_output_filters=[8, 16, 16, 24, 32],
        stackwise_expansion_ratios=[1, 2, 2, 2, 2],
        stackwise_squeeze_and_excite_ratios=[0.25] * 5,
        stackwise_strides=[1, 2, 2, 2, 2],
        stackwise_block_types=["v1"] * 5,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        input_shape=SHAPE,
    )


def hub_mobilenet():
    """A MobileNet of KerasHub."""
    return _hub(
        "MobileNetBackbone",
        stackwise_expansion=[[16], [16], [32], [32]],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_filters=[[16], [16], [24], [24]],
        stackwise_kernel_size=[[3]] * 4,
        stackwise_num_strides=[[2]] * 4,
        stackwise_se_ratio=[[None], [None], [0.25], [0.25]],
        stackwise_activation=[["relu"], ["relu"], *[["hard_swish"]] * 2],
        stackwise_padding=[[1]] * 4,
        output_num_filters=32,
        depthwise_filters=8,
        depthwise_stride=1,
        depthwise_residual=False,
        last_layer_filter=16,
        image_shape=SHAPE,
    )


def hub_cspnet(**kwargs):
    """A CSPNet of KerasHub: a DarkNet."""
    return _hub(
        "CSPNetBackbone",
        stem_filters=8,
        stem_kernel_size=3,
        stem_strides=2,
        stackwise_depth=[1, 1, 1, 1],
        stackwise_strides=[2, 2, 2, 2],
        stackwise_num_filters=[8, 16, 16, 32],
        block_type="dark_block",
        stage_type="dark",
        image_shape=SHAPE,
        **kwargs,
    )


def hub_vit(side=SIDE, **kwargs):
    """A ViT of KerasHub: one token for 8x8 pixels."""
    return _hub(
        "ViTBackbone",
        image_shape=(side, side, 3),
        patch_size=8,
        num_layers=4,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
        **kwargs,
    )


def hub_dinov2():
    """A DINOv2 of KerasHub with two register tokens."""
    return _hub(
        "DINOV2Backbone",
        patch_size=8,
        num_layers=4,
        hidden_dim=16,
        num_heads=2,
        intermediate_dim=32,
        num_register_tokens=2,
        image_shape=SHAPE,
        position_embedding_shape=(64, 64, 3),
    )


def hub_hgnetv2():
    """A HGNetV2 of KerasHub."""
    return _hub(
        "HGNetV2Backbone",
        depths=[1, 1, 1, 1],
        embedding_size=8,
        hidden_sizes=[16, 16, 24, 32],
        stem_channels=[3, 8, 8],
        hidden_act="relu",
        use_learnable_affine_block=False,
        stackwise_stage_filters=[
            (8, 8, 16, 1, 1, 3),
            (16, 8, 16, 1, 1, 3),
            (16, 8, 24, 1, 1, 3),
            (24, 8, 32, 1, 1, 3),
        ],
        apply_downsample=[False, True, True, True],
        use_lightweight_conv_block=[False] * 4,
        image_shape=SHAPE,
    )


# As their authors build them; the last is how pixels are scaled, if not known.
STOCK = {
    "applications ResNetV2": (resnet_v2, None),
    "applications EfficientNetV2": (efficientnet, None),
    "applications ConvNeXt": (convolutional_transformer, None),
    "applications MobileNetV3": (mobilenet, None),
    "applications DenseNet": (dense, None),
    "KerasHub ResNet": (lambda: _hub_resnet("basic_block"), "torch"),
    "KerasHub ResNetV2": (
        lambda: _hub_resnet("basic_block", use_pre_activation=True),
        "tf",
    ),
    "KerasHub ResNet_vd": (lambda: _hub_resnet("basic_block_vd"), "torch"),
    "KerasHub MiT": (hub_mit, "torch"),
    "KerasHub EfficientNet": (hub_efficientnet, "torch"),
    "KerasHub MobileNet": (hub_mobilenet, "torch"),
    "KerasHub CSPNet": (hub_cspnet, "torch"),
    "KerasHub ViT": (hub_vit, "tf"),
    "KerasHub DINOv2": (hub_dinov2, "torch"),
    "KerasHub HGNetV2": (hub_hgnetv2, "torch"),
}
FAMILIES = ["jft ResNet", *STOCK]


def backbone(family):
    """Return a small backbone of a family, with new weights."""
    if family == "jft ResNet":
        return ResNet((1, 1, 1, 1), width=8, block="basic", image_shape=SHAPE)
    make, scaling = STOCK[family]
    return adapt(make(), scaling=scaling)


def images(rng, net, count=4):
    """Return bytes `(count, H, W, 3)` for a net, each of a color of its own."""
    side = net.input.shape[1]
    colors = rng.integers(0, 256, (count, 1, 1, 3))
    noise = rng.integers(-20, 20, (count, side, side, 3))
    return (colors + noise).clip(0, 255).astype("uint8")
