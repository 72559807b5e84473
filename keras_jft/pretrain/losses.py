"""Losses over many labels, computed from label ids.

A batch names its few labels a image by id; the dense `(B, C)` target is never
made. Pure functions, unreduced, in the order `(labels, logits)`.

Shapes: B batch, L label slots, C classes.
"""

import keras
from keras import ops


def sigmoid_cross_entropy(labels, logits):
    """Cross entropy of C independent binary labels, summed over the classes.

    With y the multi-hot form of `labels`, the sum over classes of
    `-y log p - (1 - y) log(1 - p)`, `p = sigmoid(logits)`, which is
    `sum(softplus(logits)) - sum(logits[labels])`.

    Args:
        labels: `(B, L)` integer label ids; -1 is padding and may stand
            anywhere; a repeated id counts once.
        logits: `(B, C)`.

    Returns:
        `(B,)` losses.

    Example:

    >>> labels, logits = np.array([[1, -1]]), np.zeros((1, 4), "float32")
    >>> loss = keras_jft.pretrain.sigmoid_cross_entropy(labels, logits)
    >>> print(round(float(loss[0] / np.log(2)), 4))
    4.0

    References:
        Sun et al. 2017, section 4.1 (one logistic loss a label).
    """
    labels = ops.convert_to_tensor(labels)
    counted = _first_of_each_id(labels)
    at_labels = ops.take_along_axis(logits, ops.maximum(labels, 0), axis=1)
    at_labels = ops.where(counted, at_labels, ops.zeros_like(at_labels))
    return ops.sum(ops.softplus(logits), axis=1) - ops.sum(at_labels, axis=1)


def _first_of_each_id(labels):
    """`(B, L)` bool: whether a slot holds an id that no earlier slot holds."""
    slots = ops.arange(ops.shape(labels)[1])
    same = labels[:, :, None] == labels[:, None, :]  # (B, L, L)
    earlier = slots[None, :] < slots[:, None]
    repeated = ops.any(ops.logical_and(same, earlier), axis=2)
    return ops.logical_and(labels >= 0, ops.logical_not(repeated))


@keras.saving.register_keras_serializable("keras_jft")
class MultiLabelLoss(keras.losses.Loss):
    """The sum over classes of the logistic loss, averaged over the batch.

    The paper does not state its reduction. The sum is what Google's own
    many-label code uses; a mean over 18,291 classes would starve RMSProp with
    epsilon 1 (its update is then nearly proportional to the gradient).

    Takes padded label ids `(B, L)` and logits `(B, C)`; always computes in
    float32, whatever the dtype policy: bfloat16 would turn id 18290 into 18304.

    Args:
        name: Name of the loss.
        reduction: As in Keras, over the batch.
    """

    def __init__(
        self, name="multi_label_loss", reduction="sum_over_batch_size"
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")

    def call(self, y_true, y_pred):
        """`(B,)` losses."""
        # Keras hands the ids over as float32, exact up to 2**24.
        return sigmoid_cross_entropy(ops.cast(y_true, "int32"), y_pred)

    def get_config(self):
        """The constructor's arguments."""
        return {"name": self.name, "reduction": self.reduction}
