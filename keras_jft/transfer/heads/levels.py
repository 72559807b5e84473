"""What heads ask of a backbone: other arguments, a stride, named levels."""

import keras

from keras_jft.training import keras_internals


def rebuilt(backbone, **wanted):
    """Return `backbone`, rebuilt if its attributes are not as `wanted`."""
    lacking = [n for n in (*wanted, "rebuild") if not hasattr(backbone, n)]
    if lacking:
        raise ValueError(
            "This head dilates its backbone, which needs one of "
            f"`jft.backbones`. Received: {backbone!r}, without {lacking}."
        )
    if all(getattr(backbone, key) == wanted[key] for key in wanted):
        return backbone
    return backbone.rebuild(**wanted)


def at_stride(backbone, output_stride, **wanted):
    """Return `backbone` at a stride, or at its own if it cannot be dilated.

    Args:
        backbone: A backbone.
        output_stride: Pixels between two features of its last map.
        **wanted: Other arguments of `rebuild`.
    """
    if getattr(backbone, "dilatable", True):
        wanted["output_stride"] = output_stride
    return rebuilt(backbone, **wanted)


def with_named_levels(backbone):
    """Return a model whose levels KerasCV finds by the names of layers.

    Args:
        backbone: A backbone.

    Returns:
        The backbone, if each level is the output of a layer of it; else a model
        of its layers in which that is so.
    """
    outputs = backbone.pyramid_outputs
    layers = {layer.name: layer for layer in backbone.layers}
    names = backbone.pyramid_level_inputs
    if all(
        name in layers and layers[name].output is outputs[level]
        for level, name in names.items()
    ):
        return backbone
    named = {
        level: keras.layers.Identity(
            dtype=backbone.dtype_policy, name=f"level_{level.lower()}"
        )(tensor)
        for level, tensor in outputs.items()
    }
    model = keras.Model(backbone.input, named, name=f"{backbone.name}_levels")
    model.pyramid_level_inputs = {
        level: keras_internals.operation_of(tensor).name
        for level, tensor in named.items()
    }
    return model
