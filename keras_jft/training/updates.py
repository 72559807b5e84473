"""L2 on kernels and learning rates by layer, for any Keras optimizer.

Both act when the optimizer updates a variable, after gradients have been summed
over replicas. So the decay does not depend on the number of replicas, and a
multiplier also scales the steps of adaptive optimizers.
"""

import math
from collections.abc import Mapping
from typing import Any

from keras_jft.training import keras_internals

LAYERWISE = "layerwise:"


def check_multipliers(multipliers: Any) -> None:
    """Raise `ValueError` unless `multipliers` are what `adjust` takes.

    Args:
        multipliers: A mapping of factors, or `"layerwise:"` and a number.

    Example:

    >>> check_multipliers("layerwise:0.75")
    >>> check_multipliers({"head": 10.0})
    """
    if isinstance(multipliers, Mapping):
        factors, lowest = list(multipliers.values()), 0.0
    else:
        factors, lowest = [_decay(multipliers)], math.ulp(0)
    if not all(isinstance(x, (int, float)) and x >= lowest for x in factors):
        raise ValueError(
            "`multipliers` must be factors of 0 or more by layer, or "
            '"layerwise:0.75", the factor from each stage to the one before. '
            f"Received: multipliers={multipliers!r}."
        )


def adjust(model, l2=0.0, multipliers=None):
    """Make the optimizer of `model` decay kernels and scale learning rates.

    Args:
        model: A model after `keras.Model.compile`.
        l2: `l2 * kernel` is added to the gradient of each kernel.
        multipliers: `{"layer" or "layer/variable": factor}`, where `layer` is
            the start of the names of layers; or `"layerwise:0.75"`, by which
            the last stage of `model.backbone` learns at 0.75 of the head's
            rate, the one before at 0.75 of that, and so on.

    Raises:
        ValueError: If `l2` is negative, a multiplier matches no variable, or
            the model has no backbone whose stages are known.
    """
    check_multipliers(multipliers or {})
    if l2 < 0:
        raise ValueError(f"`l2` must not be negative. Received: l2={l2}.")
    factor_of = _factors(model, multipliers or {})
    # A loss-scaling optimizer has the one that updates inside.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    strategy = keras_internals.strategy_of(model)
    keras_internals.exchange_gradients(optimizer, strategy)
    vars(optimizer).pop("update_step", None)  # That of an earlier `compile`.
    if not l2 and not multipliers:
        return
    update_step = optimizer.update_step

    def adjusted_update_step(gradient, variable, learning_rate):
        known = keras_internals.variable_of(optimizer, variable)
        if l2 and _is_kernel(known):
            gradient = gradient + l2 * variable
        rate = learning_rate * factor_of(known)
        return update_step(gradient, variable, rate)

    optimizer.update_step = adjusted_update_step


def _is_kernel(variable):
    # "kernel_3" of a sharded head, "depthwise_kernel" of a separable layer.
    return "kernel" in variable.name


def _decay(text):
    """Return the number in "layerwise:0.75"; None if it is none."""
    start, _, number = str(text).partition(LAYERWISE)
    try:
        return None if start else float(number)
    except ValueError:
        return None


def _factors(model, multipliers):
    """Return a function that gives the factor of a variable."""
    if isinstance(multipliers, str):
        by_id = _by_stage(model, _decay(multipliers))
        return lambda variable: by_id.get(id(variable), 1.0)
    for key in multipliers:
        if not any(_matches(key, v) for v in model.variables):
            raise ValueError(
                f"`multipliers` names {key!r}, which starts no layer's name. "
                f"Layers: {[layer.name for layer in model.layers]}."
            )
    return lambda variable: _factor(multipliers, variable)


def _by_stage(model, decay):
    """Return `{id of a variable: factor}` of the backbone of a model.

    As in Clark et al. 2020, https://arxiv.org/abs/2003.10555, section 3.1, by
    stages in place of layers.
    """
    backbone = getattr(model, "backbone", None)
    if not hasattr(backbone, "layers_by_stage"):
        raise ValueError(
            f"`multipliers` by stage need a model with a backbone of "
            f"`jft.backbones`. Received: {model.name!r}, whose backbone is "
            f"{backbone!r}."
        )
    stages = [*backbone.layers_by_stage().values()]
    return {
        id(variable): decay**steps
        for steps, layers in enumerate(reversed(stages), start=1)
        for layer in layers
        for variable in layer.weights
    }


def _factor(multipliers, variable):
    keys = [key for key in multipliers if _matches(key, variable)]
    return multipliers[max(keys, key=len)] if keys else 1.0


def _matches(key, variable):
    layer, _, name = key.partition("/")
    path = variable.path.split("/")
    return any(part.startswith(layer) for part in path[:-1]) and (
        not name or path[-1] == name
    )
