"""The losses of both stages, averaged over the samples of an image.

Shapes: B batch, S samples, C classes with background.
"""

import keras
from keras import ops


def _smooth_l1(targets, codes):
    """Return half the square of errors below 1, and |error| - 0.5 above.

    Args:
        targets: `(..., 4)`.
        codes: `(..., 4)`.

    Returns:
        `(...)`, summed over the four numbers of a code.

    References:
        Girshick 2015, https://arxiv.org/abs/1504.08083, equation 3.

    Example:

    >>> float(_smooth_l1(np.zeros(4), np.array([0.0, 0.5, 1.0, -3.0])))
    3.125
    """
    errors = ops.abs(codes - targets)
    small = 0.5 * ops.square(errors)
    return ops.sum(ops.where(errors < 1, small, errors - 0.5), axis=-1)


def class_loss(classes, logits):
    """Return the softmax cross entropy, averaged over samples of an image.

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
    """Return the smooth L1 of objects, divided by the number of samples.

    Args:
        classes: `(B, S)`, as for `class_loss`.
        targets: `(B, S, 4)`; those of background do not count.
        codes: `(B, S, 4)`.

    Returns:
        `(B,)`; 0 where there are no samples.
    """
    # Not multiplied by zero: a code of background may be infinite.
    is_object = classes > 0
    targets = ops.where(is_object[..., None], targets, codes)
    losses = _smooth_l1(ops.stop_gradient(targets), codes)
    losses = ops.where(is_object, losses, 0.0)
    return ops.sum(losses, axis=-1) / _count(classes)


def _count(classes):
    """Return `(B,)` numbers of samples, at least 1."""
    return ops.maximum(ops.sum(ops.cast(classes >= 0, "float32"), axis=-1), 1.0)


class OfImages(keras.losses.Loss):
    """Losses of images, averaged as Keras averages any loss.

    Keras then applies `sample_weight` and averages over the replicas.
    """

    def __init__(self):
        super().__init__(dtype="float32")

    def call(self, y_true, y_pred):
        """Return `(B,)` losses as they are.

        Args:
            y_true: Not used.
            y_pred: `(B,)` losses.
        """
        return y_pred
