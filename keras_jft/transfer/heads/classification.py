"""`Classifier`: one label an image."""

import keras

from keras_jft import training
from keras_jft.transfer.heads import head


@keras.saving.register_keras_serializable("keras_jft")
class Classifier(training.Model):
    """Pooled features of a backbone, then a softmax over classes.

    Targets are `labels` `(B,)`; the loss is the softmax cross entropy. Calling
    or predicting gives logits `(B, num_classes)` in float32.

    Args:
        backbone: A backbone, by the contract of `jft.backbones`.
        num_classes: Number of classes.
        name: Name of the model.

    References:
        Sun et al. 2017, section 5.1 (ImageNet, Table 1).
    """

    def __init__(self, backbone, num_classes, *, name="classifier", **kwargs):
        # === Layers ===
        pool = keras.layers.GlobalAveragePooling2D(
            dtype="float32", name="head_pool"
        )
        logits = keras.layers.Dense(
            num_classes, dtype="float32", name="head_logits"
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

    def default_loss(self):
        """The softmax cross entropy of integer labels."""
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def default_metrics(self):
        """The accuracy."""
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def get_config(self):
        """The constructor's arguments."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        """A model of the same arguments."""
        return cls(**keras.saving.deserialize_keras_object(config))


HEAD = head.Head(build=Classifier, task="classification")
