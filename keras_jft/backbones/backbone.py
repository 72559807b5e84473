"""The contract of a backbone: images in, a pyramid of features out.

A backbone is a functional `keras.Model` from images `(B, H, W, 3)` in 0..255
to its last feature map. Heads read `pyramid_outputs`; KerasCV's heads read
`pyramid_level_inputs`.

A stage of a backbone is the layers between one pyramid level and the next. The
graph defines it, whatever the layers are called: a layer belongs to the first
level that depends on it, and what comes after the last level belongs to the
last stage. Stages are named by their levels, "P2" to "P5".
"""

import math
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
        pyramid_outputs: `{"P2": KerasTensor, ..., "P5": KerasTensor}`, each
            `(B, h, w, C)`. Not all levels need to be there.
        strides: `{"P2": pixels between two features, ...}`.
        output_stride: The same of the last feature map.
        dilatable: Whether `rebuild` takes another `output_stride`.
        pooled_output: The KerasTensor `(B, C)` that the net's authors classify
            images by, such as a class token. None: the mean of the last map.
        stage_outputs: `{stage: KerasTensor}`, the end of each stage. By
            default those of the pyramid, after that of the stem.
    """

    dilatable = False

    def __init__(
        self,
        *args: Any,
        pyramid_outputs: Mapping[str, keras.KerasTensor] | None = None,
        strides: Mapping[str, float] | None = None,
        output_stride: int | None = None,
        stem_output: keras.KerasTensor | None = None,
        stage_outputs: Mapping[str, keras.KerasTensor] | None = None,
        pooled_output: keras.KerasTensor | None = None,
        **kwargs: Any,
    ):
        """Make the functional model.

        Args:
            *args: As for `keras.Model`.
            pyramid_outputs: See the class.
            strides: See the class.
            output_stride: See the class.
            stem_output: The KerasTensor that ends a stage "stem" of its own,
                before the first level. None: the stem belongs to the first
                level.
            stage_outputs: See the class.
            pooled_output: See the class.
            **kwargs: As for `keras.Model`.
        """
        super().__init__(*args, **kwargs)
        self.pyramid_outputs: Any = pyramid_outputs
        self.strides = strides
        self.output_stride = output_stride
        self.pooled_output = pooled_output
        if stage_outputs is None:
            stem = {} if stem_output is None else {"stem": stem_output}
            stage_outputs = {**stem, **(pyramid_outputs or {})}
        self.stage_outputs = stage_outputs

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

    def rebuild(self, **changes: Any) -> "Backbone":
        """Return a copy with these weights and other arguments.

        Args:
            **changes: Arguments that do not affect the weights, such as
                `image_shape`, `dtype`, `bn_mode` or `output_stride`.

        Raises:
            ValueError: If the backbone cannot be changed so.
        """
        raise ValueError(
            f"A {type(self).__name__} cannot be rebuilt. Received: {changes}. "
            "Define `rebuild`, or give the head a backbone as it needs it."
        )

    def layers_by_stage(self) -> dict[str, list]:
        """Return `{stage: list of layers}`, the first stage first."""
        return layers_by_stage(self)

    def stages_text(self) -> str:
        """Return a line per stage: how many of its weights train.

        Example:

        >>> print(jft.ResNet((1, 1, 1, 1), width=4).stages_text())
        Stages of the backbone 'resnet':
          stem: 604 weights, trains
          P2: 448 weights, trains
          P3: 1,792 weights, trains
          P4: 6,528 weights, trains
          P5: 24,832 weights, trains
        """
        lines = [f"Stages of the backbone {self.name!r}:"]
        for stage, layers in self.layers_by_stage().items():
            sizes = [
                sum(math.prod(weight.shape) for weight in weights)
                for layer in layers
                for weights in (layer.weights, layer.trainable_weights)
            ]
            total, trained = sum(sizes[::2]), sum(sizes[1::2])
            state = "trains" if trained else "frozen"
            lines.append(
                f"  {stage}: {total:,} weights" + (f", {state}" * bool(total))
            )
        return "\n".join(lines)

    def summary(self, *args: Any, print_fn: Any = None, **kwargs: Any) -> None:
        """Print the layers, as `keras.Model.summary`, then what is frozen."""
        super().summary(*args, print_fn=print_fn, **kwargs)
        (print_fn or print)(self.stages_text())

    def stage_of(self, layer: keras.layers.Layer) -> str:
        """Return the name of the stage that a layer belongs to.

        Args:
            layer: A layer of this backbone, or of one of its layers.

        Raises:
            ValueError: If the layer belongs to another model.
        """
        for stage, members in layers_by_stage(self).items():
            if any(
                layer is inner
                for member in members
                for inner in keras_internals.flatten_layers(member)
            ):
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
    ends = getattr(backbone, "stage_outputs", None)
    ends = dict(ends or getattr(backbone, "pyramid_outputs", None) or {})
    if not ends:
        raise ValueError(
            "The stages of a backbone are read from its `pyramid_outputs`, "
            '{"P2": KerasTensor, ..., "P5": KerasTensor}. Received: '
            f"{backbone.name!r}, a {type(backbone).__name__} without them. Set "
            "the attribute to the outputs of its layers."
        )
    needed = {stage: _ancestors(backbone, ends[stage], stage) for stage in ends}
    stages = dict.fromkeys(sorted(ends, key=lambda stage: len(needed[stage])))
    seen = set()
    for stage in stages:
        new = needed[stage] - seen
        stages[stage] = [x for x in backbone.layers if id(x) in new]
        seen |= new
    stages[stage] += [x for x in backbone.layers if id(x) not in seen]
    return stages


def pooled_features(backbone, name="head_pool"):
    """Return what images are classified by, in float32.

    Args:
        backbone: A functional model from images to a feature map, or a
            `Backbone`.
        name: Name of the layer.

    Returns:
        A KerasTensor `(B, C)`: the backbone's `pooled_output`, or the mean of
        its last feature map.
    """
    pooled = getattr(backbone, "pooled_output", None)
    if pooled is not None:
        return keras.layers.Identity(dtype="float32", name=name)(pooled)
    return keras.layers.GlobalAveragePooling2D(dtype="float32", name=name)(
        backbone.output
    )


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
