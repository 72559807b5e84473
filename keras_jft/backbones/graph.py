"""Levels of a feature pyramid, found in the graph of a functional model.

Shapes: B batch, H W image side, h w feature side, C channels.
"""

import math

import keras

from keras_jft.training import keras_internals

# The levels that heads know, by their strides: pixels between two features.
LEVELS = {4: "P2", 8: "P3", 16: "P4", 32: "P5"}
_SIDE = 512  # Of the image that tells the strides of a net for any size.


def find_levels(images, output):
    """Return the last feature map of each stride, on the way to the output.

    Preferred are maps that every path from the images to the output goes
    through: the rest of the net can then be applied to them, or to parts of
    them. The last level is the output itself.

    Args:
        images: The input, a `KerasTensor` `(B, H, W, 3)`.
        output: The last feature map, a `KerasTensor` `(B, h, w, C)`.

    Returns:
        `({"P2": KerasTensor, ...}, {"P2": stride, ...})`, finest first.

    Raises:
        ValueError: If the output has none of the strides of `LEVELS`.

    Example:

    >>> images = keras.Input((32, 32, 3))
    >>> x = keras.layers.Conv2D(4, 5, strides=4, padding="same")(images)
    >>> y = keras.layers.Conv2D(4, 3, strides=2, padding="same")(x)
    >>> find_levels(images, y)[1]
    {'P2': 4, 'P3': 8}
    """
    calls = keras_internals.calls(keras.Model(images, output))
    through = _passed_by_all(calls, output)
    maps = [
        (tensor, i in through)
        for i, (_, _, outputs) in enumerate(calls)
        for tensor in outputs
        if len(tensor.shape) == 4 and i
    ]
    sides = _sides(images, [tensor for tensor, _ in maps])
    best, reached, last = {}, 1, 1
    for (tensor, is_passed), (side, of_image) in zip(maps, sides, strict=True):
        stride = _power_of_two(side, of_image)
        last = stride if tensor is output else last
        # Neither what is left of a border nor what has one added.
        is_whole = side == -(-of_image // stride)
        quality = (is_whole, is_passed)
        if stride < reached:  # A small map with a border looks like a finer.
            continue
        if is_passed:
            reached = stride
        if quality >= best.get(stride, ((), None))[0]:
            best[stride] = quality, tensor
    if last not in LEVELS:
        raise ValueError(
            "A backbone ends in a feature map at one of the strides "
            f"{sorted(LEVELS)}. Received: a map at the stride {last:g}. Leave "
            "out the last layers, or give a smaller net."
        )
    strides = [s for s in LEVELS if s in best and s < last]
    tensors = {LEVELS[stride]: best[stride][1] for stride in strides}
    tensors[LEVELS[last]] = output
    return tensors, {LEVELS[s]: s for s in (*strides, last)}


def strides_of(images, maps):
    """Return the pixels between two features of each map, powers of two.

    Args:
        images: The input, a `KerasTensor` `(B, H, W, 3)`.
        maps: List of `KerasTensor`s `(B, h, w, C)` that depend on it.
    """
    return [_power_of_two(*sides) for sides in _sides(images, maps)]


def tokens_between(images, tokens):
    """Return the tensors like `tokens` that all paths to it go through.

    Args:
        images: The input, a `KerasTensor`.
        tokens: The output of a transformer, a `KerasTensor` `(B, n, C)`.

    Returns:
        List of `(operation, KerasTensor)` in order; the last is `tokens`.
    """
    calls = keras_internals.calls(keras.Model(images, tokens))
    through = _passed_by_all(calls, tokens)
    return [
        (operation, outputs[0])
        for i, (operation, _, outputs) in enumerate(calls)
        if i in through and outputs[0].shape[1:] == tokens.shape[1:]
    ]


def _passed_by_all(calls, output):
    """Return which calls are on every path to a tensor: its dominators.

    A call is passed by all paths to itself, and so is whatever is passed by all
    paths to each of its inputs.

    Args:
        calls: As `keras_internals.calls` returns them.
        output: An output of the last of them.

    Returns:
        Set of indices into `calls`.
    """
    maker, passed = {}, []  # Sets of calls as bits of an integer.
    for i, (_, inputs, outputs) in enumerate(calls):
        of_inputs = [passed[maker[id(tensor)]] for tensor in inputs]
        common = of_inputs[0] if of_inputs else 0
        for other in of_inputs[1:]:
            common &= other
        passed.append(common | 1 << i)
        maker.update({id(tensor): i for tensor in outputs})
    bits = passed[maker[id(output)]]
    return {i for i in range(len(calls)) if bits >> i & 1}


def _sides(images, tensors):
    """Return `(height, height of the image)` of feature maps.

    Of small images, whose last maps are all of one feature, those of a large
    one tell more, if the net takes one: most maps then keep their strides.
    """
    if images.shape[1] is None:
        return _sides_of_large(images, tensors)
    own = [(tensor.shape[1], images.shape[1]) for tensor in tensors]
    if images.shape[1] >= max(LEVELS):
        return own
    try:
        large = _sides_of_large(images, tensors)
    except (TypeError, ValueError):
        return own
    alike = [
        _power_of_two(*a) == _power_of_two(*b)
        for a, b in zip(own, large, strict=True)
        if a[0] > 1
    ]
    # Not all: borders are a larger part of small maps.
    return large if sum(alike) > len(alike) / 2 else own


def _sides_of_large(images, tensors):
    net = keras.Model(images, tensors)
    net.input_spec = None  # The size of the images is not the net's.
    shapes = net.compute_output_shape((1, _SIDE, _SIDE, images.shape[-1]))
    # Of a single output the shape comes alone, of several in a list.
    shapes = shapes if isinstance(shapes, list) else [shapes]
    return [(shape[1], _SIDE) for shape in shapes]


def _power_of_two(side, of_image):
    """Return the power of two nearest to a stride."""
    return 2 ** round(math.log2(of_image / side))
