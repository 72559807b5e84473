"""The contract of a backbone: images in, a pyramid of features out.

A backbone is a functional `keras.Model` from images `(B, H, W, 3)` in 0..255
to its last feature map. Heads read `pyramid_outputs`; KerasCV's heads read
`pyramid_level_inputs`.

A stage of a backbone is what one level of the pyramid adds to the levels
before it. The graph says so, whatever the layers are called: a layer belongs
to the first level that depends on it, and what comes after the last level
belongs to that one. Stages are named by their levels, "P2" to "P5".
"""

from collections.abc import Mapping
from typing import Any

import keras

from keras_jft import checks
from keras_jft.training import keras_internals
from keras_jft.typing import PathLike


class Backbone(keras.Model):
    """A functional model that also names the levels of its feature pyramid.

    A subclass builds its graph, calls `super().__init__(inputs=, outputs=)`
    and sets `pyramid_outputs`.

    Attributes:
        pyramid_outputs: `{"P2": KerasTensor, ..., "P5": KerasTensor}`.
        stem_output: The KerasTensor that ends a stage "stem" of its own,
            before the first level. None: the stem belongs to the first level.
    """

    def __init__(
        self,
        *args: Any,
        pyramid_outputs: Mapping[str, keras.KerasTensor] | None = None,
        stem_output: keras.KerasTensor | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.pyramid_outputs: Any = pyramid_outputs
        self.stem_output = stem_output

    @property
    def pyramid_level_inputs(self) -> dict[str, str]:
        """Return `pyramid_outputs` as KerasCV has it, `{"P2": layer name}`."""
        return {
            level: keras_internals.operation_of(tensor).name
            for level, tensor in self.pyramid_outputs.items()
        }

    def save(self, filepath: PathLike, *args: Any, **kwargs: Any) -> None:
        """Save the backbone as a `.keras` file, as `keras.Model.save` does.

        Raises:
            ValueError: If the file is an `.h5`.
        """
        checks.not_hdf5(filepath)
        super().save(filepath, *args, **kwargs)

    def stage_of(self, layer: keras.layers.Layer) -> str:
        """Return the name of the stage that a layer belongs to.

        Args:
            layer: A layer of this backbone.

        Raises:
            ValueError: If the layer belongs to another model.
        """
        for stage, members in layers_by_stage(self).items():
            if any(layer is member for member in members):
                return stage
        raise ValueError(
            f"`layer` must be a layer of {self.name!r}. Received: "
            f"{layer.name!r}."
        )


def layers_by_stage(backbone):
    """Return the layers of each stage, read from the graph.

    Args:
        backbone: A functional model with `pyramid_outputs`.

    Returns:
        `{stage: list of layers}`, the first stage first. Each layer of the
        backbone is in exactly one of them.

    Raises:
        ValueError: If the model has no `pyramid_outputs`, or they are not
            tensors of its own graph.

    Example:

    >>> images = keras.Input((8, 8, 3))
    >>> x = keras.layers.Conv2D(4, 3, strides=2, name="fine")(images)
    >>> y = keras.layers.Conv2D(4, 3, strides=2, name="coarse")(x)
    >>> net = keras.Model(images, y)
    >>> net.pyramid_outputs = {"P4": x, "P5": y}
    >>> [layer.name for layer in layers_by_stage(net)["P5"]]
    ['coarse']
    """
    ends = dict(getattr(backbone, "pyramid_outputs", None) or {})
    if not ends:
        raise ValueError(
            "The stages of a backbone are read from its `pyramid_outputs`, "
            '{"P2": KerasTensor, ..., "P5": KerasTensor}. Received: '
            f"{backbone.name!r}, a {type(backbone).__name__} without them. Set "
            "the attribute to the outputs of its layers."
        )
    stem = getattr(backbone, "stem_output", None)
    if stem is not None:
        ends = {"stem": stem, **ends}
    needed = {stage: _ancestors(backbone, ends[stage], stage) for stage in ends}
    stages = dict.fromkeys(sorted(ends, key=lambda stage: len(needed[stage])))
    seen = set()
    for stage in stages:
        new = needed[stage] - seen
        stages[stage] = [x for x in backbone.layers if id(x) in new]
        seen |= new
    stages[stage] += [x for x in backbone.layers if id(x) not in seen]
    return stages


def _ancestors(backbone, tensor, level):
    """Return the `id`s of the layers that a tensor depends on."""
    try:
        part = keras.Model(backbone.inputs, tensor, name=f"until_{level}")
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            "`pyramid_outputs` must be tensors of the backbone's own graph, "
            "and the backbone a functional model. Received: "
            f"{backbone.name!r}, a {type(backbone).__name__}, whose {level} "
            "does not follow from its inputs. If the net is wrapped as one "
            "layer, use the net itself as the backbone."
        ) from error
    return {id(layer) for layer in part.layers}
