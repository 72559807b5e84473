"""Losses of heat maps and offsets, at the pixels of the crop.

The outputs are upsampled to the crop. The logistic loss of a heat map is the
softplus of the logit, summed over all pixels, minus the logit, summed over the
disk around the keypoint. The first sum needs no target, the second only a
window around the keypoint.

Shapes: B crops, P people, K keypoints, H W crop side, h w feature side, S
window side.

References:
    Papandreou et al. 2017, "Towards Accurate Multi-person Pose Estimation in
    the Wild", https://arxiv.org/abs/1701.01779, section 3.2.1.
"""

import math

import keras
from keras import ops

from keras_jft.transfer.heads.pose import targets
from keras_jft.transfer.heads.upsampling import interpolation, upsample_planes


def keypoint_losses(people, outputs, size, stride, radius):
    """Return the three losses of each keypoint, summed over the crop.

    Args:
        people: `(B, P, K, 3)` keypoints, x, y in pixels and visibility: first
            those of the person whose crop it is, then those of others.
            Keypoints that are not labeled are 0, 0, 0.
        outputs: `(B, h, w, 4K)`: K heat-map logits, K times the offset to
            the keypoint in x and y, K auxiliary heat-map logits.
        size: `(H, W)` of the crop.
        stride: Pixels between two outputs.
        radius: Radius of the disks, in pixels.

    Returns:
        Three `(B, K)` losses, 0 for keypoints that are not labeled: the
        logistic loss of the heat maps, over all pixels; the Huber loss of the
        length of the offsets' error, over the person's disks; and the logistic
        loss of the auxiliary heat maps, over all pixels but the disks of
        others.
    """
    count = people.shape[2]
    heat, auxiliary = outputs[..., :count], outputs[..., 3 * count :]
    labeled = ops.cast(people[:, 0, :, 2] > 0, "float32")
    # Without this, XLA's maximum and comparisons hide a nan in keypoints.
    is_finite = ops.all(ops.isfinite(people[:, 0]), axis=-1)
    labeled = ops.where(is_finite, labeled, math.nan)
    window = targets.windows(people[:, 0], size, radius)
    in_window = _in_windows(outputs, window, stride)  # (B, K, 4, S, S)

    # The first part of the logistic losses: softplus at every pixel.
    heat = ops.softplus(upsample_planes(heat, size, stride))
    auxiliary = ops.softplus(upsample_planes(auxiliary, size, stride))
    if people.shape[1] != 1:
        others = targets.background(people, size, radius)
        auxiliary = ops.where(others, 0.0, auxiliary)
    # The second part: minus the logits in the disks.
    heat, auxiliary = (
        labeled * ops.sum(dense, axis=(2, 3))
        - ops.sum(window.disks * logits, axis=(2, 3))
        for dense, logits in (
            (heat, in_window[:, :, 0]),
            (auxiliary, in_window[:, :, 3]),
        )
    )
    # Offsets: Huber loss of the length of the error, in the disks.
    squared = (in_window[:, :, 1] - window.across) ** 2
    squared = squared + (in_window[:, :, 2] - window.down) ** 2
    offsets = ops.sum(window.disks * huber_of_norm(squared), axis=(2, 3))
    return heat, offsets, auxiliary


def huber_of_norm(squared):
    """Return the Huber loss, with delta 1, of lengths given as squares.

    Its slope is finite at 0, unlike that of a square root.

    Args:
        squared: Squares of lengths, any shape.

    Returns:
        Losses in the shape of `squared`.

    Example:

    >>> lengths = np.array([0.0, 0.5, 1.0, 3.0])
    >>> losses = huber_of_norm(ops.convert_to_tensor(lengths**2))
    >>> ops.convert_to_numpy(losses).tolist()
    [0.0, 0.125, 0.5, 2.5]
    """
    beyond = ops.sqrt(ops.maximum(squared, 1.0)) - 0.5
    return ops.where(squared < 1.0, 0.5 * squared, beyond)


def _in_windows(outputs, window, stride):
    """Return upsampled heat, offset x, offset y, auxiliary heat in windows.

    As `(B, K, 4, S, S)`.
    """
    h, w, channels = outputs.shape[1:]
    count = channels // 4
    side = window.rows.shape[-1]
    offsets = ops.reshape(outputs[..., count : 3 * count], (-1, h, w, count, 2))
    heat, auxiliary = (
        outputs[..., first : first + count, None] for first in (0, 3 * count)
    )
    maps = ops.concatenate([heat, offsets, auxiliary], axis=-1)
    maps = ops.transpose(maps, (0, 3, 1, 4, 2))  # (B, K, h, 4, w)
    maps = ops.reshape(maps, (-1, count, h, 4 * w))
    rows = interpolation(window.rows, h, stride)  # (B, K, S, h)
    columns = interpolation(window.columns, w, stride)
    maps = ops.reshape(rows @ maps, (-1, count, side * 4, w))
    maps = maps @ ops.transpose(columns, (0, 1, 3, 2))
    maps = ops.reshape(maps, (-1, count, side, 4, side))
    return ops.transpose(maps, (0, 1, 3, 2, 4))


@keras.saving.register_keras_serializable("keras_jft")
class PoseLoss(keras.losses.Loss):
    """The weighted sum of a crop's `keypoint_losses`, over the area of a disk.

    The paper sums over pixels and keypoints. Divided by the constant
    `pi * radius**2`, sums do not grow with the crop and the radius, so that one
    learning rate, the paper's, works for all sizes.

    Args:
        image_size: `(H, W)` of the crop.
        stride: Pixels between two outputs.
        radius: Radius of the disks, in pixels.
        weights: Factor of the heat maps, main and auxiliary, and of offsets.
        name: Name of the loss.
    """

    def __init__(
        self, image_size, stride, radius, weights=(4.0, 1.0), name="pose_loss"
    ):
        super().__init__(name=name, dtype="float32")
        self.image_size = tuple(image_size)
        self.stride = stride
        self.radius = radius
        self.weights = tuple(weights)

    def call(self, y_true, y_pred):
        """Return `(B,)` losses of people `(B, P, K, 3)`."""
        heat, offsets, auxiliary = keypoint_losses(
            y_true, y_pred, self.image_size, self.stride, self.radius
        )
        of_heat, of_offsets = self.weights
        total = of_heat * (heat + auxiliary) + of_offsets * offsets
        return ops.sum(total, axis=1) / (math.pi * self.radius**2)

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            "image_size": list(self.image_size),
            "stride": self.stride,
            "radius": self.radius,
            "weights": list(self.weights),
            "name": self.name,
        }
