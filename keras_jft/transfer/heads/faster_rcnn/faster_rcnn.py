"""`FasterRCNN`: a two-stage detector on a feature map or a pyramid.

After the model come the parts of its graph, in the order of the data: inputs,
first stage, second stage; then its losses and the checks of its options.

Shapes: B batch, H W image side, h w feature side, A anchors, N true boxes of an
image, R proposals, S samples, C classes without background, n detections.
"""

from collections.abc import Sequence
from typing import Any, Self

import keras
from keras import ops

from keras_jft import checks, layers, training
from keras_jft.backbones import ResNet
from keras_jft.training import keras_internals
from keras_jft.transfer.heads import head, levels
from keras_jft.transfer.heads.faster_rcnn import boxes as box_lib
from keras_jft.transfer.heads.faster_rcnn import losses, pyramid, stages
from keras_jft.transfer.heads.faster_rcnn.suppression import suppress_classes
from keras_jft.typing import Batch, Tensor

NECKS = ("c4", "fpn")
SCALES = {"c4": (0.25, 0.5, 1.0, 2.0), "fpn": (1.0,)}
RATIOS = (0.5, 1.0, 2.0)
# Features per side of the anchor of scale 1: 256 px at stride 16 (C4); 32 px at
# stride 4 and 512 px at stride 64 (Lin et al., section 4.1).
CELLS = {"c4": 16, "fpn": 8}
DETECTION_IOU = 0.6  # Detections that overlap a better one by more go.
MOST_PER_CLASS = 100
LOSS_WEIGHTS = {
    "rpn_boxes": 2.0,
    "rpn_classes": 1.0,
    "head_boxes": 2.0,
    "head_classes": 1.0,
}


