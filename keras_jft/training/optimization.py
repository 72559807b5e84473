"""How a run is driven: optimizer, learning rate, decay, batch and length."""

import dataclasses
import math

import keras
from keras import ops

from keras_jft import checks
from keras_jft.training.optimizers import OPTIMIZERS
from keras_jft.training.resuming import is_passing_over
from keras_jft.training.schedules import SCHEDULES, TO_THE_END


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimization:
    """How a run is driven; the configs of the stages begin with it.

    Attributes:
        optimizer: A name in `OPTIMIZERS`.
        momentum: Of `"momentum"` and `"rmsprop"`.
        epsilon: Of RMSProp, inside the root.
        weight_decay: Of AdamW: decoupled, and not of biases and batch
            normalization.
        clipnorm: The largest norm of the gradient of one variable; None does
            not clip.
        schedule: A name in `SCHEDULES`.
        learning_rate: The peak.
        base_batch_size: The batch size that `learning_rate` is meant for: it
            grows in proportion to `batch_size`. None takes it as it is.
        warmup: Fraction of the steps over which `"cosine"` warms up.
        decay_steps: Steps of a stair of `"staircase"`.
        decay_rate: Factor of a stair or at a boundary.
        boundaries: Steps at which `"piecewise"` falls.
        power: Exponent of `"polynomial"`.
        l2: `l2 * kernel` is added to the gradient of each kernel.
        batch_size: Images a step, over all replicas.
        epochs: Passes over the data; None where `steps` are given.
        steps: Optimizer steps; None where `epochs` are given.

    Raises:
        ValueError: If a name is unknown, a number out of range, or not exactly
            one of `epochs` and `steps` is given.
    """

    optimizer: str = "momentum"
    momentum: float = 0.9
    epsilon: float = 1e-7
    weight_decay: float = 0.0
    clipnorm: float | None = None
    schedule: str = "cosine"
    learning_rate: float = 0.02
    base_batch_size: int | None = None
    warmup: float = 0.1
    decay_steps: int = 3_000_000
    decay_rate: float = 0.9
    boundaries: tuple[int, ...] = ()
    power: float = 0.9
    l2: float = 0.0
    batch_size: int = 64
    epochs: int | None = 4
    steps: int | None = None

    def __post_init__(self):
        checks.fields(self)
        checks.one_of("optimizer", self.optimizer, OPTIMIZERS)
        checks.one_of("schedule", self.schedule, SCHEDULES)
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(
                "Exactly one of `epochs` and `steps` must be given. Received: "
                f"epochs={self.epochs}, steps={self.steps}. Set the other to "
                "None."
            )
        lengths = "batch_size", "epochs", "steps", "base_batch_size"
        checks.within(self, 1, math.inf, *lengths, "decay_steps")
        decays = "learning_rate", "l2", "weight_decay", "epsilon"
        checks.within(self, 0, math.inf, *decays)
        checks.within(
            self, 0, math.inf, "clipnorm", "decay_rate", "power", above=True
        )
        checks.within(self, 0, 1, "momentum")
        if not 0 <= self.warmup < 1:
            raise ValueError(
                f"`warmup` must lie in [0, 1). Received: warmup={self.warmup}."
            )
        if list(self.boundaries) != sorted({0, *self.boundaries})[1:]:
            raise ValueError(
                "`boundaries` must be steps, positive and rising. Received: "
                f"boundaries={self.boundaries}."
            )
        if self.schedule == "piecewise" and not self.boundaries:
            raise ValueError(
                'The schedule "piecewise" needs `boundaries`, the steps at '
                "which the rate falls. Received: boundaries=()."
            )

    @property
    def peak(self):
        """The largest learning rate, scaled with the batch."""
        scale = self.batch_size / (self.base_batch_size or self.batch_size)
        return self.learning_rate * scale

    def build_optimizer(self, steps=None):
        """A fresh Keras optimizer with its schedule.

        Args:
            steps: Steps of the whole run, where the config counts epochs.

        Returns:
            A `keras.optimizers.Optimizer`.

        Raises:
            ValueError: If the schedule needs the number of steps and neither
                the config nor the call gives it.
        """
        steps = self.steps or steps
        if self.schedule in TO_THE_END and steps is None:
            raise ValueError(
                f"The schedule {self.schedule!r} needs `steps`, the steps of "
                "the whole run. Received: steps=None."
            )
        rate = SCHEDULES[self.schedule](self, self.peak, steps)
        return OPTIMIZERS[self.optimizer](self, rate)


def fit(model, batches, config, callbacks=(), **options):
    """Fits for the epochs or the steps of a config.

    Args:
        model: A compiled `Model`.
        batches: A data set of batches that knows its length.
        config: An `Optimization`.
        callbacks: As in `keras.Model.fit`.
        **options: As in `keras.Model.fit`.

    Returns:
        Keras's `History`.
    """
    callbacks = list(callbacks)
    epochs = config.epochs
    if config.steps is not None:
        epochs = -(-config.steps // len(batches))
        callbacks.append(_StopAfter(config.steps))
    return model.fit(batches, epochs=epochs, callbacks=callbacks, **options)


class _StopAfter(keras.callbacks.Callback):
    """Stops `fit` when the optimizer has taken so many steps in all."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_epoch_begin(self, epoch, logs=None):
        iterations = self.model.optimizer.iterations
        self._before = int(ops.convert_to_numpy(iterations))
        self._passed = 0  # Steps of this epoch that a run before has done.

    def on_train_batch_end(self, batch, logs=None):
        if is_passing_over(self.model):
            self._passed = batch + 1
        elif self._before - self._passed + batch + 1 >= self.steps:
            self.model.stop_training = True
