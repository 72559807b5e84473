"""Transformers that give one token per patch: tokens to feature maps.

Shapes: B batch, n patches, h w patches of a column and a row, C channels.
"""

import math

import keras
from keras import ops

from keras_jft.backbones import graph

_WIDTH = 256  # Channels of a level of the pyramid.
_FINEST, _COARSEST = 2, 5  # Levels of the pyramid.


def layout(net):
    """Return how a net of KerasHub lays out its tokens.

    Args:
        net: A model that gives tokens `(B, lead + n, C)`.

    Returns:
        `(lead, patch)`: the number of tokens before those of patches, the class
        token first of all, and `(height, width)` of a patch in pixels.

    Raises:
        ValueError: If that is not known of this net.
    """
    leads = {
        "DINOV2Backbone": lambda: 1 + net.num_register_tokens,
        "DINOV3Backbone": lambda: 1 + net.num_register_tokens,
        "DeiTBackbone": lambda: 2,  # The second one is distilled.
        "ViTBackbone": lambda: int(net.use_class_token),
    }
    name = type(net).__name__
    if name not in leads:
        raise ValueError(
            f"The output of {net.name!r} is of shape {net.output.shape}. A "
            "backbone ends in a feature map (B, h, w, C), or is one of the "
            f"transformers {sorted(leads)}. Leave out the layers after the "
            "last map (`include_top=False`, or `.backbone` of a KerasHub task)."
        )
    patch = net.patch_size
    patch = (patch, patch) if isinstance(patch, int) else tuple(patch)
    return leads[name](), patch


def to_map(tokens, lead, grid):
    """Return the tokens of patches as a feature map.

    Args:
        tokens: A `KerasTensor` `(B, lead + h * w, C)`.
        lead: Tokens that are none of a patch.
        grid: `(h, w)`.

    Returns:
        A `KerasTensor` `(B, h, w, C)`.
    """
    if lead:
        tokens = keras.layers.Cropping1D((lead, 0), name="patch_tokens")(tokens)
    shape = (*grid, tokens.shape[-1])
    return keras.layers.Reshape(shape, name="token_map")(tokens)


def class_token(tokens):
    """Return the first token, `(B, C)`, of `(B, 1 + n, C)`."""
    behind = tokens.shape[1] - 1
    first = keras.layers.Cropping1D((0, behind), name="class_tokens")(tokens)
    return keras.layers.Reshape((-1,), name="class_token")(first)


def stages(images, tokens):
    """Return where a transformer's stages end: four of as many blocks each.

    Args:
        images: The input, a `KerasTensor`.
        tokens: The output, a `KerasTensor` `(B, lead + n, C)`.

    Returns:
        `{"stem": KerasTensor, "P2": ..., ..., "P5": tokens}`.
    """
    found = graph.tokens_between(images, tokens)
    norm = keras.layers.LayerNormalization
    blocks = [
        tensor
        for operation, tensor in found
        if getattr(operation, "weights", None)
        and not isinstance(operation, norm)
    ]
    stem, *blocks = blocks
    ends = {"stem": stem}
    for i in range(1, 4):
        count = math.ceil(i * len(blocks) / 4)
        ends[f"P{i + 1}"] = blocks[count - 1] if blocks else stem
    return {**ends, "P5": tokens}


def strides(stride):
    """Return the strides of the pyramid of a map with a given stride.

    Args:
        stride: Pixels between two features of the map; unless it is a power
            of two, the map has the level of the nearest one.

    Example:

    >>> strides(14)
    {'P2': 3.5, 'P3': 7.0, 'P4': 14.0, 'P5': 28.0}
    """
    own = min(max(round(math.log2(stride)), _FINEST), _COARSEST)
    levels = range(_FINEST, _COARSEST + 1)
    return {f"P{level}": stride * 2.0 ** (level - own) for level in levels}


def pyramid(features, stride, dtype):
    """Return a simple feature pyramid of the one map of a transformer.

    Its layers have random weights. They belong to the head that uses them, not
    to the backbone: freezing the backbone leaves them trainable.

    Args:
        features: A `KerasTensor` `(B, h, w, C)`.
        stride: Pixels between two features.
        dtype: Dtype policy of the layers.

    Returns:
        `{"P2": KerasTensor, ..., "P5": ...}`, of 256 channels, or C if that is
        less.

    References:
        Li et al. 2022, https://arxiv.org/abs/2203.16527, section 3, with the
        layers of its appendix A.2.
    """
    width = min(_WIDTH, features.shape[-1])
    levels = {}
    for level, of_level in strides(stride).items():
        name = f"pyramid_{level.lower()}"
        halvings = round(math.log2(of_level / stride))
        x = _resampled(features, halvings, dtype, name)
        for i, size in enumerate((1, 3)):
            x = keras.layers.Conv2D(
                width,
                size,
                padding="same",
                use_bias=False,
                dtype=dtype,
                name=f"{name}_conv{i}",
            )(x)
            x = keras.layers.LayerNormalization(
                epsilon=1e-6, dtype=dtype, name=f"{name}_norm{i}"
            )(x)
        levels[level] = x
    return levels


def _resampled(x, halvings, dtype, name):
    """Return a map with its sides halved, or doubled if that is negative."""
    for i in range(halvings):
        x = keras.layers.MaxPooling2D(
            2, padding="same", dtype=dtype, name=f"{name}_pool{i}"
        )(x)
    for i in range(-halvings):
        if i:
            x = keras.layers.LayerNormalization(
                epsilon=1e-6, dtype=dtype, name=f"{name}_up_norm{i}"
            )(x)
            x = keras.layers.Activation(
                "gelu", dtype=dtype, name=f"{name}_up_gelu{i}"
            )(x)
        x = keras.layers.Conv2DTranspose(
            max(x.shape[-1] // 2, 1), 2, 2, dtype=dtype, name=f"{name}_up{i}"
        )(x)
    return x


def resize_positions(positions, shape, old_grid, new_grid):
    """Return position embeddings for another number of patches.

    Args:
        positions: `(..., lead + n, C)`.
        shape: The shape that they are to have.
        old_grid: `(h, w)` of the patches that they are for.
        new_grid: `(h, w)` of the patches to come.

    Returns:
        A tensor of that shape, the embeddings of patches interpolated; None if
        `positions` are none of that kind.

    References:
        Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929, section 3.2.
    """
    lead = positions.shape[-2] - math.prod(old_grid)
    new = (*positions.shape[:-2], lead + math.prod(new_grid), shape[-1])
    if lead < 0 or tuple(shape) != tuple(new):
        return None
    channels = shape[-1]
    flat = ops.reshape(positions, (-1, channels))
    resized = ops.image.resize(
        ops.reshape(flat[lead:], (1, *old_grid, channels)),
        new_grid,
        interpolation="bicubic",
        data_format="channels_last",
    )
    resized = ops.reshape(resized, (-1, channels))
    return ops.reshape(ops.concatenate([flat[:lead], resized], 0), shape)
