"""The contract of a backbone: images in, a pyramid of features out.

A backbone is a functional `keras.Model` from images `(B, H, W, 3)` in 0..255
to its last feature map. Heads read `pyramid_outputs`; KerasCV's heads read
`pyramid_level_inputs`.
"""

import keras


class Backbone(keras.Model):
    """A functional model that also names the levels of its feature pyramid.

    A subclass builds its graph, calls `super().__init__(inputs=, outputs=)`
    and sets `pyramid_outputs`.

    Attributes:
        pyramid_outputs: `{"P2": KerasTensor, ..., "P5": KerasTensor}`.
    """

    def __init__(self, *args, pyramid_outputs=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.pyramid_outputs = pyramid_outputs

    @property
    def pyramid_level_inputs(self):
        """`{"P2": layer name, ...}`: KerasCV's form of `pyramid_outputs`."""
        return {
            level: tensor._keras_history.operation.name
            for level, tensor in self.pyramid_outputs.items()
        }
