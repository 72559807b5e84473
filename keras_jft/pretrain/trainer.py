"""One pre-training run: from images with many noisy labels to a backbone."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_jft import backbones, checks, data, files, metrics, training
from keras_jft.data.dataset import Dataset
from keras_jft.pretrain import losses
from keras_jft.pretrain.classifier import MultiLabelClassifier

LOSSES = {
    "logistic": losses.MultiLabelLoss,
    "asymmetric": losses.AsymmetricLoss,
    "softmax": losses.SoftmaxLoss,
}
NET = ("backbone", "backbone_options", "blocks", "width", "block", "stem")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(training.Optimization):
    """A pre-training run, by default of a small net on images of 32 pixels.

    Its other fields (optimizer, learning rate, batch size, length and so on)
    are those of `jft.training.Optimization`, documented there.

    Attributes:
        dataset: A name in `jft.data.DATASETS`.
        options: Arguments for `load` of that data set, apart from `split`.
        num_examples: Size of the nested subset that `seed` draws. None: all
            examples; 0 skips training and keeps the initial weights.
        seed: Draws the subset, the initial weights and the augmentations.
        transforms: A name in `jft.data.TRANSFORMS`, or a tuple of transforms.
        image_size: Height and width that the backbone sees.
        backbone: A name that `jft.backbones.create` takes. None: a `jft.ResNet`
            built from `blocks`, `width`, `block` and `stem`, which are ignored
            otherwise.
        backbone_options: Arguments of `jft.backbones.create` for that name,
            such as `weights`, `fused` or `alpha`.
        blocks: Residual blocks in each of the four stages.
        width: Channels of the first stage.
        block: `"basic"` or `"bottleneck"`.
        stem: `"small"` for images of 32 to 64 pixels, else `"imagenet"`.
        bn_momentum: Momentum of the moving statistics; use 0.9 for runs of
            only tens of steps.
        dtype: A Keras dtype policy, or `"fastest"` for the one that is fastest
            on this machine.
        label_prior: Whether the head's bias starts at the label frequencies.
        shards: Number of kernels that the head is split into.
        loss: A name in `LOSSES`.
        loss_options: Arguments of the loss.
        mixup: alpha of `jft.data.mixup`; 0 does not mix.
        split: The split to train on; None if the data set has none.
        initial: The pre-training whose backbone this one starts from, such as
            `RECIPES["imagenet"]`, of the same net; or the file of a backbone,
            `*.keras`, whose net takes the place of the one described here;
            None: random weights, unless `backbone_options` has `weights`.
        map_weights: How much each class counts in the mAP@100 of validation:
            "equal", the same, in `map`. Otherwise `weighted_map` takes its
            place: "frequency", as many images as are trained on; or as of
            `jft.evaluation.Config`, the counts of a split or another data set.

    Raises:
        ValueError: If a name or an option is unknown, a value has the wrong
            type or is out of range, the transforms give images of another size
            than `image_size`, the subset does not fill a batch, `initial` is of
            another net, or not exactly one of `epochs` and `steps` is given.
    """

    dataset: str = "synthetic"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    num_examples: int | None = None
    seed: int = 0
    transforms: str | tuple = "flip"
    image_size: tuple[int, int] = (32, 32)
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    width: int = 16
    block: str = "basic"
    stem: str = "small"
    bn_momentum: float = 0.9
    dtype: str = "fastest"
    label_prior: bool = True
    shards: int = 1
    loss: str = "logistic"
    loss_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    mixup: float = dataclasses.field(default=0.0, metadata={"added": True})
    backbone: str | None = dataclasses.field(
        default=None, metadata={"added": True}
    )
    backbone_options: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, metadata={"added": True}
    )
    split: str | None = dataclasses.field(
        default="train", metadata={"added": True}
    )
    initial: "Config | str | None" = dataclasses.field(
        default=None, metadata={"added": True}
    )
    map_weights: str | Mapping[str, Any] = dataclasses.field(
        default="equal", metadata={"added": True}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        data.check_map_weights(self.map_weights)
        checks.one_of("loss", self.loss, LOSSES)
        checks.keywords("loss_options", self.loss_options, LOSSES[self.loss])
        self._check_backbone()
        self._check_initial()
        checks.one_of("block", self.block, backbones.resnet.BLOCKS)
        checks.one_of("stem", self.stem, backbones.resnet.STEMS)
        checks.within(self, 0, math.inf, "num_examples", "mixup")
        checks.within(self, 0, 2**32 - 1, "seed")
        checks.within(self, 1, math.inf, "width", "shards")
        checks.within(self, 0, 1, "bn_momentum")
        if len(self.blocks) != 4 or min(self.blocks) < 1:
            raise ValueError(
                "`blocks` must be four positive numbers, the units in conv2 "
                f"to conv5. Received: blocks={self.blocks}."
            )
        data.check_options(
            self.dataset,
            self.options,
            split=self.split,
            num_examples=self.num_examples,
        )
        data.check_transforms(self.transforms, self.image_size)
        training.check_dtype_policy(self.dtype)
        if self.num_examples and self.num_examples < self.batch_size:
            raise ValueError(
                "`num_examples` must fill at least one batch. Received: "
                f"num_examples={self.num_examples}, "
                f"batch_size={self.batch_size}. Lower `batch_size`."
            )

    def _check_backbone(self):
        if self.backbone is not None:
            backbones.check_name(self.backbone, "backbone")
        elif self.backbone_options:
            raise ValueError(
                "`backbone_options` are for a `backbone` by name. Received: "
                f"backbone=None, backbone_options={self.backbone_options}. Use "
                "`blocks`, `width`, `block` and `stem`, or give `backbone`."
            )
        # Those come from other fields.
        taken = {"image_shape", "dtype", "bn_momentum"} & {
            *self.backbone_options
        }
        if taken:
            raise ValueError(
                f"`backbone_options` must leave out {sorted(taken)}, which "
                "follow from `image_size`, `dtype` and `bn_momentum`."
            )

    def _check_initial(self):
        """Raise `ValueError` if `initial` is a pre-training of another net."""
        if self.initial is None:
            return
        if isinstance(self.initial, str):
            if not self.initial.endswith(".keras"):
                raise ValueError(
                    "`initial` must be another pre-training, or the file of a "
                    f"backbone, which ends in '.keras'. Received: "
                    f"{self.initial!r}."
                )
            return
        other = [
            name
            for name in NET
            if getattr(self, name) != getattr(self.initial, name)
        ]
        if other:
            raise ValueError(
                "`initial` must be a pre-training of the same net. Received: "
                + "; ".join(
                    f"{name}={getattr(self, name)!r}, in `initial` "
                    f"{getattr(self.initial, name)!r}"
                    for name in other
                )
                + "."
            )


_PAPER: dict[str, Any] = {
    "transforms": "jft",
    "image_size": (299, 299),
    "blocks": (3, 4, 23, 3),
    "width": 64,
    "block": "bottleneck",
    "stem": "imagenet",
    "bn_momentum": 0.997,
}
# Section 4.1; the constants of RMSProp are TF-Slim's of that time. Batch size
# and steps are those of one worker of an asynchronous run: with R synchronous
# replicas of 32 images each, divide all numbers of steps by R.
_JFT300M = Config(
    **_PAPER,
    dataset="records",
    label_prior=False,
    shards=50,
    optimizer="rmsprop",
    epsilon=1.0,
    schedule="staircase",
    learning_rate=1e-3,
    l2=1e-4,
    batch_size=32,
)
# Section 4.1, "ImageNet baseline": 1.2M steps are 30 epochs.
_IMAGENET = Config(
    **_PAPER,
    dataset="image_folder",
    label_prior=False,
    loss="softmax",
    schedule="staircase",
    learning_rate=5e-2,
    decay_steps=1_200_000,
    decay_rate=0.1,
    l2=1e-4,
    batch_size=32,
    epochs=None,
    steps=5_000_000,
)
# Goyal et al. 2017, https://arxiv.org/abs/1706.02677 (warm-up, a learning rate
# proportional to the batch size); Loshchilov and Hutter 2017, 2019 (cosine,
# AdamW).
_MODERN = Config(
    **_PAPER,
    dataset="records",
    shards=50,
    loss_options={"label_smoothing": 0.1},
    learning_rate=0.1,
    base_batch_size=256,
    warmup=0.05,
    l2=5e-5,
    batch_size=256,
)

RECIPES = {
    "small": Config(),
    "jft300m": _JFT300M,
    "imagenet": _IMAGENET,
    # Section 5.1: as the baseline, from a JFT-300M checkpoint.
    "imagenet_finetune": dataclasses.replace(
        _IMAGENET, learning_rate=1e-3, steps=4_000_000
    ),
    "modern": _MODERN,
    "modern_adamw": dataclasses.replace(
        _MODERN,
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=0.05,
        l2=0.0,
    ),
}


def recipe(name: str, steps: int | None = None) -> dict[str, Any]:
    """Return the arguments of `Model.compile` for a recipe.

    Args:
        name: A key of `RECIPES`.
        steps: Steps of the whole run. Required by cosine and polynomial
            schedules if the recipe gives epochs.

    Returns:
        A dict with `optimizer`, `loss`, `metrics` and `l2`.

    Raises:
        ValueError: If the name is unknown, or `steps` is missing.

    Example:

    >>> arguments = keras_jft.pretrain.recipe("jft300m")
    >>> sorted(arguments)
    ['l2', 'loss', 'metrics', 'optimizer']
    """
    checks.one_of("name", name, RECIPES)
    return compile_arguments(RECIPES[name], steps)


def compile_arguments(config, steps=None, *, many=False, class_weights=None):
    """Return the arguments of `Model.compile` for a `Config`.

    Args:
        config: A `Config`.
        steps: Steps of the whole run, if the config counts epochs.
        many: Whether an image may have several labels, whatever the loss.
        class_weights: `(C,)` numbers by which the metric weighs classes; None:
            all count the same.
    """
    many = many or config.mixup or config.loss != "softmax"
    return {
        "optimizer": config.build_optimizer(steps),
        "loss": LOSSES[config.loss](**config.loss_options),
        "metrics": _metrics(many, class_weights),
        "l2": config.l2,
    }


def _metrics(many, class_weights):
    if many and class_weights is not None:
        return [
            metrics.MeanAveragePrecision(
                k=100, class_weights=class_weights, name="weighted_map"
            )
        ]
    if many:
        return [metrics.MeanAveragePrecision(k=100)]
    return [
        keras.metrics.SparseCategoricalAccuracy(name="top1"),
        keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5"),
    ]


def run(
    config: Config,
    examples: Dataset | None = None,
    *,
    initial: keras.Model | None = None,
    validation: Dataset | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
) -> keras.Model:
    """Train one classifier and return its backbone.

    Args:
        config: A `Config`.
        examples: The data set of `config.dataset`, if it is loaded already; the
            subset is drawn from it.
        initial: A backbone to start from; it is copied, not changed. None:
            that of `config.initial`, which is trained first, or random weights.
        validation: The `validation_data` for `fit`.
        callbacks: As in `keras.Model.fit`.
        verbose: As in `keras.Model.fit`.

    Returns:
        The trained backbone.
    """
    if initial is None and isinstance(config.initial, Config):
        initial = run(config.initial, verbose=verbose)
    if config.num_examples == 0:
        return backbone(config, initial)
    keras.utils.set_random_seed(config.seed)
    if examples is None:
        examples = data.load(
            config.dataset, split=config.split, **config.options
        )
    if config.num_examples is not None:
        examples = data.subset(
            examples, num_examples=config.num_examples, seed=config.seed
        )
    batches = data.batches(
        examples,
        batch_size=config.batch_size,
        transforms=config.transforms,
        training=True,
        seed=config.seed,
        mixup=config.mixup,
    )
    own = config.map_weights == "frequency"
    counts = None
    if config.label_prior or own:
        counts = data.label_counts(examples)
    weights = counts
    if not own:
        weights = data.class_weights(
            config.map_weights, examples.info, config.dataset, config.options
        )
    model = classifier(config, examples, initial, counts)
    arguments = compile_arguments(
        config,
        steps=(config.epochs or 0) * len(batches),
        many=examples.info.max_labels is not None,
        class_weights=weights,
    )
    model.compile(**arguments)
    training.fit(
        model,
        batches,
        config,
        callbacks=callbacks,
        validation_data=validation,
        verbose=verbose,
    )
    return model.backbone


def classifier(
    config: Config,
    examples: Dataset,
    initial: keras.Model | None = None,
    class_counts: np.ndarray | None = None,
) -> MultiLabelClassifier:
    """Return an untrained `MultiLabelClassifier` for a data set's labels.

    Args:
        config: A `Config`.
        examples: The data set.
        initial: A backbone whose weights are copied.
        class_counts: `(C,)` examples with each label, if they are known.
    """
    prior = None
    if config.label_prior:
        if class_counts is None:
            class_counts = data.label_counts(examples)
        prior = (class_counts + 0.5) / (len(examples) + 1)
    with training.dtype_policy(config.dtype):
        return MultiLabelClassifier(
            backbone(config, initial),
            len(examples.info.label_names),
            shards=config.shards,
            label_prior=prior,
        )


def backbone(config: Config, initial: keras.Model | None = None) -> keras.Model:
    """Return the backbone that a pre-training begins with.

    Args:
        config: A `Config`. Weights are drawn by its `seed`, unless `initial` is
            a file, or `backbone_options` has `weights`.
        initial: A backbone whose weights are copied instead.

    Raises:
        ValueError: The file that `config.initial` names has no backbone.
    """
    keras.utils.set_random_seed(config.seed)
    if initial is None and isinstance(config.initial, str):
        initial = _loaded(config.initial)
    arguments: dict[str, Any] = {
        "image_shape": (*config.image_size, 3),
        "bn_momentum": config.bn_momentum,
    }
    with training.dtype_policy(config.dtype):
        policy = keras.config.dtype_policy().name
        if initial is not None:
            return initial.rebuild(**arguments, dtype=policy)
        if config.backbone is not None:
            return backbones.create(
                config.backbone,
                **arguments,
                dtype=policy,
                **config.backbone_options,
            )
        return backbones.ResNet(
            blocks=config.blocks,
            width=config.width,
            block=config.block,
            stem=config.stem,
            **arguments,
        )


def _loaded(path):
    """Return the backbone of a file; raise `ValueError` if it has none."""
    if not files.is_file(path):
        raise ValueError(
            f"There is no backbone {path!r}. `jft.pretrain.run(...)` returns "
            "one, whose `save` writes such a file."
        )
    with files.local_copy(path) as copy:
        found = keras.saving.load_model(copy, compile=False)
    if not hasattr(found, "rebuild"):
        raise ValueError(
            f"{path!r} must have a backbone, as `jft.backbones` makes them, "
            f"alone. Received: a {type(found).__name__}."
            + " Save its `backbone`."
            * hasattr(found, "backbone")
        )
    return found
