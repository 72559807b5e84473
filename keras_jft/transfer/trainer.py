"""One transfer run: from a backbone to a model trained for one task."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_jft import checks, data, training
from keras_jft.data.dataset import Dataset, Info
from keras_jft.transfer.freezing import freeze
from keras_jft.transfer.heads import HEADS

MODES = ("frozen", "fine_tuned")  # The two that the paper compares.
# For each mode, the first stage that is trained.
FIRST_TRAINED = {"probe": "head", "frozen": "conv5", "fine_tuned": "conv1"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(training.Optimization):
    """A transfer run, by default of a small net on images of 32 pixels.

    Its other fields (optimizer, learning rate, batch size, length and so on)
    are those of `jft.training.Optimization`, documented there.

    Attributes:
        head: A name in `HEADS`.
        head_options: Arguments for the head's `build`, apart from the backbone
            and `num_classes`.
        num_classes: Number of classes; None: read it from the data set.
        mode: `"frozen"` trains conv5 and the head, as in the paper;
            `"fine_tuned"` trains everything; `"probe"` trains only the head.
        dataset: A name in `jft.data.DATASETS`.
        options: Arguments for `load` of that data set, apart from `split`.
        split: The split to train on.
        num_examples: Size of the nested subset that `seed` draws. None:
            all examples.
        seed: Draws the subset, the head's weights and the augmentations.
        transforms: A name in `jft.data.TRANSFORMS`, or a tuple of transforms.
        image_size: Height and width that the model sees.
        dtype: A Keras dtype policy, or `"fastest"`.
        multipliers: Learning-rate factors by layer, or `"layerwise:0.75"` by
            stage of the backbone, as `Model.compile` takes them.

    Raises:
        ValueError: If a name or an option is unknown, a value has the wrong
            type or is out of range, the transforms give images of another size
            than `image_size`, or not exactly one of `epochs` and `steps` is
            given.
    """

    head: str = "classification"
    head_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    num_classes: int | None = None
    mode: str = "fine_tuned"
    dataset: str = "synthetic"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    split: str | None = "train"
    num_examples: int | None = None
    seed: int = 0
    transforms: str | tuple = "flip"
    image_size: tuple[int | None, int | None] = (32, 32)
    dtype: str = "fastest"
    multipliers: Mapping[str, float] | str = dataclasses.field(
        default_factory=dict
    )
    batch_size: int = 32
    epochs: int | None = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("head", self.head, HEADS)
        checks.one_of("mode", self.mode, FIRST_TRAINED)
        checks.keywords(
            "head_options",
            self.head_options,
            HEADS[self.head].build,
            taken=("backbone", "num_classes", "num_keypoints"),
        )
        checks.within(self, 1, math.inf, "num_examples", "num_classes")
        HEADS[self.head].check(self.num_classes, self.head_options)
        checks.within(self, 0, 2**32 - 1, "seed")
        data.check_options(
            self.dataset,
            self.options,
            split=self.split,
            num_examples=self.num_examples,
        )
        data.check_transforms(self.transforms, self.image_size)
        training.check_dtype_policy(self.dtype)
        training.check_multipliers(self.multipliers)


def run(
    config: Config,
    backbone: keras.Model,
    examples: Dataset | None = None,
    model: training.Model | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
) -> training.Model:
    """Train one head on a backbone and return the model.

    Args:
        config: A `Config`.
        backbone: A backbone; it is copied, not changed.
        examples: The data set of `config.dataset`, if it is loaded already.
        model: The model of an earlier run whose config differs only in `seed`.
            It is reset to fresh weights and trained again, which saves
            compiling another model; what it had learned is lost.
        callbacks: As in `keras.Model.fit`.
        verbose: As in `keras.Model.fit`.

    Returns:
        The trained model.
    """
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
    )
    fresh = build(config, backbone, examples.info)
    if model is None:
        model = fresh
        steps = (config.epochs or 0) * len(batches)
        model.compile(**compile_arguments(config, steps))
    else:
        training.reset(model, fresh)
    training.fit(model, batches, config, callbacks, verbose=verbose)
    return model


def build(
    config: Config, backbone: keras.Model, info: Info | None = None
) -> training.Model:
    """Return the untrained model of a config, on a copy of `backbone`.

    Args:
        config: A `Config`.
        backbone: A backbone; the model gets a copy.
        info: `info` of the data set, needed if `config.num_classes` is None.
    """
    num_classes = config.num_classes or _num_classes(config, info)
    with training.dtype_policy(config.dtype):
        backbone = backbone.rebuild(
            image_shape=(*config.image_size, 3),
            dtype=keras.config.dtype_policy().name,
        )
        model = HEADS[config.head].build(
            backbone, num_classes, **config.head_options
        )
    return freeze(model, before=FIRST_TRAINED[config.mode])


def compile_arguments(config, steps=None):
    """Return the arguments of `Model.compile` for a `Config`."""
    return {
        "optimizer": config.build_optimizer(steps),
        "l2": config.l2,
        "multipliers": config.multipliers,
    }


def _num_classes(config, info):
    names = {
        "segmentation": info.mask_names,
        "pose": info.keypoint_names,
    }.get(HEADS[config.head].task, info.label_names)
    if not names:
        raise ValueError(
            f"The data set {config.dataset!r} has no class names for the head "
            f"{config.head!r}. Give `num_classes`."
        )
    return len(names)
