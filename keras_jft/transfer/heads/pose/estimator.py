"""`PoseEstimator`: heat maps and offsets of a person's keypoints, G-RMI.

Shapes: B crops, P people, K keypoints, H W crop side, h w feature side.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_jft import checks, layers, sides, training
from keras_jft.text import number_of
from keras_jft.transfer.heads import head, levels
from keras_jft.transfer.heads.pose import decoding
from keras_jft.transfer.heads.pose.losses import PoseLoss
from keras_jft.transfer.heads.upsampling import Resample
from keras_jft.typing import Batch, Tensor


@keras.saving.register_keras_serializable("keras_jft")
class PoseEstimator(training.Model):
    """Heat maps and offsets by 1x1 convolutions on a dilated backbone.

    A backbone that cannot be dilated keeps its own stride, and transposed
    convolutions upsample its features, as many as bring their stride nearest to
    `output_stride` (Xiao et al.).

    Inputs are crops of one person each (`jft.data.transforms.CropPerson`).
    Targets are `keypoints` `(B, K, 3)`; if `bounding_boxes` hold keypoints too,
    those from row 1 on belong to people in the background. Calling returns
    `(B, h, w, 4K)` in float32: K heat-map logits, the offset to each keypoint
    in x and y, in pixels, and K auxiliary heat-map logits from the middle of
    conv4 (P4 of other nets), which only training uses. Predicting returns
    `{"keypoints": (B, K, 3), "scores": (B,)}`: x and y in pixels of the crop
    and the score of each keypoint; and the mean of those scores.

    Args:
        backbone: A backbone that keeps the contract of `jft.backbones`, for
            images of one size, that of the crops: the paper's are 353 high and
            257 wide. One with another output stride is rebuilt, with the same
            weights, if it can be dilated.
        num_keypoints: Number of keypoints K.
        output_stride: Pixels between two features.
        radius: Radius in pixels around a keypoint where its heat map is 1 and
            its offsets are trained. The paper's 25 is for crops 353 high:
            reduce it in proportion for smaller crops.
        loss_weights: Factors of heat maps and of offsets in the loss.
        keypoint_names: One name per keypoint, `data.info.keypoint_names`.
            `flip_test` needs them, unless `flip_pairs` are positions.
        flip_test: Whether to predict for the crop and for its mirror image, and
            average the two before decoding.
        flip_pairs: Pairs of keypoints, by name or by position, that change
            places in a mirror image; None: read them from the names.
        upsampling_filters: Channels of the transposed convolutions, if any.
        name: Name of the model.

    Raises:
        ValueError: If the backbone takes images of any size, an argument is
            out of range, or `flip_test` has no names, or names that do not
            tell left from right.

    References:
        Papandreou et al. 2017, https://arxiv.org/abs/1701.01779, section 3.2.
        Sun et al. 2017, section 5.4.
        Xiao et al. 2018, "Simple Baselines for Human Pose Estimation and
        Tracking", https://arxiv.org/abs/1804.06208, section 2 (upsampling).
    """

    _instead_of_class_weight = "Leave it out"

    def __init__(
        self,
        backbone: keras.Model,
        num_keypoints: int = 17,
        *,
        output_stride: int = 8,
        radius: float = 25.0,
        loss_weights: tuple[float, float] = (4.0, 1.0),
        keypoint_names: Sequence[str] = (),
        flip_test: bool = False,
        flip_pairs: Sequence[Sequence[Any]] | None = None,
        upsampling_filters: int = 256,
        name: str = "pose_estimator",
        **kwargs: Any,
    ):
        _check_options(
            num_keypoints,
            output_stride=output_stride,
            radius=radius,
            loss_weights=loss_weights,
            keypoint_names=keypoint_names,
            flip_test=flip_test,
            flip_pairs=flip_pairs,
            upsampling_filters=upsampling_filters,
        )
        _check(backbone, num_keypoints, radius)
        backbone = levels.at_stride(backbone, output_stride)
        features, stride = _upsampled(
            backbone, output_stride, upsampling_filters
        )
        middle, middle_stride = _middle_of_conv4(backbone)
        height, width = backbone.input.shape[1:3]

        # === Layers ===
        # Float32: bfloat16 cannot tell offsets of 25 and 25.1 pixels apart.
        share = min(0.5, math.pi * radius**2 / (height * width))
        heatmaps, auxiliary = (
            layers.Conv2D(
                num_keypoints,
                1,
                strides=strides,
                # So that a heat map starts at the share of a crop in a disk.
                bias_initializer=keras.initializers.Constant(
                    math.log(share / (1 - share))
                ),
                dtype="float32",
                name=layer,
            )
            for layer, strides in (
                ("head_heatmaps", 1),
                # Skips features of conv4 if they are denser than the output.
                (
                    "head_auxiliary",
                    max(round(middle.shape[1] / features.shape[1]), 1),
                ),
            )
        )
        offsets = keras.layers.Conv2D(
            2 * num_keypoints, 1, dtype="float32", name="head_offsets"
        )
        outputs = keras.layers.Concatenate(dtype="float32", name="head_outputs")

        # === Functional model ===
        auxiliary = auxiliary(middle)
        if auxiliary.shape[1:3] != features.shape[1:3]:
            auxiliary = Resample(
                middle_stride, stride, dtype="float32", name="head_upsampling"
            )(auxiliary, backbone.input)
        super().__init__(
            inputs=backbone.input,
            outputs=outputs([heatmaps(features), offsets(features), auxiliary]),
            name=name,
            **kwargs,
        )

        # === Config ===
        self.backbone = backbone
        self.num_keypoints = num_keypoints
        self.output_stride = output_stride
        self.radius = radius
        self.loss_weights = tuple(loss_weights)
        self.keypoint_names = tuple(keypoint_names)
        self.flip_test = flip_test
        self.flip_pairs = flip_pairs
        self.upsampling_filters = upsampling_filters
        self.logits_stride = stride

    @property
    def image_size(self) -> tuple[int, int]:
        """Return `(H, W)` of the crops."""
        return tuple(self.input.shape[1:3])

    def targets(self, batch: Batch) -> Any:
        """Return keypoints `(B, P, K, 3)`: of the person, then of others."""
        people = self.entry(batch, "keypoints")[:, None]
        if people.shape[2] != self.num_keypoints:
            raise ValueError(
                "`keypoints` must have "
                f"{number_of(self.num_keypoints, 'keypoint')}, as the "
                f"model has. Received: shape {tuple(people.shape[::2])}. Build "
                "the model with `num_keypoints=len(data.info.keypoint_names)`."
            )
        others = batch.get("bounding_boxes", {}).get("keypoints")
        if others is None:
            return people
        return ops.concatenate([people, others[:, 1:]], axis=1)

    def default_loss(self) -> Any:
        """Return `PoseLoss` at the size of the crops."""
        return PoseLoss(
            self.image_size, self.logits_stride, self.radius, self.loss_weights
        )

    def views(self, images: Tensor) -> Tensor:
        """Return the crops, followed by mirror images if `flip_test`."""
        if not self.flip_test:
            return images
        return ops.concatenate([images, ops.flip(images, axis=2)], axis=0)

    def decode(self, outputs: Tensor, images: Tensor) -> Any:
        """Return keypoints by Hough voting, and the score of each pose."""
        if tuple(images.shape[1:3]) != self.image_size:
            raise ValueError(
                f"Crops must be {self.image_size} pixels, height and width. "
                f"Received: shape {tuple(images.shape)}. Make them by "
                "`transforms.CropPerson(model.image_size)`."
            )
        heat, offsets = decoding.maps(
            outputs, self.image_size, self.logits_stride
        )
        scores = decoding.vote(heat, offsets, self.radius)
        if self.flip_test:
            count = ops.shape(images)[0]
            order = sides.mirrored(
                self.keypoint_names, self.flip_pairs, self.num_keypoints
            )
            other = ops.take(ops.flip(scores[count:], axis=-1), order, axis=1)
            scores = (scores[:count] + other) / 2
        return decoding.best(scores)

    def heatmaps(self, images: Tensor) -> np.ndarray:
        """Return heat maps `(B, K, H, W)` in 0..1 as NumPy, to look at.

        Args:
            images: Crops `(B, H, W, 3)` in 0..255.
        """
        outputs = self.predict_on_batch(images, logits=True)
        heat, _ = decoding.maps(
            ops.convert_to_tensor(outputs), self.image_size, self.logits_stride
        )
        return ops.convert_to_numpy(heat)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_keypoints": self.num_keypoints,
            "output_stride": self.output_stride,
            "radius": self.radius,
            "loss_weights": list(self.loss_weights),
            "keypoint_names": list(self.keypoint_names),
            "flip_test": self.flip_test,
            "flip_pairs": self.flip_pairs
            and [[*pair] for pair in self.flip_pairs],
            "upsampling_filters": self.upsampling_filters,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a model with these arguments."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _check(backbone, num_keypoints, radius):
    size = backbone.input.shape[1:3]
    if None in size:
        raise ValueError(
            "`backbone` must take crops of one size. Received one for images "
            f"of shape {tuple(backbone.input.shape[1:])}. Build it with "
            "`image_shape=(353, 257, 3)`, or use "
            "`backbone.rebuild(image_shape=(353, 257, 3))`."
        )
    if num_keypoints < 1 or not 0 < radius <= max(size):
        raise ValueError(
            "`num_keypoints` must be above 0, and `radius` above 0 and no "
            f"longer than a side of the crop, {size[0]} pixels high and "
            f"{size[1]} wide. Received: num_keypoints="
            f"{num_keypoints}, radius={radius}."
        )


def _check_names(num_keypoints, keypoint_names, flip_test, flip_pairs):
    names = len(keypoint_names)
    needed = flip_test and flip_pairs is None
    # The number of keypoints may not be known yet.
    if names not in ((num_keypoints,) if needed else (0, num_keypoints)):
        raise ValueError(
            "`keypoint_names` must name every keypoint; without `flip_test` "
            f"you may leave them out. Received: {number_of(names, 'name')}, "
            "num_keypoints="
            f"{num_keypoints}, flip_test={flip_test}. Pass "
            "`data.info.keypoint_names`."
        )
    if num_keypoints is not None and (flip_test or flip_pairs is not None):
        sides.mirrored(keypoint_names, flip_pairs, num_keypoints)


def _middle_of_conv4(backbone):
    """Return the output of unit 9 of conv4's 23, or P4 of another backbone.

    With fewer units, the one as far into conv4. Unit 9 ends at layer 49 of 101;
    the paper says 50. A net without a P4 has its last features instead. The
    second value is the stride of the features.
    """
    if "P4" not in backbone.pyramid_outputs:
        return backbone.output, backbone.output_stride
    units = [
        layer
        for layer in backbone.layers
        if re.fullmatch(r"conv4_\d+_out", layer.name)
    ]
    if not units:
        return backbone.pyramid_outputs["P4"], backbone.strides["P4"]
    middle = units[max(round(len(units) * 9 / 23), 1) - 1].output
    return middle, backbone.strides["P4"]


def _upsampled(backbone, wanted, filters):
    """Return the last features at about the wanted stride, and their stride."""
    x, stride = backbone.output, backbone.output_stride
    options = {"dtype": backbone.dtype_policy}
    for i in range(max(round(math.log2(stride / wanted)), 0)):
        name = f"head_upsampling_{i + 1}"
        x = keras.layers.Conv2DTranspose(
            filters,
            4,
            2,
            padding="same",
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.001),
            name=f"{name}_conv",
            **options,
        )(x)
        x = layers.FusedBatchNormalization(
            momentum=0.9, epsilon=1e-5, name=f"{name}_bn", **options
        )(x)
        x = keras.layers.ReLU(name=f"{name}_relu", **options)(x)
        stride = stride // 2 if stride % 2 == 0 else stride / 2
    size = tuple(math.ceil(n / stride) for n in backbone.input.shape[1:3])
    if x.shape[1:3] != size:  # They go beyond the end of the image.
        x = Resample(stride, stride, name="head_trim", **options)(
            x, backbone.input
        )
    return x, stride


def _check_options(
    num_keypoints,
    *,
    output_stride,
    radius,
    loss_weights,
    keypoint_names,
    flip_test,
    flip_pairs,
    upsampling_filters,
    **_,
):
    checks.number("upsampling_filters", upsampling_filters, 1, whole=True)
    checks.one_of("output_stride", output_stride, head.OUTPUT_STRIDES)
    checks.number("radius", radius, 0, above=True)
    checks.numbers_of("loss_weights", loss_weights, 0)
    if len(loss_weights) != 2:
        raise ValueError(
            "`loss_weights` must be two numbers, for heat maps and offsets. "
            f"Received: loss_weights={loss_weights}."
        )
    if num_keypoints is None:
        num_keypoints = len(keypoint_names) or None
    _check_names(num_keypoints, keypoint_names, flip_test, flip_pairs)


HEAD = head.Head(build=PoseEstimator, task="pose", check_options=_check_options)
