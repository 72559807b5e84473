"""Map predictions on transformed images back to the original images.

Shapes: B batch, H W side of an original image, h w logits, C classes, N boxes,
K keypoints.
"""

import numpy as np

from keras_jft.data.batch import PADDING
from keras_jft.data.transforms import geometry


def masks(logits, placements, image_sizes, stride):
    """Return the class of each pixel of the original images.

    Logits are interpolated linearly at the positions of the original pixels;
    beyond the outermost logits, the nearest ones count.

    Args:
        logits: `(B, h, w, C)`.
        placements: `(B, 2, 2)`, see `jft.data.transforms.geometry`.
        image_sizes: B pairs `(H, W)` of the originals.
        stride: Distance of two logits in pixels of the transformed image; the
            first logit is at pixel (0, 0).

    Returns:
        A list of B int32 masks `(H, W)`.
    """
    return [
        _upsample(image, placement, size, stride).argmax(-1).astype("int32")
        for image, placement, size in zip(
            logits, placements, image_sizes, strict=True
        )
    ]


def boxes(predictions, placements, image_sizes):
    """Return predicted boxes in pixels of the originals, clipped to them.

    Args:
        predictions: `{"boxes": (B, N, 4) xyxy, "scores", "labels"}`; rows with
            label -1 are padding.
        placements: `(B, 2, 2)`.
        image_sizes: B pairs `(H, W)` of the originals.

    Returns:
        The dict with the boxes mapped back; boxes of padding rows are -1.
    """
    found = np.asarray(predictions["boxes"])
    corners = found.reshape(*found.shape[:2], 2, 2)
    corners = geometry.move_back(corners, placements[:, None, None])
    # Sort, since a mirrored box has its larger x first.
    corners = np.sort(corners, axis=2)
    limits = np.asarray(image_sizes)[:, None, None, ::-1]
    moved = np.clip(corners, 0, limits).reshape(found.shape)
    is_box = np.asarray(predictions["labels"]) != PADDING
    moved = np.where(is_box[..., None], moved, PADDING).astype("float32")
    return {**predictions, "boxes": moved}


def keypoints(predictions, placements):
    """Return predicted keypoints in pixels of the originals, not clipped.

    Args:
        predictions: `{"keypoints": (B, K, 3), "scores": (B,)}`; x, y and a
            third number, which stays the same.
        placements: `(B, 2, 2)`.

    Returns:
        The dict with the keypoints mapped back.
    """
    found = np.asarray(predictions["keypoints"])
    places = geometry.move_back(found[..., :2], placements[:, None])
    moved = np.concatenate([places, found[..., 2:]], axis=-1)
    return {**predictions, "keypoints": moved.astype("float32")}


def _upsample(logits, placement, image_size, stride):
    """Return `(H, W, C)` logits for the pixels of one original."""
    (scale_x, scale_y), (shift_x, shift_y) = placement
    rows, columns = (
        _interpolation((np.arange(side) + 0.5) * scale + shift, size, stride)
        for side, scale, shift, size in (
            (image_size[0], scale_y, shift_y, logits.shape[0]),
            (image_size[1], scale_x, shift_x, logits.shape[1]),
        )
    )
    height, width = image_size
    channels = logits.shape[-1]
    # Two matrix products, columns first: (h, W, C), then (H, W, C).
    wide = np.matmul(columns, logits).reshape(len(logits), width * channels)
    return (rows @ wide).reshape(height, width, channels)


def _interpolation(positions, size, stride):
    """Return `(pixels, size)` weights of the logits at each position.

    Positions are in pixels of the transformed image.
    """
    # Logit i is at the center of pixel `stride * i`.
    at = np.clip((positions - 0.5) / stride, 0, size - 1)
    distance = abs(at[:, None] - np.arange(size))
    return np.maximum(1 - distance, 0).astype("float32")
