"""`adapt`: any functional Keras net as a backbone."""

import functools
import json
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_jft import checks, training
from keras_jft.backbones import graph, nets, tokens
from keras_jft.backbones.backbone import Backbone
from keras_jft.layers import (
    BATCH_NORMALIZATION_MODES,
    Conv2D,
    FusedBatchNormalization,
    ImageScaling,
)
from keras_jft.training import keras_internals

# Layers of KerasHub that hold all stages of a net at once. Their own layers are
# called one by one instead, so that each is in the graph.
_WHOLE_ENCODERS = (
    "DINOV2Encoder",
    "DINOV3Encoder",
    "DeiTEncoder",
    "HGNetV2Encoder",
    "ViTEncoder",
)
_LARGEST_SCALE = 1 / 32  # With which pixels of 0..255 become small numbers.
# Layers that a net of `keras.applications` has, by the scaling that it needs.
_APPLICATIONS = (
    ("caffe", {"conv1_bn", "conv2_block1_0_bn", "conv2_block1_out"}),
    ("caffe", {"block1_conv1", "block1_pool", "block5_conv3"}),
    ("tf", {"conv1_conv", "conv2_block1_preact_bn", "post_bn"}),
    ("tf", {"conv1_bn", "conv_dw_1", "conv_pw_13_bn"}),
    ("tf", {"Conv1", "expanded_conv_depthwise", "Conv_1_bn"}),
    ("tf", {"block1_conv1_bn", "block2_sepconv1_bn", "block14_sepconv2_bn"}),
    ("tf", {"mixed0", "mixed5", "mixed10"}),
    ("tf", {"mixed_5b", "mixed_6a", "mixed_7a", "conv_7b"}),
    ("tf", {"stem_conv1", "stem_bn1", "reduction_conv_1_stem_1"}),
    ("torch", {"conv1_bn", "conv2_block1_concat", "pool2_conv"}),
)


def adapt(
    model: keras.Model,
    *,
    scaling: Any = None,
    levels: Mapping[str, str] | None = None,
    fused: bool = False,
) -> "AdaptedBackbone":
    """Return a functional Keras net as a backbone: images in, features out.

    The layers and weights of `model` are used, not copied: what trains in the
    backbone trains in `model`. Heads that need other layers, and
    `jft.pretrain.run` and `jft.transfer.run`, copy them as they copy those of
    any backbone. Where a layer of Keras has a twin in `jft.layers`, a
    convolution or with `fused` a batch normalization, it becomes that: with
    the same weights and the same numbers.

    Args:
        model: A functional `keras.Model` from images `(B, H, W, 3)` to a
            feature map `(B, h, w, C)`, such as one of `keras.applications` with
            `include_top=False`, a backbone of KerasHub or of KerasCV.
            Transformers of KerasHub that give tokens become a map of tokens.
        scaling: How pixels of 0..255 become what the net was trained with: as
            for `jft.layers.ImageScaling`, or an image converter of KerasHub.
            None: `"none"` if the net begins by scaling them itself, or that of
            the net of `keras.applications` whose layers these are. It must be
            given for any other: it is never guessed.
        levels: `{"P2": layer name, ..., "P5": layer name}`, with the layers
            whose outputs are the levels of the pyramid. None: the last feature
            maps at the strides 4, 8, 16 and 32.
        fused: Whether stock batch normalization becomes
            `jft.layers.FusedBatchNormalization`, which is faster.

    Returns:
        An `AdaptedBackbone`.

    Raises:
        ValueError: If the net is not functional, takes or gives something else,
            holds layers that could not be loaded safely again, or its scaling
            or its levels are not known.

    Example:

    >>> net = keras.applications.MobileNetV2(
    ...     (64, 64, 3), alpha=0.35, weights=None, include_top=False)
    >>> backbone = adapt(net)
    >>> backbone.scaling, list(backbone.pyramid_outputs)
    ('tf', ['P2', 'P3', 'P4', 'P5'])
    """
    net = _checked(model)
    if scaling is None:
        scaling = _known_scaling(net)
    elif not isinstance(scaling, (str, tuple, list)):
        scaling = _of_converter(scaling)
    return AdaptedBackbone(net, scaling=scaling, levels=levels, fused=fused)


