"""A feature pyramid for Faster R-CNN, and regions cropped out of its levels.

Shapes: B batch, H W image side, h w feature side, R proposals, C channels, L
levels.

References:
    Lin et al. 2017, "Feature Pyramid Networks for Object Detection",
    https://arxiv.org/abs/1612.03144.
"""

import itertools

import keras
from keras import ops

from keras_jft.transfer.heads.faster_rcnn import boxes as box_lib
from keras_jft.transfer.heads.faster_rcnn import stages

# Features per side of the smallest region that a level is for, but for the
# finest: 224 px at P4, whose stride is 16 (Lin et al., section 4.2, k0 = 4).
CELLS = 14


def feature_pyramid(backbone, filters):
    """Return the levels of a pyramid in which coarse features reach fine ones.

    Args:
        backbone: A backbone with two or more levels, each twice as coarse as
            the one before.
        filters: Channels of each level.

    Returns:
        `{stride: KerasTensor (B, h, w, filters)}`, finest first. The last is
        P6 of Lin et al., every second feature of the level before; only the
        first stage uses it.

    Raises:
        ValueError: If the backbone has other levels.
    """
    strides = getattr(backbone, "strides", None) or {}
    names = sorted(strides)
    pairs = itertools.pairwise(names)
    if len(names) < 2 or any(strides[b] != 2 * strides[a] for a, b in pairs):
        raise ValueError(
            '`FasterRCNN(neck="fpn")` needs two or more levels, each twice as '
            f"coarse as the one before. Received: {backbone.name!r} with the "
            f"strides {strides}. Use a backbone of `jft.backbones` that is not "
            'dilated, or `neck="c4"`.'
        )
    dtype = backbone.dtype_policy

    def convolve(x, size, name):
        return keras.layers.Conv2D(
            filters, size, padding="same", dtype=dtype, name=name
        )(x)

    levels, coarser = {}, None
    for name in reversed(names):
        prefix = f"fpn_{name.lower()}"
        x = convolve(backbone.pyramid_outputs[name], 1, f"{prefix}_lateral")
        if coarser is not None:
            x = keras.layers.Add(dtype=dtype, name=f"{prefix}_add")(
                [x, Doubled(dtype=dtype, name=f"{prefix}_above")(coarser, x)]
            )
        coarser = x
        levels[strides[name]] = convolve(x, 3, f"{prefix}_conv")
    levels = dict(sorted(levels.items()))
    last = max(levels)
    levels[2 * last] = keras.layers.MaxPooling2D(
        1, 2, padding="same", dtype=dtype, name="fpn_last"
    )(levels[last])
    return levels


@keras.saving.register_keras_serializable("keras_jft")
class Doubled(keras.layers.Layer):
    """Each feature twice in each direction, to the sides of a finer map."""

    def call(self, coarse, fine):
        """Return `(B, h, w, C)`.

        Args:
            coarse: `(B, ceil(h / 2), ceil(w / 2), C)`.
            fine: `(B, h, w, ...)`, only for h and w.
        """
        height, width = ops.shape(fine)[1:3]
        doubled = ops.repeat(ops.repeat(coarse, 2, axis=1), 2, axis=2)
        return doubled[:, :height, :width]

    def compute_output_shape(self, coarse_shape, fine_shape):
        """Return the shape of the result."""
        return (*fine_shape[:3], coarse_shape[-1])


class PyramidRegions(stages.Stage):
    """Crops the features of each proposal from the level for its size.

    Args:
        size: Side of a crop, in features.
        strides: Pixels between two features of each level, finest first.
        **kwargs: As for a Keras layer.
    """

    def __init__(self, size, strides, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.strides = tuple(strides)

    def call(self, levels, proposals, images):
        """Return the crops of all images, one image after another.

        Args:
            levels: List of L maps `(B, h, w, C)`, finest first.
            proposals: `(B, R, 4)` in pixels.
            images: `(B, H, W, 3)`, whose size, with padding, all levels span.

        Returns:
            `(B * R, size, size, C)`.
        """
        height, width = (ops.cast(x, "float32") for x in ops.shape(images)[1:3])
        limits = ops.stack([width, height, width, height])
        chosen = level_of(proposals, self.strides)
        return crop_levels(levels, proposals / limits, chosen, self.size)


def level_of(boxes, strides):
    """Return the index of the level that each box is cropped from.

    Lin et al. 2017, equation 1: k = floor(4 + log2(sqrt(w h) / 224)), no less
    than the finest level and no more than the coarsest. Here as comparisons,
    which no rounding of a logarithm can change.

    Args:
        boxes: `(..., 4)` in pixels.
        strides: Pixels between two features of each level, finest first, each
            twice the one before.

    Returns:
        `(...)` int32 in 0..L-1.

    Example:

    >>> boxes = np.array([[0, 0, 223, 224], [0, 0, 224, 224], [0, 0, 9, 9]])
    >>> ops.convert_to_numpy(level_of(boxes, (4, 8, 16, 32))).tolist()
    [1, 2, 0]
    """
    area = box_lib.area(ops.cast(boxes, "float32"))
    least = ops.array([(CELLS * s) ** 2 for s in strides[1:]], "float32")
    return ops.sum(ops.cast(area[..., None] >= least, "int32"), axis=-1)


def crop_levels(levels, boxes, chosen, size):
    """Return what `stages.crop` does, each box from one of several maps.

    Args:
        levels: List of L maps `(B, h, w, C)`.
        boxes: `(B, R, 4)` x1, y1, x2, y2 in 0..1 of the maps.
        chosen: `(B, R)` int32, the map of each box.
        size: Positions along each side of the grid, at least 2.

    Returns:
        `(B * R, size, size, C)`.
    """
    shapes = [ops.shape(features) for features in levels]
    batch, channels = shapes[0][0], shapes[0][3]
    heights, widths = (
        ops.stack([ops.cast(shape[i], "int32") for shape in shapes])
        for i in (1, 2)
    )
    # All maps of an image one after another: `(B, sum of h w, C)`.
    flat = ops.concatenate(
        [ops.reshape(x, (batch, -1, channels)) for x in levels], axis=1
    )
    ends = ops.cumsum(heights * widths)
    first = ops.arange(batch, dtype="int32")[:, None] * ends[-1]
    first = first + ops.take(ends - heights * widths, chosen)
    corners = stages.corners(
        ops.stop_gradient(ops.clip(boxes, 0.0, stages.INSIDE)),
        first,
        (ops.take(heights, chosen), ops.take(widths, chosen)),
        size,
    )
    flat = ops.reshape(flat, (-1, channels))
    crops = sum(
        share[..., None] * ops.take(flat, place, axis=0)
        for place, share in corners
    )
    return ops.reshape(crops, (-1, size, size, channels))
