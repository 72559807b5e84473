"""Learning-rate schedules, from Keras's own classes."""

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
