"""The paper's frozen setting, for any head on any backbone."""

from keras_jft.backbones.backbone import layers_by_stage

# He et al.'s names of the stages that end in a level.
LEVELS = {f"conv{i}": f"P{i}" for i in range(2, 6)}


def freeze(model, before="conv5"):
    """Freeze the stages of the backbone before one, and only those.

    Stages follow from the graph, not from names of layers: what a level of
    `backbone.pyramid_outputs` depends on is frozen before the level after it.
    Frozen batch normalization uses its moving statistics and leaves them as
    they are. Compile after freezing.

    Args:
        model: A model of any head, one that has its backbone as a layer, or a
            backbone.
        before: The first stage that trains: a level of the pyramid such as
            `"P5"`, or its name in a ResNet, `"conv5"` (the paper's frozen
            setting); `"head"` (the whole backbone is frozen); `"conv1"`
            (nothing is frozen).

    Returns:
        The model.

    Raises:
        ValueError: If the model shows no backbone, or the backbone no such
            stage, or nothing comes before the stage.

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
    """The layers that come before a stage."""
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
                else "has no layers of its own there."
            )
        )
    earlier = list(stages)[: list(stages).index(stage)]
    return [layer for name in earlier for layer in stages[name]]


def _set_trainable(layer, value):
    # One by one: on TensorFlow, Keras passes over the layers inside of one
    # that has the value already.
    for inner in layer._flatten_layers():
        inner.trainable = value


def _backbone_of(model):
    backbone = getattr(model, "backbone", None)
    if backbone is not None:
        return backbone
    if getattr(model, "pyramid_outputs", None):
        return model
    inside = [x for x in model.layers if getattr(x, "pyramid_outputs", None)]
    if len(inside) != 1:
        raise ValueError(
            "`model` must have its backbone as `model.backbone` or as one of "
            "its layers, with `pyramid_outputs`. Received: "
            f"{model.name!r}, where {len(inside)} layers are backbones. Set "
            "the attribute, or freeze the backbone itself."
        )
    return inside[0]
