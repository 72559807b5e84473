"""`MultiLabelClassifier`: a backbone under one logit a label."""

import keras
import numpy as np

from keras_jft import training
from keras_jft.pretrain import losses


@keras.saving.register_keras_serializable("keras_jft")
class MultiLabelClassifier(training.Model):
    """Pooled features of a backbone, then one logit for each of many labels.

    Targets are padded label ids `(B, L)`; the loss is `MultiLabelLoss`.
    Calling or predicting gives logits `(B, num_classes)` in float32.

    Args:
        backbone: A backbone, by the contract of `jft.backbones`.
        num_classes: Number of labels.
        label_prior: Frequency of a label, a number or one a class, each
            strictly between 0 and 1: the bias starts at its logit, so that the
            first loss is that of the prior. None: the bias starts at 0, as the
            paper's does; small runs then fall below random initialization.
        name: Name of the model.

    Raises:
        ValueError: If `num_classes` or `label_prior` is out of range.

    References:
        Sun et al. 2017, section 4.1.
    """

    def __init__(
        self,
        backbone,
        num_classes,
        *,
        label_prior=None,
        name="multi_label_classifier",
        **kwargs,
    ):
        if num_classes < 1:
            raise ValueError(
                "`num_classes` must be at least 1. Received: "
                f"num_classes={num_classes}."
            )

        # === Layers ===
        pool = keras.layers.GlobalAveragePooling2D(
            dtype="float32", name="head_pool"
        )
        logits = keras.layers.Dense(
            num_classes,
            bias_initializer=_prior_bias(label_prior, num_classes),
            dtype="float32",
            name="head_logits",
        )

        # === Functional model ===
        super().__init__(
            inputs=backbone.input,
            outputs=logits(pool(backbone.output)),
            name=name,
            **kwargs,
        )

        # === Config ===
        self.backbone = backbone
        self.num_classes = num_classes
        self.label_prior = label_prior

    def default_loss(self):
        """`MultiLabelLoss`."""
        return losses.MultiLabelLoss()

    def get_config(self):
        """The constructor's arguments."""
        prior = self.label_prior
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "label_prior": (
                prior if np.ndim(prior) == 0 else np.asarray(prior).tolist()
            ),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        """A model of the same arguments."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _prior_bias(label_prior, num_classes):
    if label_prior is None:
        return "zeros"
    prior = np.asarray(label_prior, "float64")
    if prior.shape not in ((), (num_classes,)):
        raise ValueError(
            "`label_prior` must be a number or one number a class. Received "
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
