"""Export models for serving: images in, decoded predictions out."""

import keras


def export(model, filepath, *, dtype="uint8", input_signature=None, **kwargs):
    """Export a model together with its decoding.

    Args:
        model: A `Model`.
        filepath: A file, or a folder for a SavedModel.
        dtype: Type of the images, which are in 0..255 whatever it is.
        input_signature: As in `keras.Model.export`; by default any number of
            images of `dtype` with the shape of the model's inputs.
        **kwargs: As in `keras.Model.export`: `format`, `verbose`, ...
    """
    if input_signature is None:
        images = next(x for x in model.inputs if _is_image(x))
        input_signature = [keras.InputSpec(shape=images.shape, dtype=dtype)]
    served = _Decoded(model)
    served.export(filepath, input_signature=input_signature, **kwargs)


def _is_image(tensor):
    return len(tensor.shape) == 4


class _Decoded(keras.Model):
    """A model whose outputs are those of `predict`."""

    def __init__(self, model):
        super().__init__(name=model.name)
        self.model = model
        self.built = True

    def call(self, images):
        outputs = self.model(self.model.views(images), training=False)
        return self.model.decode(outputs, images)
