"""The convolutions of both stages, as parts of one functional graph.

Shapes: B batch, h w feature side, A anchors, R proposals, C classes without
background.
"""

import keras

from keras_jft.backbones import ResNet
from keras_jft.transfer.heads.faster_rcnn import stages


def without_stride(backbone, bn_mode):
    """The backbone with a conv5 for regions, of the same weights."""
    if not isinstance(backbone, ResNet):
        raise ValueError(
            "`backbone` must be a `jft.ResNet`, whose conv5 can be applied to "
            f"regions. Received: {type(backbone).__name__}."
        )
    stride = 4 * backbone.stem_stride  # That of conv4.
    wanted = {"output_stride": stride, "dilated": False, "bn_mode": bn_mode}
    if all(getattr(backbone, key) == value for key, value in wanted.items()):
        return backbone
    return backbone.rebuild(**wanted)


def inputs(backbone):
    """The images of a backbone, their sizes, and truth, which may lack."""
    optional = {"optional": True}
    return {
        "images": backbone.input,
        "image_sizes": keras.Input((2,), name="image_sizes", dtype="int32"),
        "boxes": keras.Input((None, 4), name="boxes", **optional),
        "labels": keras.Input(
            (None,), name="labels", dtype="int32", **optional
        ),
        "ignored": keras.Input(
            (None,), name="ignored", dtype="bool", **optional
        ),
    }


def first_stage(features, filters, per_cell, dtype):
    """Logits `(B, A, 2)` and codes `(B, A, 4)` of the anchors."""

    def convolve(x, filters, size, **options):
        return keras.layers.Conv2D(
            filters,
            size,
            padding="same",
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.01),
            **options,
        )(x)

    x = convolve(features, filters, 3, dtype=dtype, name="rpn_conv")
    x = keras.layers.ReLU(6.0, dtype=dtype, name="rpn_relu")(x)
    logits = convolve(x, 2 * per_cell, 1, dtype="float32", name="rpn_logits")
    codes = convolve(x, 4 * per_cell, 1, dtype="float32", name="rpn_codes")
    return (
        keras.layers.Reshape((-1, 2), dtype="float32", name="rpn_logits_flat")(
            logits
        ),
        keras.layers.Reshape((-1, 4), dtype="float32", name="rpn_codes_flat")(
            codes
        ),
    )


def conv5_of(backbone):
    """conv5 as a model of its own, of the backbone's layers."""
    conv5 = keras.Model(
        backbone.pyramid_outputs["P4"], backbone.output, name="conv5"
    )
    conv5.input_spec = None  # Crops are smaller than the feature map.
    return conv5


def second_stage(conv5, crops, proposals, num_classes):
    """Logits `(B, R, C + 1)` and codes `(B, R, C, 4)` of the proposals."""
    x = keras.layers.MaxPooling2D(2, dtype="float32", name="head_max_pool")(
        crops
    )
    x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="head_pool")(
        conv5(x)
    )

    def dense(units, shape, name):
        flat = keras.layers.Dense(units, dtype="float32", name=name)(x)
        of_each = stages.OfEachImage(shape, name=f"{name}_of_each_image")
        return of_each(flat, proposals)

    return (
        dense(num_classes + 1, (num_classes + 1,), "head_logits"),
        dense(4 * num_classes, (num_classes, 4), "head_codes"),
    )