@keras.saving.register_keras_serializable("keras_jft")
class FasterRCNN(training.Model):
    """Faster R-CNN on conv4 ("C4"), or on a feature pyramid ("FPN").

    The first stage, or region proposal network (RPN), reads the features of
    conv4 (stride 16 after an ImageNet stem, 4 after a small one) and proposes
    regions. The second stage crops these out of the same features, applies the
    backbone's conv5 to each crop, and predicts a class and, for each class, a
    better box. Both stages train at the same time. The conv5 of a `ResNet`
    loses its stride, and crops are pooled to half their size first; that of
    another net, which is whatever follows P4, halves them itself.

    With `neck="fpn"` the first stage reads all levels of a feature pyramid, and
    one more that is twice as coarse, with one size of anchors each. Regions are
    cropped from the level for their size, and two fully connected layers
    predict. It needs no layers after P4: transformers have this neck alone.

    Targets are `bounding_boxes`: `boxes` `(B, N, 4)` in pixels, `labels`
    `(B, N)` with -1 for padding, and optionally `ignored` `(B, N)`, true for
    boxes that are neither objects nor background. `image_sizes` `(B, 2)`,
    optional, are the sizes of the images without their padding.

    Calling returns raw outputs in float32: `rpn_logits` `(B, A, 2)` and
    `rpn_codes` `(B, A, 4)` of the anchors; `proposals` `(B, R, 4)`, padded with
    zeros; the proposals' `head_logits` `(B, R, C + 1)`, background first, and
    `head_codes` `(B, R, C, 4)`; and `image_sizes`. Predicting returns `boxes`
    `(B, n, 4)`, `scores` `(B, n)` and int32 `labels` `(B, n)`, by falling
    score, padded with -1.

    Args:
        backbone: A backbone that keeps the contract of `jft.backbones`, whose
            layers after P4 can be applied to maps of any size. It is rebuilt,
            with the same weights, so that batch normalization runs in
            `bn_mode`, and the conv5 of a `ResNet` has no stride and no
            dilation.
        num_classes: Number of classes C, background not counted.
        neck: `"c4"` or `"fpn"`.
        anchor_base: Side in pixels of the anchor of scale 1 and ratio 1; of a
            pyramid, that of its finest level, and each next level has anchors
            twice as large. None: 16 features; of a pyramid 8.
        anchor_scales: Factors of `anchor_base`. None: 1/4, 1/2, 1 and 2; of a
            pyramid 1.
        anchor_ratios: Width divided by height of the anchors.
        rpn_filters: Channels of the first stage's 3x3 convolution.
        rpn_samples: Anchors per image that a step trains on, at most half of
            them objects.
        head_samples: Proposals per image that a step trains on, at most a
            quarter of them objects. Sun et al. print 64 and 256 in this order,
            which we take to be swapped.
        num_proposals: R, the most proposals per image.
        crop_size: Side of the crops in features, before pooling, or conv5,
            halves it.
        neck_filters: Channels of the pyramid's levels.
        head_units: Units of the two layers after the pyramid.
        max_detections: n, the most detections per image.
        bn_mode: What batch normalization does in training, see
            `jft.layers.FusedBatchNormalization`. By default the statistics do
            not move, as a step sees only a few images.
        name: Name of the model.

    Raises:
        ValueError: If `backbone` has no P4 or cannot be applied to regions
            after it, as transformers cannot, or a number is too small.

    References:
        Ren et al. 2015, https://arxiv.org/abs/1506.01497.
        Huang et al. 2017, https://arxiv.org/abs/1611.10012, section 3 and the
        configuration `faster_rcnn_resnet101_coco` published with it.
        Lin et al. 2017, https://arxiv.org/abs/1612.03144 (FPN).
        Sun et al. 2017, section 5.2.
    """

    _instead_of_class_weight = "Leave it out"

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        *,
        neck: str = "c4",
        anchor_base: float | None = None,
        anchor_scales: Sequence[float] | None = None,
        anchor_ratios: Sequence[float] = RATIOS,
        rpn_filters: int = 512,
        rpn_samples: int = 256,
        head_samples: int = 64,
        num_proposals: int = 300,
        crop_size: int = 14,
        neck_filters: int = 256,
        head_units: int = 1024,
        max_detections: int = 300,
        bn_mode: str = "affine",
        name: str = "faster_rcnn",
        **kwargs: Any,
    ):
        checks.number("num_classes", num_classes, 1, whole=True)
        _check_options(
            neck=neck,
            bn_mode=bn_mode,
            anchor_base=anchor_base,
            anchor_scales=anchor_scales,
            anchor_ratios=anchor_ratios,
            rpn_filters=rpn_filters,
            rpn_samples=rpn_samples,
            head_samples=head_samples,
            num_proposals=num_proposals,
            crop_size=crop_size,
            neck_filters=neck_filters,
            head_units=head_units,
            max_detections=max_detections,
        )
        backbone = _rebuilt(backbone, neck, bn_mode)

        # === Functional model ===
        inputs = _model_inputs(backbone)
        truth = [inputs[key] for key in ("boxes", "labels", "ignored")]
        maps = _maps(backbone, neck, neck_filters)
        sizes = box_lib.anchor_sizes(
            anchor_base or CELLS[neck] * min(maps),
            anchor_scales or SCALES[neck],
            anchor_ratios,
        )

        # First stage: anchors, moved by their codes, become proposals.
        rpn_logits, rpn_codes = _first_stage(
            maps.values(), rpn_filters, len(sizes), backbone.dtype_policy
        )
        anchors = _anchors(maps, sizes)
        proposals = stages.Proposals(num_proposals, name="rpn_proposals")(
            anchors, rpn_logits, rpn_codes, inputs["image_sizes"]
        )

        # Samples to train on. Without truth, all proposals pass on.
        of_anchors = stages.AnchorSampling(rpn_samples, name="rpn_sampling")(
            anchors, inputs["image_sizes"], *truth
        )
        of_proposals = stages.ProposalSampling(
            head_samples, name="head_sampling"
        )(proposals, *truth)
        proposals = of_proposals.pop("proposals")

        # Second stage: conv5 or two layers on a crop of each proposal.
        make = {"c4": _conv5_of_regions, "fpn": _two_layers_of_regions}[neck]
        regions = make(
            *(backbone, maps, proposals),
            crop_size=crop_size,
            units=head_units,
        )
        head_logits, head_codes = _predict(regions, proposals, num_classes)
        super().__init__(
            inputs=inputs,
            outputs={
                "rpn_logits": rpn_logits,
                "rpn_codes": rpn_codes,
                "proposals": proposals,
                "head_logits": head_logits,
                "head_codes": head_codes,
                "image_sizes": inputs["image_sizes"],
                # None without truth.
                "rpn_samples": of_anchors,
                "head_samples": of_proposals,
            },
            name=name,
            **kwargs,
        )
        self.input_spec = None  # `call` adds missing inputs.

        # === Config ===
        self._input_keys = tuple(inputs)
        self.backbone = backbone
        self.num_classes = num_classes
        self.neck = neck
        self.anchor_base = anchor_base
        self.anchor_scales = anchor_scales and tuple(anchor_scales)
        self.anchor_ratios = tuple(anchor_ratios)
        self.rpn_filters = rpn_filters
        self.rpn_samples = rpn_samples
        self.head_samples = head_samples
        self.num_proposals = num_proposals
        self.crop_size = crop_size
        self.neck_filters = neck_filters
        self.head_units = head_units
        self.max_detections = max_detections
        self.bn_mode = bn_mode

    def call(
        self, inputs: Any, training: bool | None = None, mask: Tensor = None
    ) -> dict[str, Tensor]:
        """Return raw outputs and, if there is truth, samples for the loss.

        Args:
            inputs: Images `(B, H, W, 3)` in 0..255, or a dict of `images` and
                any of `image_sizes`, `boxes`, `labels`, `ignored`.
            training: Whether samples are drawn at random.
            mask: Not used.
        """
        given = inputs if isinstance(inputs, dict) else {"images": inputs}
        complete = {key: given.get(key) for key in self._input_keys}
        if complete["image_sizes"] is None:
            complete["image_sizes"] = _sizes_of(given["images"])
        outputs = super().call(complete, training=training)
        if complete["boxes"] is None:
            del outputs["rpn_samples"], outputs["head_samples"]
        return outputs

    def inputs_of(self, batch: Batch) -> Any:
        """Return images and, if given, their sizes without padding."""
        keys = ("images", "image_sizes")
        return {key: batch[key] for key in keys if key in batch}

    def targets(self, batch: Batch) -> Any:
        """Return boxes, labels and, if given, which are ignored."""
        entry = self.entry(batch, "bounding_boxes")
        keys = ("boxes", "labels", "ignored")
        return {key: entry[key] for key in keys if key in entry}

    def check_targets(self, y: Any) -> None:
        """Raise a `ValueError` unless `y` has boxes in pixels, with labels."""
        box_lib.check_truth(y, self.num_classes)

    def widened(self, y: Any) -> Any:
        """Return targets with one more box of padding per image."""
        return box_lib.with_one_more(y)

    def step_inputs(self, x: Any, y: Any) -> Any:
        """Return inputs and truth in one dict."""
        x = x if isinstance(x, dict) else {"images": x}
        return {**x, **y}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """Return the weighted sum of the four losses, averaged over images.

        Args:
            x: Not used.
            y: Not used: outputs of a call with truth hold the targets.
            y_pred: What calling with truth returned.
            sample_weight: `(B,)` weights of the images, or None.
            training: Not used.
        """
        if self.loss is not None:
            raise ValueError(
                "A detector has its own loss. Received: compile(loss="
                f"{self.loss!r}). Leave `loss` out."
            )
        parts = _image_losses(y_pred)
        loss = sum(LOSS_WEIGHTS[name] * part for name, part in parts.items())
        # Keras repeats `sample_weight` for each part of the truth.
        weight, *_ = keras.tree.flatten(sample_weight)
        return losses.OfImages()(loss, loss, weight)

    def decode(self, outputs: Tensor, images: Tensor) -> Any:
        """Return detections, without those that overlap better ones.

        Args:
            outputs: What calling returned.
            images: Not used.

        Returns:
            `{"boxes", "scores", "labels"}`.
        """
        # One box per proposal and class, clipped to its image.
        proposals = outputs["proposals"][:, :, None]
        boxes = box_lib.decode(outputs["head_codes"], proposals)
        shape = ops.shape(boxes)
        boxes = ops.reshape(boxes, (shape[0], shape[1] * shape[2], 4))
        boxes, is_left = box_lib.clip(boxes, outputs["image_sizes"])
        # Boxes outside of the image and of padded proposals score 0.
        is_left = ops.reshape(is_left, shape[:3])
        is_left &= box_lib.area(proposals) > 0
        scores = ops.softmax(outputs["head_logits"], axis=-1)[..., 1:]
        boxes, scores, labels = suppress_classes(
            ops.reshape(boxes, shape),
            ops.where(is_left, scores, 0.0),
            DETECTION_IOU,
            MOST_PER_CLASS,
            self.max_detections,
        )
        return {"boxes": boxes, "scores": scores, "labels": labels}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "neck": self.neck,
            "anchor_base": self.anchor_base,
            "anchor_scales": self.anchor_scales and list(self.anchor_scales),
            "anchor_ratios": list(self.anchor_ratios),
            "rpn_filters": self.rpn_filters,
            "rpn_samples": self.rpn_samples,
            "head_samples": self.head_samples,
            "num_proposals": self.num_proposals,
            "crop_size": self.crop_size,
            "neck_filters": self.neck_filters,
            "head_units": self.head_units,
            "max_detections": self.max_detections,
            "bn_mode": self.bn_mode,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a model with these arguments."""
        return cls(**keras.saving.deserialize_keras_object(config))


# === Graph ===


def _rebuilt(backbone, neck, bn_mode):
    """Return the backbone, with the same weights, made for a neck."""
    if neck == "c4" and "P4" not in getattr(backbone, "pyramid_outputs", ()):
        raise ValueError(
            "`FasterRCNN` reads the level 'P4' of `backbone.pyramid_outputs`. "
            f"Received: {backbone!r}, without it. Use a backbone of "
            '`jft.backbones` that has it, or `neck="fpn"`.'
        )
    wanted = {"bn_mode": bn_mode}
    if isinstance(backbone, ResNet):
        # For C4, that of conv4.
        stride = (4 if neck == "c4" else 8) * backbone.stem_stride
        wanted |= {"output_stride": stride, "dilated": False}
    return levels.rebuilt(backbone, **wanted)


def _maps(backbone, neck, filters):
    """Return the maps that the first stage reads, by stride, finest first."""
    if neck == "fpn":
        return pyramid.feature_pyramid(backbone, filters)
    return {backbone.strides["P4"]: backbone.pyramid_outputs["P4"]}


def _model_inputs(backbone):
    """Return the inputs: images, their sizes and, optionally, truth."""
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


def _sizes_of(images):
    """Return `(B, 2)` heights and widths of images `(B, H, W, 3)`."""
    shape = ops.shape(images)
    size = ops.stack([ops.cast(side, "int32") for side in shape[1:3]])
    return ops.broadcast_to(size, (shape[0], 2))


def _first_stage(maps, filters, per_cell, dtype):
    """Return logits `(B, A, 2)` and codes `(B, A, 4)` of the anchors.

    The same layers read all maps.
    """

    def convolution(filters, size, **options):
        return keras.layers.Conv2D(
            filters,
            size,
            padding="same",
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.01),
            **options,
        )

    conv = convolution(filters, 3, dtype=dtype, name="rpn_conv")
    relu = keras.layers.ReLU(6.0, dtype=dtype, name="rpn_relu")
    hidden = [relu(conv(features)) for features in maps]

    def predict(units, name):
        last = convolution(units * per_cell, 1, dtype="float32", name=name)
        flat = keras.layers.Reshape(
            (-1, units), dtype="float32", name=f"{name}_flat"
        )
        return _joined([flat(last(x)) for x in hidden], axis=1, name=name)

    return predict(2, "rpn_logits"), predict(4, "rpn_codes")


def _anchors(maps, sizes):
    """Return `(A, 4)` anchors, twice as large on each next map."""
    levels = [
        stages.Anchors(stride, sizes * (stride / min(maps)), name=name)(x)
        for (stride, x), name in zip(
            maps.items(),
            ["rpn_anchors", *(f"rpn_anchors_{s:g}" for s in [*maps][1:])],
            strict=True,
        )
    ]
    return _joined(levels, axis=0, name="rpn_anchors")


def _joined(tensors, axis, name):
    """Return the tensors as one, in order; one alone as it is."""
    if len(tensors) == 1:
        return tensors[0]
    return keras.layers.Concatenate(
        axis=axis, dtype="float32", name=f"{name}_of_all"
    )(tensors)


def _conv5_of_regions(backbone, maps, proposals, *, crop_size, **_):
    """Return what layers after P4 make of regions, `(B * R, channels)`."""
    crops = stages.Regions(crop_size, name="head_regions")(
        *maps.values(), proposals, backbone.input
    )
    if backbone.strides["P4"] == backbone.output_stride:
        crops = keras.layers.MaxPooling2D(
            2, dtype="float32", name="head_max_pool"
        )(crops)
    try:
        conv5 = keras.Model(
            backbone.pyramid_outputs["P4"], backbone.output, name="conv5"
        )
        # Crops are of another size than the feature map.
        keras_internals.allow_any_size(conv5)
        features = conv5(crops)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`FasterRCNN` applies what follows P4 to regions, but in the net "
            f"{backbone.name!r} it needs more than P4, or a map of the size "
            f'that the net was built for. Use `neck="fpn"`. ({error})'
        ) from error
    return keras.layers.GlobalAveragePooling2D(
        dtype="float32", name="head_pool"
    )(features)


def _two_layers_of_regions(backbone, maps, proposals, *, crop_size, units):
    """Return what two dense layers make of regions, `(B * R, units)`.

    Lin et al. 2017, section 4.2.
    """
    strides = [*maps][:-1]  # The coarsest level only proposes.
    crops = pyramid.PyramidRegions(crop_size, strides, name="head_regions")(
        [maps[stride] for stride in strides], proposals, backbone.input
    )
    x = keras.layers.MaxPooling2D(2, dtype="float32", name="head_max_pool")(
        crops
    )
    x = keras.layers.Flatten(dtype="float32", name="head_flat")(x)
    for i in (1, 2):
        x = keras.layers.Dense(
            units, activation="relu", dtype="float32", name=f"head_dense_{i}"
        )(x)
    return x


def _predict(x, proposals, num_classes):
    """Return logits `(B, R, C + 1)`, codes `(B, R, C, 4)` of proposals."""

    def dense(units, shape, name):
        flat = keras.layers.Dense(units, dtype="float32", name=name)(x)
        of_each = stages.OfEachImage(shape, name=f"{name}_of_each_image")
        return of_each(flat, proposals)

    return (
        dense(num_classes + 1, (num_classes + 1,), "head_logits"),
        dense(4 * num_classes, (num_classes, 4), "head_codes"),
    )


# === Losses ===


def _image_losses(outputs):
    """Return the four losses of each image, unweighted.

    Those of the first stage are the two terms of Ren et al. 2015, equation 1;
    those of the second are Girshick 2015, https://arxiv.org/abs/1504.08083,
    equations 1 and 2.

    Args:
        outputs: What calling a `FasterRCNN` with truth returns.

    Returns:
        `{"rpn_boxes", "rpn_classes", "head_boxes", "head_classes"}`, `(B,)`
        each.
    """
    rpn, of_head = outputs["rpn_samples"], outputs["head_samples"]
    # First stage: codes and logits of the sampled anchors.
    index = rpn["indices"][..., None]
    rpn_codes = ops.take_along_axis(outputs["rpn_codes"], index, axis=1)
    rpn_logits = ops.take_along_axis(outputs["rpn_logits"], index, axis=1)
    # Second stage: it predicts codes for each class; take the true one's.
    label = ops.maximum(of_head["classes"] - 1, 0)[..., None, None]
    head_codes = ops.take_along_axis(outputs["head_codes"], label, axis=2)
    return {
        "rpn_boxes": losses.box_loss(rpn["classes"], rpn["codes"], rpn_codes),
        "rpn_classes": losses.class_loss(rpn["classes"], rpn_logits),
        "head_boxes": losses.box_loss(
            of_head["classes"], of_head["codes"], head_codes[:, :, 0]
        ),
        "head_classes": losses.class_loss(
            of_head["classes"], outputs["head_logits"]
        ),
    }


# === Checks ===

_LEAST = {
    "rpn_filters": 1,
    "rpn_samples": 2,
    "head_samples": 4,
    "num_proposals": 1,
    "crop_size": 2,
    "neck_filters": 1,
    "head_units": 1,
    "max_detections": 1,
}


def _check_options(
    num_classes=None,
    *,
    neck,
    bn_mode,
    anchor_base,
    anchor_scales,
    anchor_ratios,
    **others,
):
    checks.one_of("neck", neck, NECKS)
    checks.one_of("bn_mode", bn_mode, layers.BATCH_NORMALIZATION_MODES)
    if anchor_base is not None:
        checks.number("anchor_base", anchor_base, 1)
    if anchor_scales is not None:
        checks.numbers_of("anchor_scales", anchor_scales, 0, above=True)
    checks.numbers_of("anchor_ratios", anchor_ratios, 0, above=True)
    for name, least in _LEAST.items():
        checks.number(name, others[name], least, whole=True)


HEAD = head.Head(
    build=FasterRCNN, task="detection", check_options=_check_options
)