@keras.saving.register_keras_serializable("keras_jft")
class AdaptedBackbone(Backbone):
    """A functional net behind the contract of a backbone; `adapt` makes it.

    Args:
        net: A functional model, whose layers are used, or its description.
        scaling: As for `jft.layers.ImageScaling`.
        levels: As for `adapt`.
        fused: As for `adapt`.
        bn_mode: What batch normalization does in training, see
            `jft.layers.FusedBatchNormalization`. Another than `"batch"` makes
            it fused.
        bn_momentum: Momentum of the moving statistics; None: as in the net.
        dtype: Dtype policy of all layers; None: as in the net.
        name: Name of the model; None: that of the net.

    Raises:
        ValueError: As for `adapt`.
    """

    dilated = False
    _pyramid_outputs: Any = None

    def __init__(
        self,
        net: keras.Model | Mapping[str, Any],
        *,
        scaling: str | tuple | list,
        levels: Mapping[str, str] | None = None,
        fused: bool = False,
        bn_mode: str = "batch",
        bn_momentum: float | None = None,
        dtype: str | None = None,
        name: str | None = None,
    ):
        checks.one_of("bn_mode", bn_mode, BATCH_NORMALIZATION_MODES)
        if isinstance(net, Mapping):
            net, description = _built(net, dtype)
        else:
            description = nets.describe(net)
        policy = _policy(net)

        # === Layers ===
        for layer in keras_internals.flatten_layers(net):
            _replace(layer, fused or bn_mode != "batch", bn_mode, bn_momentum)

        # === Functional model ===
        images = keras.Input(net.inputs[0].shape[1:], name="images")
        x = ImageScaling(scaling, dtype=policy, name="scaling")(images)
        outputs = keras_internals.call_again(net, [x], _call)
        parts = _parts(net, images, outputs, levels)
        grid = parts.pop("grid", None)
        super().__init__(
            inputs=images,
            outputs=parts.pop("output"),
            name=name or net.name,
            **parts,
        )

        # === Config ===
        self.image_shape = tuple(images.shape[1:])
        self.scaling = self.get_layer("scaling").scaling
        self.fused = fused
        self.bn_mode = bn_mode
        self.bn_momentum = bn_momentum
        self.dtype_policy = policy
        self._grid = grid
        # As text: Keras would turn it into something that refers to the model.
        self._described = json.dumps([description, levels])

    @property
    def pyramid_outputs(self) -> Any:
        """The levels of the pyramid; of a transformer, made when asked for."""
        if self._pyramid_outputs is None:
            self._pyramid_outputs = tokens.pyramid(
                self.output, self.output_stride, self.dtype_policy
            )
        return self._pyramid_outputs

    @pyramid_outputs.setter
    def pyramid_outputs(self, value: Any) -> None:
        self._pyramid_outputs = value

    def rebuild(self, **changes: Any) -> "AdaptedBackbone":
        """Return a copy with these weights and other arguments.

        Args:
            **changes: `image_shape`; `dtype`, `bn_mode`, `bn_momentum`,
                `fused`, `name` as for `AdaptedBackbone`; `output_stride` and
                `dilated`, if they are as they are. Position embeddings are
                interpolated for another `image_shape`.

        Returns:
            An `AdaptedBackbone` in which the same layers are frozen.

        Raises:
            ValueError: If the net cannot be changed so, or the change needs
                weights of other shapes.
        """
        self._check_changes(changes)
        config = self.get_config()
        net = config["net"]
        if "image_shape" in changes:
            shape = changes.pop("image_shape")
            net = nets.with_image_shape(net, shape)
        for name in ("output_stride", "dilated"):  # They are as wanted.
            changes.pop(name, None)
        try:
            rebuilt = self.from_config({**config, **changes, "net": net})
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"The net {self.name!r} cannot be rebuilt for images of "
                f"{net['config'].get('image_shape', self.image_shape)}: {error}"
            ) from error
        self._copy_weights(rebuilt)
        return rebuilt

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments and which layers are frozen."""
        layers = keras_internals.flatten_layers(self)
        net, levels = json.loads(self._described)
        return {
            "net": net,
            "scaling": self.scaling,
            "levels": levels,
            "fused": self.fused,
            "bn_mode": self.bn_mode,
            "bn_momentum": self.bn_momentum,
            "dtype": self.dtype_policy.name,
            "name": self.name,
            # By number: layers inside of two others may share a name.
            "frozen": [i for i, x in enumerate(layers) if not x.trainable],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "AdaptedBackbone":
        """Return a backbone with these arguments and these layers frozen."""
        config = dict(config)
        frozen = config.pop("frozen", None)
        backbone = cls(**config)
        if frozen is not None:
            layers = keras_internals.flatten_layers(backbone)
            for i, layer in enumerate(layers):  # Outer ones come first.
                layer.trainable = i not in frozen
        return backbone

    def _check_changes(self, changes):
        known = (
            *("image_shape", "dtype", "bn_mode", "bn_momentum", "fused"),
            *("name", "output_stride", "dilated"),
        )
        for name in changes:
            checks.one_of("change", name, known)
        stride = changes.get("output_stride", self.output_stride)
        if changes.get("dilated") or stride != self.output_stride:
            raise ValueError(
                f"The net {self.name!r} cannot be dilated: its last features "
                f"are {self.output_stride} pixels apart. Received: {changes}. "
                f"Use its finer levels {list(self.strides)}, or `jft.ResNet`, "
                "which can be dilated."
            )

    def _copy_weights(self, rebuilt):
        """Give a backbone of the same layers the weights of this one."""
        pairs = list(zip(self.weights, rebuilt.weights, strict=True))
        values = []
        for old, new in pairs:
            value = old
            if old.shape != new.shape:
                value = self._resized(old, new, rebuilt)
            values.append(value)
        for (_, new), value in zip(pairs, values, strict=True):
            # A copy: JAX gives buffers away in `fit`, and none may be shared.
            new.assign(ops.copy(value))

    def _resized(self, old, new, rebuilt):
        """Return position embeddings for the images of a rebuilt net."""
        value = None
        if self._grid and len(old.shape) > 1:
            value = tokens.resize_positions(
                old, new.shape, self._grid, rebuilt._grid
            )
        if value is None:
            raise ValueError(
                f"`rebuild` keeps the weights, but {old.path} would have to be "
                f"{tuple(new.shape)} and is {tuple(old.shape)}. Make a new net "
                "instead."
            )
        return value


# === The net ===


def _checked(model):
    """Return a model of one graph; raise if it can be no backbone."""
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    if not keras_internals.is_functional(model):
        raise ValueError(
            "`model` must be a functional `keras.Model`, whose graph tells its "
            f"levels. Received: a {type(model).__name__}. Write a subclassed "
            "model as `keras.Model(inputs, outputs)`."
        )
    shapes = [tensor.shape for tensor in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][-1] != 3:
        raise ValueError(
            "`model` must take images of three channels, (B, H, W, 3). "
            f"Received: {model.name!r} with inputs of shape {shapes}."
        )
    return model


def _built(description, dtype):
    """Return a net with layers of its own, and its description."""
    if dtype is None:
        net = nets.build(description)
    else:
        description = nets.with_dtype(description, dtype)
        with training.dtype_policy(dtype):
            net = nets.build(description)
    keras_internals.forget_calls(net)
    return net, description


def _policy(net):
    """Return the dtype policy of the layers of a net."""
    layers = [x for x in keras_internals.flatten_layers(net) if x.weights]
    # The first is the net itself, which may not say.
    return (layers[1:] or [net])[0].dtype_policy


def _replace(layer, is_fused, bn_mode, bn_momentum):
    """Make one layer of Keras its twin of `jft.layers`, in place."""
    if isinstance(getattr(layer, "mask_token", None), keras.Variable):
        # Of the way the net was pre-trained. Here nothing depends on it.
        keras_internals.never_train(layer, layer.mask_token)
    if type(layer).__name__ == "DINOV2Embedding":
        # It would keep position embeddings for one size alone, interpolated.
        plain = keras.layers.Layer
        for name in ("save_own_variables", "load_own_variables"):
            setattr(layer, name, functools.partial(getattr(plain, name), layer))
    if type(layer) is keras.layers.Conv2D:
        layer.__class__ = Conv2D
    if not isinstance(layer, keras.layers.BatchNormalization):
        return
    if is_fused and type(layer) is keras.layers.BatchNormalization:
        layer.__class__ = FusedBatchNormalization
        layer.mode = "batch"
    if isinstance(layer, FusedBatchNormalization):
        layer.mode = bn_mode
        if bn_mode == "frozen":
            for variable in layer.weights:  # All, to keep their order.
                keras_internals.never_train(layer, variable)
    if bn_momentum is not None:
        layer.momentum = bn_momentum


def _call(operation, *args, **kwargs):
    if type(operation).__name__ in _WHOLE_ENCODERS:
        if type(operation).__name__ == "DeiTEncoder":
            # Without them its blocks return a None, which no graph can hold.
            kwargs["return_attention_scores"] = True
        return operation.call(*args, **kwargs)
    return operation(*args, **kwargs)


# === Its levels ===


def _parts(net, images, outputs, levels):
    """Return the output of a net and what the contract asks of it."""
    output = _last(images, keras.tree.flatten(outputs))
    if len(output.shape) != 4:
        return _parts_of_tokens(net, images, output, levels)
    if output.shape[-1] is None:
        raise ValueError(
            f"The net {net.name!r} does not say how many channels its last "
            f"map has for images of {tuple(images.shape[1:])}: {output.shape}. "
            "Give larger images."
        )
    if levels:
        pyramid = _given(images, output, levels)
        *found, last = graph.strides_of(images, [*pyramid.values(), output])
        strides = dict(zip(pyramid, found, strict=True))
    else:
        pyramid, strides = graph.find_levels(images, output)
        last = max(strides.values())
    return {
        "output": output,
        "pyramid_outputs": pyramid,
        "strides": strides,
        "output_stride": last,
    }


def _last(images, outputs):
    """Return the output that is the last of several feature maps."""
    if len(outputs) == 1 or any(len(x.shape) != 4 for x in outputs):
        return outputs[0]
    strides = graph.strides_of(images, outputs)
    return outputs[strides.index(max(strides))]


def _parts_of_tokens(net, images, output, levels):
    if levels:
        raise ValueError(
            f"`levels` are maps, and {net.name!r} gives tokens, from which its "
            f"levels are made. Received: levels={levels}. Leave it out."
        )
    lead, patch = tokens.layout(net)
    sides = images.shape[1:3]
    grid = tuple(n // p for n, p in zip(sides, patch, strict=True))
    features = tokens.to_map(output, lead, grid)
    return {
        "output": features,
        "strides": tokens.strides(patch[0]),
        "output_stride": patch[0],
        "stage_outputs": tokens.stages(images, output),
        "pooled_output": tokens.class_token(output) if lead else None,
        "grid": grid,
    }


def _given(images, output, levels):
    """Return the levels that were given by names of layers."""
    calls = keras_internals.calls(keras.Model(images, output))
    tensors = {op.name: outputs[0] for op, _, outputs in calls}
    for level, name in levels.items():
        if level not in graph.LEVELS.values() or name not in tensors:
            raise ValueError(
                '`levels` must be {"P2": layer name, ...}, of levels among '
                f"{list(graph.LEVELS.values())} and layers of the net. "
                f"Received: {level!r}: {name!r}. The last of its "
                f"{len(tensors)} layers: {list(tensors)[-5:]}."
            )
        if len(tensors[name].shape) != 4:
            raise ValueError(
                f"The level {level} must be a map (B, h, w, C). Received: "
                f"{name!r}, of shape {tensors[name].shape}."
            )
    return {level: tensors[levels[level]] for level in sorted(levels)}


# === Its scaling ===


def _known_scaling(net):
    """Return the scaling of a net that says it, or is known."""
    (first, *_) = (op for op, inputs, _ in keras_internals.calls(net) if inputs)
    if isinstance(first, keras.layers.Rescaling):
        if _largest(first.scale) <= _LARGEST_SCALE:
            return "none"
    elif isinstance(first, keras.layers.Normalization):
        # Of deviations, not of variances.
        variance = first.input_variance
        if variance is not None and _least(variance) >= _LARGEST_SCALE**-2:
            return "none"
    names = {layer.name for layer in net.layers}
    for scaling, layers in _APPLICATIONS:
        if layers <= names:
            return scaling
    raise ValueError(
        f"`scaling` of {net.name!r} is not known: it neither begins by scaling "
        "pixels of 0..255 itself, nor are its layers those of a net of "
        "`keras.applications`. Give what it was trained with: "
        '"tf", "torch", "caffe", "none", a pair (scale, offset), or the image '
        "converter of its KerasHub preset, "
        "`keras_hub.layers.ImageConverter.from_preset(preset)`."
    )


def _largest(numbers):
    return max(keras.tree.flatten(ops.convert_to_numpy(numbers).tolist()))


def _least(numbers):
    return min(keras.tree.flatten(ops.convert_to_numpy(numbers).tolist()))


def _of_converter(converter):
    """Return `(scale, offset)` of an image converter of KerasHub."""
    if not hasattr(converter, "scale") or not hasattr(converter, "offset"):
        raise ValueError(
            "`scaling` must be a name, a pair (scale, offset) or an image "
            f"converter of KerasHub. Received: {converter!r}."
        )
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    return scale, offset
