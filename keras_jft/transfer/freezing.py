"""Freezing of a backbone's first stages, under any head."""

import keras

from keras_jft.backbones.backbone import layers_by_stage
from keras_jft.training import keras_internals

# The level that ends each stage, by He et al.'s name of the stage.
LEVELS = {f"conv{i}": f"P{i}" for i in range(2, 6)}


def freeze(model: keras.Model, before: str = "conv5") -> keras.Model:
    """Freeze the stages of the backbone before a given one, and only those.

    Stages are read from the graph, not from names of layers: a layer is frozen
    if one of the levels in `backbone.pyramid_outputs` below the given stage
    depends on it. Frozen batch normalization uses its moving statistics and
    leaves them unchanged. Compile after freezing.

    Args:
        model: A model with any head, a model that has its backbone as a layer,
            or a backbone.
        before: The first stage that trains: a level of the pyramid such as
            `"P5"`, or its name in a ResNet, such as `"conv5"` (the paper's
            frozen setting). `"head"` freezes the whole backbone, `"conv1"`
            freezes nothing.

    Returns:
        The model.

    Raises:
        ValueError: If no backbone is found, it does not have the stage, or
            nothing comes before the stage.

    References:
        Sun et al. 2017, section 5.2 (Figure 4: all layers before conv5 frozen).
    """
    backbone = _backbone_of(model)
    frozen = _before(backbone, before)
    _set_trainable(backbone, True)
    for layer in frozen:
        _set_trainable(layer, False)
    return model


def _before(backbone, before):
    """Return the layers that come before a stage."""
    if before == "conv1":
        return []
    if before == "head":
        return backbone.layers
    stages = layers_by_stage(backbone)
    stage = LEVELS.get(before, before)
    first = next(iter(stages))
    if not stages.get(stage) or stage == first:
        choices = [x for x in stages if stages[x] and x != first]
        raise ValueError(
            f"`before` must be one of {[*choices, 'head']} for the backbone "
            f"{backbone.name!r}, or 'conv1' to train all of it. Received: "
            f"{before!r}, which "
            + (
                "nothing comes before."
                if stage == first
                else "has no layers of its own in it."
            )
        )
    earlier = list(stages)[: list(stages).index(stage)]
    return [layer for name in earlier for layer in stages[name]]


def _set_trainable(layer, value):
    # One by one: on TensorFlow, Keras skips the layers inside of a layer that
    # has the value already.
    for inner in keras_internals.flatten_layers(layer):
        inner.trainable = value


def _backbone_of(model):
    backbone = getattr(model, "backbone", None)
    if backbone is not None:
        return backbone
    if _has_levels(model):
        return model
    inside = [layer for layer in model.layers if _has_levels(layer)]
    if len(inside) != 1:
        raise ValueError(
            "`model` must have its backbone as `model.backbone` or as one of "
            "its layers, with `pyramid_outputs`. Received: "
            f"{model.name!r}, where {len(inside)} layers are backbones. Set "
            "the attribute, or freeze the backbone itself."
        )
    return inside[0]


def _has_levels(layer):
    # A transformer makes its pyramid only when it is asked for.
    return bool(
        getattr(layer, "stage_outputs", None)
        or getattr(layer, "pyramid_outputs", None)
    )
