"""Learning-rate schedules by name, from Keras's own classes."""

import keras


def warmup_cosine(peak, steps, warmup=0.1):
    """A linear warm-up to `peak`, then a cosine down to 0.

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


def staircase(peak, decay_steps, decay_rate):
    """`peak * decay_rate ** floor(step / decay_steps)`.

    Args:
        peak: The first learning rate.
        decay_steps: Steps of a stair.
        decay_rate: Factor of a stair.

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


def piecewise(peak, boundaries, decay_rate):
    """`peak`, multiplied by `decay_rate` at each boundary.

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
    # Keras leaves a rate after its boundary, not at it.
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [boundary - 1 for boundary in boundaries],
        [peak * decay_rate**i for i in range(len(boundaries) + 1)],
    )


def polynomial(peak, steps, power):
    """`peak * (1 - step / steps) ** power`.

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
