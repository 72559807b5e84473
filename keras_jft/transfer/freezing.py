"""The paper's frozen setting, for any head."""

from keras_jft import checks

STAGES = ("scaling", "conv1", "conv2", "conv3", "conv4", "conv5")


def freeze(model, before="conv5"):
    """Freezes the stages of the backbone before one, and only those.

    Frozen batch normalization uses its moving statistics and leaves them as
    they are. Compile after freezing.

    Args:
        model: A model of any head.
        before: The first stage that trains: `"conv1"` (nothing is frozen) to
            `"conv5"` (the paper's frozen setting), or `"head"` (the whole
            backbone is frozen).

    Returns:
        The model.

    Raises:
        ValueError: If `before` names no stage.

    References:
        Sun et al. 2017, section 5.2 (Figure 4: all layers before conv5 frozen).
    """
    order = (*STAGES, "head")
    checks.one_of("before", before, order[1:])
    frozen = order[: order.index(before)]
    # A head of KerasCV holds its backbone as one layer.
    backbone = getattr(model, "backbone", model)
    for layer in (*model.layers, *backbone.layers):
        stage = layer.name.split("_")[0]
        if stage in STAGES:
            layer.trainable = stage not in frozen
    return model
