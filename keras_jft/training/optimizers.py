"""Optimizers by name, and the one of the paper where Keras's own differs."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_jft")
class TF1RMSprop(keras.optimizers.RMSprop):
    """RMSProp whose mean squares start at one, as TensorFlow 1 has it.

    Keras starts them at zero, which makes the first steps `1 / sqrt(1 - rho)`
    times as long. With `epsilon=1.0` (TF-Slim's default of 2017) both the
    start and the epsilon shape the run. All other arguments are those of
    `keras.optimizers.RMSprop`.

    References:
        TensorFlow 1, `python/training/rmsprop.py`, `_create_slots`.
    """

    def build(self, var_list):
        """Creates the slots."""
        if self.built:
            return
        super().build(var_list)
        for mean_square in self._velocities:
            if mean_square is not None:
                mean_square.assign(ops.ones(mean_square.shape))


@keras.saving.register_keras_serializable("keras_jft")
class AdamW(keras.optimizers.AdamW):
    """AdamW whose decay spares biases and batch normalization.

    Keras's own forgets what it should spare when it is saved. All arguments
    are those of `keras.optimizers.AdamW`.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])


# Name: the optimizer of an `Optimization`, with a learning rate or schedule.
OPTIMIZERS = {
    "momentum": lambda config, rate: keras.optimizers.SGD(
        rate, momentum=config.momentum, clipnorm=config.clipnorm
    ),
    "rmsprop": lambda config, rate: TF1RMSprop(
        rate,
        rho=0.9,
        momentum=config.momentum,
        epsilon=config.epsilon,
        clipnorm=config.clipnorm,
    ),
    "adamw": lambda config, rate: AdamW(
        rate, weight_decay=config.weight_decay, clipnorm=config.clipnorm
    ),
}
