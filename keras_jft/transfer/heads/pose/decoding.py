"""Hough voting: heat maps and offsets to keypoints.

Every pixel casts a vote, as strong as its heat, for the place that its offset
points to. The four pixels around that place share the vote.

Shapes: B crops, K keypoints, H W crop side, h w feature side.

References:
    Papandreou et al. 2017, https://arxiv.org/abs/1701.01779, section 3.2.2.
"""

import math

from keras import ops

from keras_jft.transfer.heads.upsampling import upsample_planes


def maps(outputs, size, stride):
    """Return heat maps and offsets at every pixel of the crop.

    Args:
        outputs: `(B, h, w, 4K)`, as `PoseEstimator` returns them.
        size: `(H, W)`, integers.
        stride: Pixels between two outputs.

    Returns:
        `(B, K, H, W)` heat in 0..1, and `(B, K, 2, H, W)` offsets to the
        keypoint in x and y, in pixels.
    """
    count = outputs.shape[-1] // 4
    planes = upsample_planes(outputs[..., : 3 * count], size, stride)
    offsets = ops.reshape(planes[:, count:], (-1, count, 2, *size))
    return ops.sigmoid(planes[:, :count]), offsets


def vote(heat, offsets, radius):
    """Return the score of each pixel as the place of a keypoint (Equation 1).

    Args:
        heat: `(B, K, H, W)` in 0..1.
        offsets: `(B, K, 2, H, W)` x, y in pixels.
        radius: Radius in pixels of the disks that the heat maps were trained
            on. A place for which a whole disk votes scores about 1.

    Returns:
        `(B, K, H, W)` scores. Votes for places outside of the crop do not
        count.
    """
    _, count, height, width = heat.shape
    pixels = height * width
    # Where each pixel's vote goes, and how its four neighbors share it.
    x = offsets[:, :, 0] + ops.cast(ops.arange(width), heat.dtype)
    y = offsets[:, :, 1] + ops.cast(ops.arange(height), heat.dtype)[:, None]
    left, top = ops.floor(x), ops.floor(y)
    right_share, lower_share = x - left, y - top
    # All votes, with the flat index of the pixel that each one is for.
    planes = ops.shape(heat)[0] * count
    first = ops.reshape(
        ops.arange(planes, dtype="int32") * pixels, (-1, count, 1, 1)
    )
    places, votes = [], []
    for row, row_share in ((top, 1 - lower_share), (top + 1, lower_share)):
        for column, share in (
            (left, 1 - right_share),
            (left + 1, right_share),
        ):
            inside = (row >= 0) & (row < height)
            inside = inside & (column >= 0) & (column < width)
            place = ops.where(inside, row * width + column, 0.0)
            places.append(first + ops.cast(place, "int32"))
            votes.append(ops.where(inside, heat * row_share * share, 0.0))
    scores = ops.segment_sum(
        ops.reshape(ops.stack(votes), (-1,)),
        ops.reshape(ops.stack(places), (-1,)),
        num_segments=planes * pixels,
    )
    scores = ops.reshape(scores, (-1, count, height, width))
    return scores / (math.pi * radius**2)


def best(scores):
    """Return the best place of each keypoint, and the score of each pose.

    Args:
        scores: `(B, K, H, W)`.

    Returns:
        `{"keypoints": (B, K, 3), "scores": (B,)}`: x and y in pixels and the
        score there; and the mean of those scores, Equation 4.
    """
    _, count, height, width = scores.shape
    flat = ops.reshape(scores, (-1, count, height * width))
    place = ops.argmax(flat, axis=-1)
    # The center of a pixel is half a pixel from its corner.
    x, y = (
        ops.cast(axis, "float32") + 0.5
        for axis in (place % width, place // width)
    )
    highest = ops.max(flat, axis=-1)
    return {
        "keypoints": ops.stack([x, y, highest], axis=-1),
        "scores": ops.mean(highest, axis=-1),
    }
