"""L2 on kernels and learning rates by layer, for any Keras optimizer.

Both act when the optimizer updates a variable, after gradients have been summed
over replicas. So the decay does not depend on the number of replicas, and a
multiplier also scales the steps of adaptive optimizers.
"""

from keras_jft.training import keras_internals


def adjust(model, l2=0.0, multipliers=None):
    """Make the optimizer of `model` decay kernels and scale learning rates.

    Args:
        model: A model after `keras.Model.compile`.
        l2: `l2 * kernel` is added to the gradient of each kernel.
        multipliers: `{"layer" or "layer/variable": factor}`, where `layer` is
            the start of the names of layers.

    Raises:
        ValueError: If `l2` is negative or a multiplier matches no variable.
    """
    multipliers = dict(multipliers or {})
    if l2 < 0:
        raise ValueError(f"`l2` must not be negative. Received: l2={l2}.")
    for key in multipliers:
        if not any(_matches(key, v) for v in model.variables):
            raise ValueError(
                f"`multipliers` names {key!r}, which starts no layer's name. "
                f"Layers: {[layer.name for layer in model.layers]}."
            )
    # A loss-scaling optimizer has the one that updates inside.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    vars(optimizer).pop("update_step", None)  # That of an earlier `compile`.
    if not l2 and not multipliers:
        return
    update_step = optimizer.update_step

    def adjusted_update_step(gradient, variable, learning_rate):
        known = keras_internals.variable_of(optimizer, variable)
        if l2 and _is_kernel(known):
            gradient = gradient + l2 * variable
        factor = _factor(multipliers, known)
        return update_step(gradient, variable, learning_rate * factor)

    optimizer.update_step = adjusted_update_step


def _is_kernel(variable):
    # "kernel_3" of a sharded head, "depthwise_kernel" of a separable layer.
    return "kernel" in variable.name


def _factor(multipliers, variable):
    keys = [key for key in multipliers if _matches(key, variable)]
    return multipliers[max(keys, key=len)] if keys else 1.0


def _matches(key, variable):
    layer, _, name = key.partition("/")
    path = variable.path.split("/")
    return any(part.startswith(layer) for part in path[:-1]) and (
        not name or path[-1] == name
    )
