"""One pre-training run: noisy many-label images to a backbone."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_jft import backbones, checks, data, metrics, training
from keras_jft.pretrain import losses
from keras_jft.pretrain.classifier import MultiLabelClassifier

OPTIMIZERS = {
    "momentum": lambda config, rate: keras.optimizers.SGD(
        rate, momentum=config.momentum
    ),
    "rmsprop": lambda config, rate: training.TF1RMSprop(
        rate, rho=0.9, momentum=config.momentum, epsilon=config.epsilon
    ),
}

SCHEDULES = {
    "constant": lambda config, steps: config.learning_rate,
    "staircase": lambda config, steps: (
        keras.optimizers.schedules.ExponentialDecay(
            config.learning_rate,
            config.decay_steps,
            config.decay_rate,
            staircase=True,
        )
    ),
    "cosine": lambda config, steps: training.warmup_cosine(
        config.learning_rate, steps, config.warmup
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A pre-training run. The defaults are those of the small studies.

    Attributes:
        dataset: A name in `jft.data.DATASETS`.
        options: What its `load` takes besides `split`.
        num_examples: Size of the nested subset that is drawn with `seed`; None
            takes all, 0 leaves the initial weights as they are.
        seed: Draws the subset, the initial weights and the augmentations.
        transforms: A name in `jft.data.TRANSFORMS`.
        image_size: Height and width that the backbone sees.
        blocks: Residual blocks of each of the four stages.
        width: Channels of the first stage.
        block: `"basic"` or `"bottleneck"`.
        stem: `"small"` for images of 32 to 64 pixels, else `"imagenet"`.
        bn_momentum: Momentum of the moving statistics. 0.9 where a run has
            tens of steps.
        dtype: A Keras dtype policy, or `"fastest"` for what this machine
            multiplies fastest.
        label_prior: Whether the head's bias starts at the label frequencies.
        optimizer: A name in `OPTIMIZERS`.
        momentum: Of the optimizer.
        epsilon: Of RMSProp, inside the root.
        schedule: A name in `SCHEDULES`.
        learning_rate: The peak.
        warmup: Fraction of the steps over which `"cosine"` warms up.
        decay_steps: Steps of a stair of `"staircase"`.
        decay_rate: Factor of a stair.
        l2: `l2 * kernel` is added to the gradient of each kernel.
        batch_size: Images a step, over all replicas.
        epochs: Passes over the subset.

    Raises:
        ValueError: If a name is unknown or a subset fills no batch.
    """

    dataset: str = "synthetic"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    num_examples: int | None = None
    seed: int = 0
    transforms: str = "flip"
    image_size: tuple[int, int] = (32, 32)
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    width: int = 16
    block: str = "basic"
    stem: str = "small"
    bn_momentum: float = 0.9
    dtype: str = "fastest"
    label_prior: bool = True
    optimizer: str = "momentum"
    momentum: float = 0.9
    epsilon: float = 1e-7
    schedule: str = "cosine"
    learning_rate: float = 0.02
    warmup: float = 0.1
    decay_steps: int = 3_000_000
    decay_rate: float = 0.9
    l2: float = 0.0
    batch_size: int = 64
    epochs: int = 4

    def __post_init__(self):
        checks.one_of("optimizer", self.optimizer, OPTIMIZERS)
        checks.one_of("schedule", self.schedule, SCHEDULES)
        if self.num_examples and self.num_examples < self.batch_size:
            raise ValueError(
                "`num_examples` must fill at least one batch. Received: "
                f"num_examples={self.num_examples}, "
                f"batch_size={self.batch_size}. Lower `batch_size`."
            )


RECIPES = {
    "small": Config(),
    # Section 4.1; RMSProp's constants are TF-Slim's of the time.
    "jft300m": Config(
        dataset="records",
        transforms="jft",
        image_size=(299, 299),
        blocks=(3, 4, 23, 3),
        width=64,
        block="bottleneck",
        stem="imagenet",
        bn_momentum=0.997,
        label_prior=False,
        optimizer="rmsprop",
        momentum=0.9,
        epsilon=1.0,
        schedule="staircase",
        learning_rate=1e-3,
        l2=1e-4,
        batch_size=32,
        epochs=4,
    ),
}


def recipe(name, steps=None):
    """What `Model.compile` takes, for a recipe by name.

    Args:
        name: A key of `RECIPES`.
        steps: Steps of the whole run; a cosine schedule needs them.

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


def compile_arguments(config, steps=None):
    """What `Model.compile` takes, for a `Config` of any run."""
    if config.schedule == "cosine" and steps is None:
        raise ValueError(
            "A cosine schedule needs `steps`, the steps of the whole run. "
            "Received: steps=None."
        )
    rate = SCHEDULES[config.schedule](config, steps)
    return {
        "optimizer": OPTIMIZERS[config.optimizer](config, rate),
        "loss": losses.MultiLabelLoss(),
        "metrics": [metrics.MeanAveragePrecision(k=100)],
        "l2": config.l2,
    }


def run(config, examples=None, verbose="auto"):
    """Trains one classifier and returns its backbone.

    Args:
        config: A `Config`.
        examples: The data set of `config.dataset`, where it is loaded already;
            the subset is drawn from it.
        verbose: As in `keras.Model.fit`.

    Returns:
        The trained backbone.
    """
    if config.num_examples == 0:
        return backbone(config)
    keras.utils.set_random_seed(config.seed)
    if examples is None:
        examples = data.load(config.dataset, **config.options)
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
    steps = config.epochs * len(batches)
    model = classifier(config, examples)
    model.compile(**compile_arguments(config, steps))
    model.fit(batches, epochs=config.epochs, verbose=verbose)
    return model.backbone


def classifier(config, examples):
    """A fresh `MultiLabelClassifier` of a config, for `examples`."""
    prior = _label_frequencies(examples) if config.label_prior else None
    with training.dtype_policy(config.dtype):
        return MultiLabelClassifier(
            backbone(config),
            len(examples.info.label_names),
            label_prior=prior,
        )


def backbone(config):
    """A fresh backbone of a config, of the weights of its seed."""
    keras.utils.set_random_seed(config.seed)
    with training.dtype_policy(config.dtype):
        return backbones.ResNet(
            blocks=config.blocks,
            width=config.width,
            block=config.block,
            stem=config.stem,
            bn_momentum=config.bn_momentum,
            image_shape=(*config.image_size, 3),
        )


def _label_frequencies(examples, chunk=4096):
    """`(C,)` smoothed frequency of each label among the examples."""
    counts = np.zeros(len(examples.info.label_names))
    for start in range(0, len(examples), chunk):
        stop = min(start + chunk, len(examples))
        for example in examples.take(range(start, stop)):
            ids = np.unique(example["labels"])
            counts[ids[ids >= 0]] += 1
    return (counts + 0.5) / (len(examples) + 1)
