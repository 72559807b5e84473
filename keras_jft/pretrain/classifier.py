"""`MultiLabelClassifier`: a backbone with one logit per label."""

from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_jft import checks, layers, training
from keras_jft.backbones.backbone import pooled_features
from keras_jft.data.batch import PADDING
from keras_jft.pretrain import label_ids, losses
from keras_jft.typing import Arrays, Batch, Tensor


@keras.saving.register_keras_serializable("keras_jft")
class MultiLabelClassifier(training.Model):
    """Pooled features of a backbone, then one logit for each of many labels.

    Targets are label ids `(B, L)`, padded with -1, or `(B,)`; the loss is
    `MultiLabelLoss`. A batch may also hold `unknown_labels` `(B, U)`, padded
    ids of labels that an image may or may not have: neither the loss nor the
    metrics count them. Or it may hold `label_weights` `(B, L)`, as
    `jft.data.mixup` makes them; metrics treat all labels of such an image as
    present. Calling or predicting returns logits `(B, num_classes)` in float32.

    Args:
        backbone: A backbone that keeps the contract of `jft.backbones`.
        num_classes: Number of labels.
        shards: Number of kernels of the head. If above 1, the head is a
            `layers.ShardedDense`, which several parameter servers can share.
        label_prior: Frequency of a label, one number or one per class, each
            strictly between 0 and 1. The bias starts at its logit, so that the
            first loss is that of the prior. None: the bias starts at 0, as in
            the paper; backbones of small runs then transfer worse than random
            weights.
        name: Name of the model.

    Raises:
        ValueError: If `num_classes`, `shards` or `label_prior` is out of
            range.

    References:
        Sun et al. 2017, section 4.1.
    """

    _instead_of_class_weight = (
        "Give the loss `class_weights`, one number per class"
    )

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        *,
        shards: int = 1,
        label_prior: float | Arrays | None = None,
        name: str = "multi_label_classifier",
        **kwargs: Any,
    ):
        if num_classes < 1:
            raise ValueError(
                "`num_classes` must be at least 1. Received: "
                f"num_classes={num_classes}."
            )

        # === Layers ===
        head = {
            "bias_initializer": _prior_bias(label_prior, num_classes),
            "dtype": "float32",
            "name": "head_logits",
        }
        if shards == 1:
            logits = keras.layers.Dense(num_classes, **head)
        else:
            logits = layers.ShardedDense(num_classes, shards, **head)

        # === Functional model ===
        super().__init__(
            inputs=backbone.input,
            outputs=logits(pooled_features(backbone)),
            name=name,
            **kwargs,
        )

        # === Config ===
        self.backbone = backbone
        self.num_classes = num_classes
        self.shards = shards
        self.label_prior: Any = label_prior

    def targets(self, batch: Batch) -> Any:
        """Return label ids, the unknown ones encoded as in `label_ids`."""
        labels = self.in_one_rank(super().targets(batch))
        if isinstance(labels, np.ndarray):  # Before weights make them floats.
            self._check_ids(labels)
        if {"label_weights", "unknown_labels"} <= {*batch}:
            raise ValueError(
                "A batch may have `label_weights` or `unknown_labels`, not "
                "both. Leave out mixup, or the unknown labels."
            )
        if "label_weights" in batch:
            return label_ids.with_weights(labels, batch["label_weights"])
        if "unknown_labels" in batch:
            labels = label_ids.encode_unknown(labels, batch["unknown_labels"])
        return labels

    def check_targets(self, y: Any) -> None:
        """Raise a `ValueError` unless `y` holds labels as in `label_ids`."""
        if len(y.shape) not in (1, 2, 3):
            raise ValueError(
                "Labels must be ids, (batch, labels), padded with -1. "
                f"Received: shape {tuple(y.shape)}."
            )
        if len(y.shape) < 3:
            label_ids.check(y)
            if isinstance(y, np.ndarray):
                self._check_ids(y)

    def in_one_rank(self, y: Any) -> Any:
        """Return ids `(B,)` as `(B, 1)`."""
        return y[:, None] if len(np.shape(y)) == 1 else y

    def widened(self, y: Any) -> Any:
        """Return ids with one more column of -1, of weight 0."""
        pads = [(0, 0), (0, 1), (0, 0)][: np.ndim(y)]
        y = np.pad(y, pads, constant_values=PADDING)
        if y.ndim == 3:
            y[:, -1, 1] = 0
        return y

    def _check_ids(self, labels):
        checks.label_ids(labels, self.num_classes)
        # -1 is padding, and -2 - c: it is not known whether there is a c.
        lowest = -1 - self.num_classes
        wrong = labels[(labels < lowest) | (labels >= self.num_classes)]
        if wrong.size:
            raise ValueError(
                f"Labels must be in 0..{self.num_classes - 1}. Received "
                f"{wrong[0]}. Build the model with more `num_classes`"
                + ("." if self.num_classes > 1 else _ONE_COLUMN)
            )

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Tensor, sample_weight: Tensor = None
    ) -> dict[str, Tensor]:
        """Update the metrics, with unknown labels ranked below all others."""
        labels, _ = label_ids.split(y)
        if len(labels.shape) == 1:
            labels = labels[:, None]
        y_pred = label_ids.drop_unknown(labels, y_pred)
        return super().compute_metrics(
            x, ops.maximum(labels, -1), y_pred, sample_weight
        )

    def default_loss(self) -> Any:
        """Return `MultiLabelLoss`."""
        return losses.MultiLabelLoss()

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        prior = self.label_prior
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "shards": self.shards,
            "label_prior": (
                prior if np.ndim(prior) == 0 else np.asarray(prior).tolist()
            ),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a model with these arguments."""
        return cls(**keras.saving.deserialize_keras_object(config))


_ONE_COLUMN = (
    ". If 0 and 1 say whether an image has the one label, "
    "`jft.data.label_ids(Y)` gives their ids."
)


def _prior_bias(label_prior, num_classes):
    if label_prior is None:
        return "zeros"
    prior = np.asarray(label_prior, "float64")
    if prior.shape not in ((), (num_classes,)):
        raise ValueError(
            "`label_prior` must be a number or one number per class. Received "
            f"shape {prior.shape} for num_classes={num_classes}."
        )
    if not np.all((prior > 0) & (prior < 1)):
        raise ValueError(
            "`label_prior` must lie strictly between 0 and 1. Received values "
            f"from {prior.min()} to {prior.max()}. Smooth the counts, e.g. "
            "(count + 0.5) / (num_examples + 1)."
        )
    bias = np.log(prior) - np.log1p(-prior)
    return keras.initializers.Constant(
        np.broadcast_to(bias, (num_classes,)).astype("float32")
    )
