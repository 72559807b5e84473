"""The losses of both stages: of each sample, then of each image.

Shapes: B batch, S samples, C classes with background.
"""

import keras
from keras import ops


def smooth_l1(targets, codes):
    """Half the square of small errors, the size of large ones, less a half.

    Args:
        targets: `(..., 4)`.
        codes: `(..., 4)`.

    Returns:
        `(...)`, summed over the four.

    References:
        Girshick 2015, https://arxiv.org/abs/1504.08083, equation 3.

    Example:

    >>> float(smooth_l1(np.zeros(4), np.array([0.0, 0.5, 1.0, -3.0])))
    3.125
    """
    errors = ops.abs(codes - targets)
    small = 0.5 * ops.square(errors)
    return ops.sum(ops.where(errors < 1, small, errors - 0.5), axis=-1)


def class_loss(classes, logits):
    """The softmax cross entropy, averaged over the samples of an image.

    Args:
        classes: `(B, S)` integers, 0 is background; negative: no sample.
        logits: `(B, S, C)`.

    Returns:
        `(B,)`; 0 where there are no samples.
    """
    losses = ops.sparse_categorical_crossentropy(
        ops.maximum(classes, 0), logits, from_logits=True
    )
    is_sample = ops.cast(classes >= 0, losses.dtype)
    return ops.sum(losses * is_sample, axis=-1) / _count(classes)


def box_loss(classes, targets, codes):
    """`smooth_l1` of the objects, over the number of samples of an image.

    Args:
        classes: `(B, S)` as for `class_loss`.
        targets: `(B, S, 4)`; those of background do not count.
        codes: `(B, S, 4)`.

    Returns:
        `(B,)`; 0 where there are no samples.
    """
    # Not times zero: a code of background may be infinite.
    is_object = classes > 0
    targets = ops.where(is_object[..., None], targets, codes)
    losses = smooth_l1(ops.stop_gradient(targets), codes)
    losses = ops.where(is_object, losses, 0.0)
    return ops.sum(losses, axis=-1) / _count(classes)


def _count(classes):
    return ops.maximum(ops.sum(ops.cast(classes >= 0, "float32"), axis=-1), 1.0)


class OfImages(keras.losses.Loss):
    """Losses of images, averaged as Keras averages any loss.

    That is by the weights of the images, and over the replicas.
    """

    def __init__(self):
        super().__init__(dtype="float32")

    def call(self, y_true, y_pred):
        """`(B,)` losses as they are.

        Args:
            y_true: Not used.
            y_pred: `(B,)` losses.
        """
        return y_pred
