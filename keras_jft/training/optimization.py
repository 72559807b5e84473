"""Optimizer, learning rate, decay, batch size and length of a run.

Optimizers and learning-rate schedules are listed by name in two tables; most
are Keras's own.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_jft import checks
from keras_jft.training import keras_internals
from keras_jft.training.callbacks import StepCounter


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimization:
    """How a run is optimized; the configs of the stages extend it.

    Attributes:
        optimizer: A name in `OPTIMIZERS`.
        momentum: Momentum of `"momentum"` and `"rmsprop"`.
        epsilon: Added to the mean square of RMSProp, inside the root.
        weight_decay: Decoupled decay of AdamW, except of biases and batch
            normalization.
        clipnorm: The largest norm of the gradient of one variable; None: no
            clipping.
        schedule: A name in `SCHEDULES`.
        learning_rate: The peak.
        base_batch_size: The batch size that `learning_rate` is meant for; the
            rate is scaled by `batch_size / base_batch_size`. None: no scaling.
        warmup: Fraction of the steps over which `"cosine"` warms up.
        decay_steps: Steps per stair of `"staircase"`.
        decay_rate: Factor from one stair to the next, or at a boundary.
        boundaries: Steps at which `"piecewise"` falls.
        power: Exponent of `"polynomial"`.
        l2: `l2 * kernel` is added to the gradient of each kernel.
        batch_size: Images per step, over all replicas.
        epochs: Passes over the data; None if `steps` are given.
        steps: Optimizer steps; None if `epochs` are given.

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

    def __post_init__(self) -> None:
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
        checks.fraction("warmup", self.warmup)
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
    def peak(self) -> float:
        """Largest learning rate, scaled with the batch size."""
        scale = self.batch_size / (self.base_batch_size or self.batch_size)
        return self.learning_rate * scale

    def build_optimizer(
        self, steps: int | None = None
    ) -> keras.optimizers.Optimizer:
        """Build a fresh Keras optimizer with its schedule.

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


def fit(
    model: keras.Model,
    batches: Any,
    config: Optimization,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **options: Any,
) -> keras.callbacks.History:
    """Fit for the epochs or the steps of a config.

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


class _StopAfter(StepCounter):
    """Stops `fit` when the optimizer has taken a number of steps in all."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_step(self, step, logs):
        if step >= self.steps:
            self.model.stop_training = True


@keras.saving.register_keras_serializable("keras_jft")
class TF1RMSprop(keras.optimizers.RMSprop):
    """RMSProp whose mean squares start at one, as in TensorFlow 1.

    In Keras they start at zero, which makes the first steps
    `1 / sqrt(1 - rho)` times as long. With `epsilon=1.0` (TF-Slim's default of
    2017), both the start and the epsilon matter. The arguments are those of
    `keras.optimizers.RMSprop`.

    References:
        TensorFlow 1, `python/training/rmsprop.py`, `_create_slots`.
    """

    def build(self, var_list: list[keras.Variable]) -> None:
        """Create the slots."""
        if self.built:
            return
        super().build(var_list)
        for mean_square in keras_internals.mean_squares(self):
            if mean_square is not None:
                mean_square.assign(ops.ones(mean_square.shape))


@keras.saving.register_keras_serializable("keras_jft")
class AdamW(keras.optimizers.AdamW):
    """AdamW without decay of biases and batch normalization.

    Keras's own AdamW does not save which variables it excludes. The arguments
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


def warmup_cosine(
    peak: float, steps: int, warmup: float = 0.1
) -> keras.optimizers.schedules.CosineDecay:
    """Return a linear warm-up to `peak`, then a cosine down to 0.

    Args:
        peak: The largest learning rate.
        steps: Steps of the whole run.
        warmup: Fraction of the steps that warm up.

    Returns:
        A `keras.optimizers.schedules.CosineDecay`.

    Example:

    >>> schedule = keras_jft.training.warmup_cosine(0.4, steps=100)
    >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 55, 100)]
    [0.0, 0.2, 0.4, 0.2, 0.0]
    """
    warmup_steps = round(warmup * steps)
    if warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(peak, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        steps - warmup_steps,
        warmup_target=peak,
        warmup_steps=warmup_steps,
    )


def staircase(
    peak: float, decay_steps: int, decay_rate: float
) -> keras.optimizers.schedules.ExponentialDecay:
    """Return `peak * decay_rate ** floor(step / decay_steps)`.

    Args:
        peak: The first learning rate.
        decay_steps: Steps per stair.
        decay_rate: Factor from one stair to the next.

    Returns:
        A `keras.optimizers.schedules.ExponentialDecay`.

    Example:

    >>> schedule = keras_jft.training.staircase(1e-3, 3_000_000, 0.9)
    >>> print(f"{float(schedule(36_000_000)):.4e}")
    2.8243e-04
    """
    return keras.optimizers.schedules.ExponentialDecay(
        peak, decay_steps, decay_rate, staircase=True
    )


def piecewise(
    peak: float, boundaries: Sequence[int], decay_rate: float
) -> keras.optimizers.schedules.PiecewiseConstantDecay:
    """Return `peak`, multiplied by `decay_rate` at each boundary.

    Args:
        peak: The first learning rate.
        boundaries: Steps at which the rate falls, rising.
        decay_rate: Factor at a boundary.

    Returns:
        A `keras.optimizers.schedules.PiecewiseConstantDecay`.

    Example:

    >>> schedule = keras_jft.training.piecewise(0.5, (10, 20), 0.1)
    >>> [round(float(schedule(step)), 4) for step in (9, 10, 19, 20)]
    [0.5, 0.05, 0.05, 0.005]
    """
    # In Keras, a rate still applies at its boundary.
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [boundary - 1 for boundary in boundaries],
        [peak * decay_rate**i for i in range(len(boundaries) + 1)],
    )


def polynomial(
    peak: float, steps: int, power: float
) -> keras.optimizers.schedules.PolynomialDecay:
    """Return `peak * (1 - step / steps) ** power`.

    Args:
        peak: The first learning rate.
        steps: Steps of the whole run.
        power: Exponent; 1 is a line.

    Returns:
        A `keras.optimizers.schedules.PolynomialDecay`.

    Example:

    >>> schedule = keras_jft.training.polynomial(1e-3, 30_000, 0.9)
    >>> print(f"{float(schedule(15_000)):.4e}")
    5.3589e-04
    """
    return keras.optimizers.schedules.PolynomialDecay(
        peak, steps, end_learning_rate=0.0, power=power
    )


# Name: the schedule of an `Optimization`; `steps` are those of the whole run.
SCHEDULES = {
    "constant": lambda config, peak, steps: peak,
    "staircase": lambda config, peak, steps: staircase(
        peak, config.decay_steps, config.decay_rate
    ),
    "piecewise": lambda config, peak, steps: piecewise(
        peak, config.boundaries, config.decay_rate
    ),
    "polynomial": lambda config, peak, steps: polynomial(
        peak, steps, config.power
    ),
    "cosine": lambda config, peak, steps: warmup_cosine(
        peak, steps, config.warmup
    ),
}
# These need the steps of the whole run.
TO_THE_END = ("polynomial", "cosine")
