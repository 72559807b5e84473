"""ResNet v1 of any depth, width and output stride.

The first token of a layer's name is its stage: `scaling`, `conv1` (the stem)
and `conv2` to `conv5`; `conv4_9` is the ninth unit of conv4.

    images, scaling
    conv1_pad, conv1_conv, conv1_bn, conv1_relu, conv1_pool
    conv2_1_0_conv, conv2_1_0_bn                   projection shortcut
    conv2_1_1_conv, conv2_1_1_bn, conv2_1_1_relu   first convolution
    conv2_1_2_conv, ...                            second, third
    conv2_1_add, conv2_1_out                       sum and its ReLU
    conv2_2_1_conv, ...                            second unit

Shapes: B batch, H W image side.
"""

import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from typing import Any, Self

import keras
from keras import ops

from keras_jft import checks
from keras_jft.backbones.backbone import Backbone
from keras_jft.backbones.imagenet_weights import (
    IMAGENET_ARGUMENTS,
    load_imagenet,
)
from keras_jft.layers import Conv2D, FusedBatchNormalization, ImageScaling
from keras_jft.training.checkpoints.load_weights import load_all_weights
from keras_jft.typing import PathLike

# Kind and number of units in conv2..conv5: He et al. 2015, Table 1.
DEPTHS = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}
BLOCKS = ("bottleneck", "basic")
STEMS = {"imagenet": 4, "small": 1}  # Each with its stride.
# The output strides that each stem allows, the largest first.
OUTPUT_STRIDES = {
    stem: (8 * stride, 4 * stride, 2 * stride) for stem, stride in STEMS.items()
}
_STAGE_STRIDES = (1, 2, 2, 2)


