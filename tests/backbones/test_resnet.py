"""`ResNet`: against the published counts and a network rebuilt in NumPy."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

from keras_jft.backbones import ResNet

pytestmark = pytest.mark.rewritten

# Stem and output stride: stride and dilation rate of conv2..conv5.
STAGES = {
    ("imagenet", 32): ((1, 1), (2, 1), (2, 1), (2, 1)),
    ("imagenet", 16): ((1, 1), (2, 1), (2, 1), (1, 2)),
    ("imagenet", 8): ((1, 1), (2, 1), (1, 2), (1, 4)),
    ("small", 8): ((1, 1), (2, 1), (2, 1), (2, 1)),
    ("small", 4): ((1, 1), (2, 1), (2, 1), (1, 2)),
    ("small", 2): ((1, 1), (2, 1), (1, 2), (1, 4)),
}


class NumpyResNet:
    """The network of section 1.1 of He et al., one loop per kernel tap."""

    def __init__(self, backbone):
        self.weights = {
            layer.name: [
                ops.convert_to_numpy(w).astype("float64") for w in layer.weights
            ]
            for layer in backbone.layers
        }

    def __call__(self, images, *, blocks, block, stem, stages, pool_padding):
        x = images.astype("float64") / 127.5 - 1
        x = np.maximum(
            self.convolve(x, "conv1", 1 if stem == "small" else 2), 0
        )
        if stem == "imagenet":
            x = self.pool(x, pool_padding)
        outputs = {}
        for i, (units, (stride, rate)) in enumerate(
            zip(blocks, stages, strict=True)
        ):
            for j in range(units):
                unit = f"conv{i + 2}_{j + 1}"
                x = self.unit(x, unit, block, stride if j == 0 else 1, rate)
            outputs[f"P{i + 2}"] = x
        return outputs

    def unit(self, x, name, block, stride, rate):
        shortcut = x
        if f"{name}_0_conv" in self.weights:
            shortcut = self.convolve(x, f"{name}_0", stride)
        if block == "bottleneck":
            y = np.maximum(self.convolve(x, f"{name}_1", stride), 0)
            y = np.maximum(self.convolve(y, f"{name}_2", 1, rate), 0)
            y = self.convolve(y, f"{name}_3", 1)
        else:
            y = np.maximum(self.convolve(x, f"{name}_1", stride, rate), 0)
            y = self.convolve(y, f"{name}_2", 1, rate)
        return np.maximum(shortcut + y, 0)

    def convolve(self, x, name, stride, rate=1):
        (kernel,) = self.weights[f"{name}_conv"]
        size = kernel.shape[0]
        pad = rate * (size - 1) // 2
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        height, width = (
            (side - rate * (size - 1) - 1) // stride + 1
            for side in x.shape[1:3]
        )
        y = 0.0
        for i in range(size):
            for j in range(size):
                rows = i * rate + stride * np.arange(height)
                columns = j * rate + stride * np.arange(width)
                y = y + x[:, rows][:, :, columns] @ kernel[i, j]
        gamma, beta, mean, variance = self.weights[f"{name}_bn"]
        return gamma * (y - mean) / np.sqrt(variance + 1e-5) + beta

    def pool(self, x, padding):
        if padding == "symmetric":
            pads = [(1, 1), (1, 1)]
        else:
            totals = [1 if side % 2 == 0 else 2 for side in x.shape[1:3]]
            pads = [(total // 2, total - total // 2) for total in totals]
        x = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
        return windows.max((-1, -2))[:, ::2, ::2]


def randomize(model, rng):
    """Gives every variable of a model a value that matters."""
    for variable in model.variables:
        shape, name = variable.shape, variable.path.split("/")[-1]
        if name == "kernel":
            value = rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
        elif name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.normal(0, 0.3, shape)
        variable.assign(value)
    return model


def _outputs(model, images):
    pyramid = keras.Model(model.input, model.pyramid_outputs)
    return {k: ops.convert_to_numpy(v) for k, v in pyramid(images).items()}


@pytest.mark.parametrize("block", ["bottleneck", "basic"])
@pytest.mark.parametrize(
    "stem, output_stride",
    [
        ("imagenet", 32),
        pytest.param("imagenet", 16, marks=pytest.mark.ops),
        ("imagenet", 8),
        ("small", 8),
        ("small", 4),
        pytest.param("small", 2, marks=pytest.mark.ops),
    ],
)
def test_outputs_are_those_of_the_network_in_numpy(
    rng, block, stem, output_stride
):
    # One even and one odd side after every stride.
    images = rng.integers(0, 256, (1, 40, 33, 3)).astype("uint8")
    blocks, pool_padding = (1, 1, 1, 2), "symmetric"
    if output_stride in (16, 32):
        pool_padding = "same"
    backbone = ResNet(
        blocks,
        4,
        block=block,
        stem=stem,
        output_stride=output_stride,
        pool_padding=pool_padding,
    )
    randomize(backbone, rng)
    expected = NumpyResNet(backbone)(
        images,
        blocks=blocks,
        block=block,
        stem=stem,
        stages=STAGES[stem, output_stride],
        pool_padding=pool_padding,
    )
    for level, value in _outputs(backbone, images).items():
        atol = 1e-4 * np.abs(expected[level]).max()
        np.testing.assert_allclose(value, expected[level], atol=atol, rtol=1e-4)


@pytest.mark.ops
def test_a_stage_without_stride_may_go_without_dilation(rng):
    backbone = ResNet(
        (1, 1, 1, 2), 4, stem="small", output_stride=4, dilated=False
    )
    randomize(backbone, rng)
    images = rng.integers(0, 256, (1, 20, 17, 3)).astype("uint8")
    expected = NumpyResNet(backbone)(
        images,
        blocks=(1, 1, 1, 2),
        block="bottleneck",
        stem="small",
        stages=((1, 1), (2, 1), (2, 1), (1, 1)),
        pool_padding="same",
    )
    for level, value in _outputs(backbone, images).items():
        atol = 1e-4 * np.abs(expected[level]).max()
        np.testing.assert_allclose(value, expected[level], atol=atol, rtol=1e-4)


@pytest.mark.parametrize(
    "depth, trainable, total, with_1000, with_18291",
    [
        (50, 23_508_032, 23_561_152, 25_557_032, (60_986_291, 61_039_411)),
        (101, 42_500_160, 42_605_504, 44_549_160, (79_978_419, 80_083_763)),
        (152, 58_143_808, 58_295_232, 60_192_808, (95_622_067, 95_773_491)),
    ],
)
def test_published_depths_have_their_published_parameters(
    depth, trainable, total, with_1000, with_18291
):
    backbone = ResNet.from_depth(depth, image_shape=(299, 299, 3))
    assert backbone.output_shape == (None, 10, 10, 2048)
    ours = sum(np.prod(w.shape) for w in backbone.trainable_weights)
    assert (ours, backbone.count_params()) == (trainable, total)
    assert trainable + 2048 * 1000 + 1000 == with_1000
    head = 2048 * 18_291 + 18_291
    assert (trainable + head, total + head) == with_18291


def test_basic_depths_have_the_parameters_of_table_1():
    # torchvision's resnet18 and resnet34, less their head of 513,000.
    for depth, parameters in ((18, 11_689_512), (34, 21_797_672)):
        backbone = ResNet.from_depth(depth)
        ours = sum(np.prod(w.shape) for w in backbone.trainable_weights)
        assert ours == parameters - 513_000


@pytest.mark.slow
def test_513_pixels_at_stride_8_are_65_features():
    # Units beyond the first of a stage leave sizes as they are.
    backbone = ResNet((1, 1, 1, 1), output_stride=8, image_shape=(513, 513, 3))
    shapes = {k: v.shape for k, v in backbone.pyramid_outputs.items()}
    assert shapes == {
        "P2": (None, 129, 129, 256),
        "P3": (None, 65, 65, 512),
        "P4": (None, 65, 65, 1024),
        "P5": (None, 65, 65, 2048),
    }
    features = backbone.predict_on_batch(np.zeros((1, 513, 513, 3), "uint8"))
    assert features.shape == (1, 65, 65, 2048)
    assert np.isfinite(features).all()


OTHER_ARGUMENTS = {
    "blocks": (1, 2, 1, 1),
    "width": 4,
    "block": "basic",
    "stem": "small",
    "output_stride": 4,
    "pool_padding": "symmetric",
    "scaling": "caffe",
    "bn_momentum": 0.75,
    "bn_mode": "affine",
    "dilated": False,
    "image_shape": (16, None, 3),
    "dtype": "mixed_bfloat16",
    "name": "other",
}


@pytest.mark.ops
def test_every_argument_survives_saving_inside_a_head(tmp_path, rng):
    parameters = dict(inspect.signature(ResNet.__init__).parameters)
    del parameters["self"]
    assert set(OTHER_ARGUMENTS) == set(parameters)
    for name, value in OTHER_ARGUMENTS.items():
        assert value != parameters[name].default
    backbone = randomize(ResNet(**OTHER_ARGUMENTS), rng)
    x = keras.layers.GlobalAveragePooling2D()(backbone(backbone.input))
    model = keras.Model(backbone.input, keras.layers.Dense(2)(x))
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")
    images = rng.integers(0, 256, (2, 16, 20, 3)).astype("uint8")
    np.testing.assert_array_equal(
        model.predict(images, verbose=0), loaded.predict(images, verbose=0)
    )
    loaded = loaded.get_layer("other")
    assert type(loaded) is ResNet
    for name, value in OTHER_ARGUMENTS.items():
        if name == "dtype":
            assert loaded.dtype_policy.name == value
            assert loaded.get_layer("conv3_2_1_bn").compute_dtype == "bfloat16"
        else:
            assert getattr(loaded, name) == value
    assert loaded.get_layer("conv1_bn").momentum == 0.75
    assert loaded.get_config() == backbone.get_config()


@pytest.mark.ops
def test_a_rebuilt_backbone_keeps_weights_and_what_is_frozen(rng):
    backbone = ResNet((1, 1, 1, 1), 4, block="basic", stem="small")
    randomize(backbone, rng)
    backbone.get_layer("conv2_1_1_bn").trainable = False
    rebuilt = backbone.rebuild(
        output_stride=2, image_shape=(24, 24, 3), bn_momentum=0.5
    )
    assert rebuilt.output_shape == (None, 12, 12, 32)
    assert rebuilt.get_layer("conv1_bn").momentum == 0.5
    for layer in backbone.layers:
        if layer.weights:
            copy = rebuilt.get_layer(layer.name)
            assert copy.trainable is layer.trainable
            for old, new in zip(layer.weights, copy.weights, strict=True):
                assert old is not new
                np.testing.assert_array_equal(
                    ops.convert_to_numpy(old), ops.convert_to_numpy(new)
                )
    back = rebuilt.rebuild(output_stride=8, image_shape=(None, None, 3))
    images = rng.integers(0, 256, (1, 24, 24, 3)).astype("uint8")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(back(images)),
        ops.convert_to_numpy(backbone(images)),
    )


@pytest.mark.parametrize("block", ["bottleneck", "basic"])
@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_the_order_of_weights_does_not_depend_on_stride_or_pool(block, stem):
    # Weight files go by order.
    orders = {
        tuple(
            variable.path
            for variable in ResNet(
                (2, 1, 1, 1),
                4,
                block=block,
                stem=stem,
                output_stride=stride,
                pool_padding=pool_padding,
            ).weights
        )
        for (_, stride), pool_padding in zip(
            [key for key in STAGES if key[0] == stem],
            ("same", "symmetric", "same"),
            strict=True,
        )
    }
    assert len(orders) == 1


@pytest.mark.ops
def test_weights_load_from_a_file(tmp_path, rng):
    arguments = {"width": 4, "image_shape": (32, 32, 3)}
    saved = randomize(ResNet.from_depth(18, **arguments), rng)
    saved.save_weights(tmp_path / "backbone.weights.h5")
    loaded = ResNet.from_depth(
        18, tmp_path / "backbone.weights.h5", output_stride=8, **arguments
    )
    for old, new in zip(saved.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(old), ops.convert_to_numpy(new)
        )


@pytest.mark.ops
def test_rebuild_refuses_a_change_of_weights():
    with pytest.raises(ValueError, match="`rebuild` keeps the weights"):
        ResNet((1, 1, 1, 1), 4).rebuild(width=8)


@pytest.mark.ops
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"block": "wide"}, "`block` must be one of .*basic.*'wide'"),
        ({"stem": "tiny"}, "`stem` must be one of .*small"),
        ({"output_stride": 4}, "`output_stride` must be one of .*32, 16, 8"),
        ({"stem": "small", "output_stride": 32}, "one of .*8, 4, 2.*32"),
        ({"pool_padding": "valid"}, "`pool_padding` must be one of"),
        ({"scaling": "imagenet"}, "`scaling` must be one of"),
        ({"blocks": (3, 4, 6)}, "`blocks` must be four positive numbers"),
        ({"blocks": (3, 4, 0, 3)}, "`blocks` must be four positive numbers"),
        ({"image_shape": (32, 32, 1)}, "`image_shape` must be"),
        ({"image_shape": (32, 32)}, "`image_shape` must be"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**{"blocks": (1, 1, 1, 1), "width": 4, **arguments})


@pytest.mark.ops
def test_an_unpublished_depth_lists_the_published_ones():
    with pytest.raises(ValueError, match="18, 34, 50, 101, 152.*77"):
        ResNet.from_depth(77)


@pytest.mark.parametrize("stem", ["imagenet", "small"])
@pytest.mark.parametrize("block", ["bottleneck", "basic"])
def test_kernels_are_those_that_are_built(block, stem):
    blocks = (2, 1, 3, 1)
    built = {
        layer.name: tuple(layer.kernel.shape)
        for layer in ResNet(blocks, width=8, block=block, stem=stem).layers
        if isinstance(layer, keras.layers.Conv2D)
    }
    assert dict(ResNet.kernels(blocks, 8, block, stem)) == built
    # He et al., Table 1: 50 layers, of which one is not in a backbone, and
    # four projections.
    assert len(list(ResNet.kernels((3, 4, 6, 3)))) == 49 + 4