@keras.saving.register_keras_serializable("keras_jft")
class ResNet(Backbone):
    """A ResNet v1 without a head: images in, the output of conv5 out.

    As first published: batch normalization after every convolution, no
    convolution bias, the stride of a stage on the first convolution of its
    first unit and on the projection shortcut, the same zero padding on all
    sides. `pyramid_outputs` holds the outputs of conv2 to conv5 as P2 to P5.

    Args:
        blocks: Number of units in conv2, conv3, conv4 and conv5.
        width: Channels of the stem; the other widths follow from it.
        block: `"bottleneck"` (1x1, 3x3, 1x1) or `"basic"` (3x3, 3x3).
        stem: `"imagenet"`: 7x7 of stride 2, then a 3x3 pool of stride 2.
            `"small"`: 3x3 of stride 1 and no pool, for images of 32 to 64 px.
        output_stride: Pixels between two features of conv5: 32, 16 or 8; with
            the small stem 8, 4 or 2. None: the largest.
        dilated: Whether stages that lose their stride to `output_stride` are
            dilated instead, first unit included, so that each unit sees as
            much of the image as before.
        pool_padding: `"same"`, or `"symmetric"` as `keras.applications` has
            it. They differ for images with an even side.
        scaling: What the first layer does to pixels, see `ImageScaling`.
        bn_momentum: Fraction of the moving statistics that one step keeps.
        bn_mode: What batch normalization does in training, see
            `FusedBatchNormalization`.
        image_shape: `(H, W, 3)`; None: a side of any length.
        dtype: Dtype policy of all layers. None: the global one.
        name: Name of the model.

    Raises:
        ValueError: If an option is unknown, `blocks` are not four positive
            numbers, or `image_shape` is not `(H, W, 3)`.

    Example:

    >>> backbone = ResNet((1, 1, 1, 1), width=8, output_stride=16)
    >>> backbone.compute_output_shape((2, 224, 224, 3))
    (2, 14, 14, 256)
    >>> backbone.pyramid_level_inputs["P5"]
    'conv5_1_out'

    References:
        He et al. 2015, https://arxiv.org/abs/1512.03385, Table 1.
        Sun et al. 2017, https://arxiv.org/abs/1707.02968, section 4.1.
        Chen et al. 2016, https://arxiv.org/abs/1606.00915, section 3.1
        (dilation).
    """

    dilatable = True

    def __init__(
        self,
        blocks: Sequence[int],
        width: int = 64,
        *,
        block: str = "bottleneck",
        stem: str = "imagenet",
        output_stride: int | None = None,
        dilated: bool = True,
        pool_padding: str = "same",
        scaling: str = "jft",
        bn_momentum: float = 0.997,
        bn_mode: str = "batch",
        image_shape: tuple[int | None, int | None, int] = (None, None, 3),
        dtype: str | keras.DTypePolicy | None = None,
        name: str = "resnet",
    ):
        checks.one_of("block", block, BLOCKS)
        checks.one_of("stem", stem, STEMS)
        checks.one_of("pool_padding", pool_padding, ("same", "symmetric"))
        _check_shapes(blocks, image_shape)
        if output_stride is None:
            output_stride = OUTPUT_STRIDES[stem][0]
        dtype = keras.dtype_policies.get(dtype)

        # === Functional model ===
        layers = _Layers(bn_momentum, bn_mode, dtype)
        images = keras.Input(image_shape, name="images")
        x = ImageScaling(scaling, dtype=dtype, name="scaling")(images)
        stem_output = x = layers.stem(x, stem, width, pool_padding)
        pyramid, strides, reached = {}, {}, STEMS[stem]
        stages = _dilate(stem, output_stride, dilated)
        for i, (stride, rate) in enumerate(stages):
            stage = f"conv{i + 2}"
            filters = width * 2**i
            reached *= stride
            for unit in range(1, blocks[i] + 1):
                x = layers.unit(
                    x, block, filters, stride, rate, name=f"{stage}_{unit}"
                )
                stride = 1
            pyramid[f"P{i + 2}"], strides[f"P{i + 2}"] = x, reached
        super().__init__(
            inputs=images,
            outputs=x,
            pyramid_outputs=pyramid,
            strides=strides,
            output_stride=output_stride,
            stem_output=stem_output,
            name=name,
        )

        # === Config ===
        self.blocks = tuple(blocks)
        self.width = width
        self.block = block
        self.stem = stem
        self.dilated = dilated
        self.pool_padding = pool_padding
        self.scaling = scaling
        self.bn_momentum = bn_momentum
        self.bn_mode = bn_mode
        self.image_shape = tuple(image_shape)
        self.dtype_policy = dtype

    @classmethod
    def from_depth(
        cls, depth: int, weights: PathLike | None = None, **kwargs: Any
    ) -> Self:
        """Return the ResNet of a published depth.

        Args:
            depth: 18, 34, 50, 101 or 152.
            weights: None: random weights. `"imagenet"`: the weights of
                `keras.applications`, for 50, 101 and 152, with the
                `pool_padding` and `scaling` that they need. A path: a file
                that `jft.training.load_weights` can read.
            **kwargs: Arguments of `ResNet`.

        Returns:
            A `ResNet`.

        Raises:
            ValueError: If the depth is unknown, or has no such weights.
            OSError: If `"imagenet"` could not be downloaded.

        Example:

        >>> ResNet.from_depth(50).count_params()
        23561152
        """
        checks.one_of("depth", depth, DEPTHS)
        block, blocks = DEPTHS[depth]
        arguments = {"block": block, "name": f"resnet{depth}"}
        if weights == "imagenet":
            arguments |= IMAGENET_ARGUMENTS
        backbone = cls(blocks, **{**arguments, **kwargs})
        if weights == "imagenet":
            load_imagenet(backbone, depth)
        elif weights is not None:
            load_all_weights(backbone, weights)
        return backbone

    @staticmethod
    def kernels(
        blocks: Sequence[int],
        width: int = 64,
        block: str = "bottleneck",
        stem: str = "imagenet",
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield `(layer, shape)` of every kernel, without building anything.

        Args:
            blocks: As for `ResNet`.
            width: As for `ResNet`.
            block: As for `ResNet`.
            stem: As for `ResNet`.

        Example:

        >>> next(ResNet.kernels((1, 1, 1, 1), width=8))
        ('conv1_conv', (7, 7, 3, 8))
        """
        size = 3 if stem == "small" else 7
        yield "conv1_conv", (size, size, 3, width)
        sizes, growth = {"bottleneck": ((1, 3, 1), 4), "basic": ((3, 3), 1)}[
            block
        ]
        last = width
        for i, units in enumerate(blocks):
            filters = width * 2**i
            for unit in range(1, units + 1):
                name = f"conv{i + 2}_{unit}"
                if last != growth * filters:  # The shortcut projects.
                    shape = (1, 1, last, growth * filters)
                    yield f"{name}_0_conv", shape
                for number, size in enumerate(sizes, 1):
                    out = (growth if number == len(sizes) else 1) * filters
                    yield f"{name}_{number}_conv", (size, size, last, out)
                    last = out

    @property
    def stem_stride(self) -> int:
        """Return the pixels between two features of conv2."""
        return STEMS[self.stem]

    def rebuild(self, **changes: Any) -> "ResNet":
        """Return a ResNet with these weights and other arguments.

        Args:
            **changes: Arguments of `ResNet` that do not affect the weights,
                such as `output_stride`, `image_shape`, `bn_mode`.

        Returns:
            A `ResNet` in which the same layers are frozen.

        Raises:
            ValueError: If the changes need weights of other shapes.

        Example:

        >>> backbone = ResNet((1, 1, 1, 1), width=8)
        >>> backbone.rebuild(output_stride=8).output_stride
        8
        """
        rebuilt = self.from_config({**self.get_config(), **changes})
        shapes, wanted = (
            [w.shape for w in model.weights] for model in (self, rebuilt)
        )
        if shapes != wanted:
            raise ValueError(
                f"`rebuild` keeps the weights, but {changes} needs others. "
                "Make a new ResNet instead."
            )
        for variable, old in zip(rebuilt.weights, self.weights, strict=True):
            # A copy: JAX gives buffers away in `fit`, and none may be shared.
            variable.assign(ops.copy(old))
        return rebuilt

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments and the frozen layers' names."""
        names = inspect.signature(ResNet.__init__).parameters
        config = {name: getattr(self, name) for name in names if name != "self"}
        config["dtype"] = keras.dtype_policies.serialize(self.dtype_policy)
        config["frozen"] = [x.name for x in self.layers if not x.trainable]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ResNet":
        """Return a ResNet with these arguments and these layers frozen."""
        config = dict(config)
        frozen = config.pop("frozen", ())
        backbone = cls(**config)
        for name in frozen:
            backbone.get_layer(name).trainable = False
        return backbone


@dataclasses.dataclass(frozen=True)
class _Layers:
    """Adds layers to a graph, all with the same settings."""

    bn_momentum: float
    bn_mode: str
    dtype: keras.DTypePolicy

    def stem(self, x, stem, width, pool_padding):
        if stem == "small":
            return self.relu(self.convolve(x, width, 3, name="conv1"), "conv1")
        x = self.relu(self.convolve(x, width, 7, 2, name="conv1"), "conv1")
        if pool_padding == "symmetric":
            # Zeros pad as -inf would: a ReLU gives nothing below them.
            x = self.pad(x, 1, name="conv1_pool")
            pool_padding = "valid"
        return keras.layers.MaxPooling2D(
            3, 2, padding=pool_padding, dtype=self.dtype, name="conv1_pool"
        )(x)

    def unit(self, x, block, filters, stride, rate, name):
        make = {"bottleneck": self.bottleneck, "basic": self.basic}[block]
        residual = make(x, filters, stride, rate, name)
        if x.shape[-1] != residual.shape[-1]:
            x = self.convolve(
                x, residual.shape[-1], 1, stride, name=f"{name}_0"
            )
        x = keras.layers.Add(dtype=self.dtype, name=f"{name}_add")(
            [x, residual]
        )
        return keras.layers.ReLU(dtype=self.dtype, name=f"{name}_out")(x)

    def bottleneck(self, x, filters, stride, rate, name):
        first, second, third = (f"{name}_{i}" for i in (1, 2, 3))
        x = self.relu(self.convolve(x, filters, 1, stride, name=first), first)
        x = self.relu(
            self.convolve(x, filters, 3, rate=rate, name=second), second
        )
        return self.convolve(x, 4 * filters, 1, name=third)

    def basic(self, x, filters, stride, rate, name):
        first, second = f"{name}_1", f"{name}_2"
        x = self.convolve(x, filters, 3, stride, rate, name=first)
        return self.convolve(
            self.relu(x, first), filters, 3, rate=rate, name=second
        )

    def convolve(self, x, filters, size, stride=1, rate=1, *, name):
        padding = "same"
        if stride > 1 and size > 1:
            # SAME would pad even sides more at the bottom and right.
            x, padding = self.pad(x, size // 2, name=name), "valid"
        x = Conv2D(
            filters,
            size,
            strides=stride,
            dilation_rate=rate,
            padding=padding,
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=self.dtype,
            name=f"{name}_conv",
        )(x)
        return FusedBatchNormalization(
            momentum=self.bn_momentum,
            epsilon=1e-5,
            mode=self.bn_mode,
            dtype=self.dtype,
            name=f"{name}_bn",
        )(x)

    def pad(self, x, size, *, name):
        return keras.layers.ZeroPadding2D(
            size, dtype=self.dtype, name=f"{name}_pad"
        )(x)

    def relu(self, x, name):
        return keras.layers.ReLU(dtype=self.dtype, name=f"{name}_relu")(x)


def _dilate(stem, output_stride, dilated):
    """Return `(stride, dilation rate)` of conv2..conv5."""
    reached, rate, stages = STEMS[stem], 1, []
    checks.one_of("output_stride", output_stride, OUTPUT_STRIDES[stem])
    for stride in _STAGE_STRIDES:
        if reached == output_stride:
            stride, rate = 1, rate * stride if dilated else 1
        reached *= stride
        stages.append((stride, rate))
    return stages


def _check_shapes(blocks, image_shape):
    if len(blocks) != 4 or min(blocks) < 1:
        raise ValueError(
            "`blocks` must be four positive numbers, the units in conv2 to "
            f"conv5. Received: {blocks}."
        )
    if len(image_shape) != 3 or image_shape[-1] != 3:
        raise ValueError(
            "`image_shape` must be (height, width, 3), with None for a side of "
            f"any length. Received: {image_shape}."
        )
