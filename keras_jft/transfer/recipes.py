"""Recipes: the settings of published transfers, by head and name."""

import dataclasses
from typing import Any

from keras_jft import checks
from keras_jft.data.transforms import (
    PadTo,
    RandomFlip,
    Resize,
    ResizeShortest,
)
from keras_jft.transfer import trainer
from keras_jft.transfer.trainer import Config

# Sun et al. 2017, section 4.1, "ImageNet baseline": 1.2M steps are 30 epochs.
_IMAGENET = Config(
    head="classification",
    num_classes=1000,
    dataset="image_folder",
    transforms="jft",
    image_size=(299, 299),
    schedule="staircase",
    learning_rate=5e-2,
    decay_steps=1_200_000,
    decay_rate=0.1,
    l2=1e-4,
    batch_size=32,
    epochs=None,
    steps=5_000_000,
)

# Sun et al. 2017, section 5.2. Add to `options` the `directory`, and `exclude`
# with the ids of minival*.
_COCO = Config(
    head="faster_rcnn",
    num_classes=80,
    dataset="coco",
    split="train2014+val2014",
    transforms="detection",
    image_size=(None, None),
    schedule="piecewise",
    learning_rate=4e-4,
    boundaries=(2_500_000,),
    decay_rate=0.1,
    clipnorm=10.0,
    batch_size=1,
    epochs=None,
    steps=3_000_000,
)

# Batch size and steps are those of one worker of an asynchronous run: with R
# synchronous replicas of that batch size each, divide all numbers of steps by
# R. Keep the learning rate: with it, each of the paper's 9 workers pushed
# gradients of one image at a time.
RECIPES = {
    "classification": {
        "small": Config(),
        "imagenet": _IMAGENET,
        # Section 5.1: as the baseline, from a JFT-300M checkpoint.
        "imagenet_finetune": dataclasses.replace(
            _IMAGENET, learning_rate=1e-3, steps=4_000_000
        ),
    },
    "deeplab_aspp": {
        "small": Config(head="deeplab_aspp"),
        # Section 5.3: warped to 513, no augmentation. It does not mention
        # multipliers and batch normalization; these are from the public
        # DeepLab of Chen et al. 2017, https://arxiv.org/abs/1606.00915. To pad
        # instead: `transforms=(ResizeShortest(513, 513), PadTo((513, 513)))`.
        "voc2012": Config(
            head="deeplab_aspp",
            head_options={"bn_mode": "affine"},
            num_classes=21,
            dataset="voc_segmentation",
            split="trainaug",
            transforms=(Resize((513, 513)),),
            image_size=(513, 513),
            schedule="polynomial",
            learning_rate=1e-3,
            power=0.9,
            l2=5e-4,
            multipliers={"aspp": 10.0, "aspp/bias": 20.0},
            batch_size=6,
            epochs=None,
            steps=30_000,
        ),
    },
    "faster_rcnn": {
        "small": Config(
            head="faster_rcnn",
            options={"task": "detection", "image_size": 64},
            head_options={
                "rpn_filters": 64,
                "head_samples": 32,
                "num_proposals": 100,
                "crop_size": 8,
            },
            image_size=(64, 64),
            clipnorm=10.0,
            batch_size=8,
        ),
        "coco": _COCO,
        "coco_frozen": dataclasses.replace(
            _COCO, mode="frozen", boundaries=(900_000,), steps=1_500_000
        ),
        "voc": dataclasses.replace(
            _COCO,
            num_classes=20,
            dataset="voc",
            options={"years": (2007, 2012)},
            split="trainval",
            learning_rate=3e-4,
            boundaries=(500_000,),
            steps=700_000,
        ),
    },
    "pose": {
        "small": Config(
            head="pose",
            head_options={"output_stride": 4, "radius": 5.0},
            options={"task": "pose", "image_size": 64},
            transforms="pose_small",
            image_size=(65, 49),
            learning_rate=0.005,
        ),
        # Section 5.4. The learning rate, which it does not print, and the
        # batch size are those of Papandreou et al. 2017,
        # https://arxiv.org/abs/1701.01779.
        "coco": Config(
            head="pose",
            num_classes=17,
            dataset="coco_people",
            split="train2017",
            transforms="pose",
            image_size=(353, 257),
            schedule="piecewise",
            learning_rate=0.005,
            boundaries=(250_000,),
            decay_rate=0.1,
            batch_size=24,
            epochs=None,
            steps=450_000,
        ),
    },
    "deeplab_v3_plus": {
        "small": Config(head="deeplab_v3_plus"),
        # Chen et al. 2018, section 4: the schedule of Chen et al. 2017,
        # https://arxiv.org/abs/1706.05587, sections 4.1 and A. Crops are 512
        # instead of 513; the L2 is that of TensorFlow's public DeepLab for
        # ResNets.
        "voc2012": Config(
            head="deeplab_v3_plus",
            num_classes=21,
            dataset="voc_segmentation",
            split="trainaug",
            transforms=(RandomFlip(), Resize((512, 512))),
            image_size=(512, 512),
            schedule="polynomial",
            learning_rate=7e-3,
            power=0.9,
            l2=1e-4,
            batch_size=16,
            epochs=None,
            steps=30_000,
        ),
    },
    "retinanet": {
        "small": Config(
            head="retinanet",
            options={"task": "detection", "image_size": 64},
            image_size=(64, 64),
            clipnorm=10.0,
            batch_size=8,
        ),
        # Lin et al. 2017, section 4: a learning rate of 0.01 for 16 images per
        # step, divided by 10 at 60k and 80k of 90k steps.
        "coco": Config(
            head="retinanet",
            num_classes=80,
            dataset="coco",
            transforms=(
                ResizeShortest(640, 640),
                RandomFlip(),
                PadTo((640, 640)),
            ),
            image_size=(640, 640),
            schedule="piecewise",
            learning_rate=1e-2,
            boundaries=(60_000, 80_000),
            decay_rate=0.1,
            l2=1e-4,
            batch_size=16,
            epochs=None,
            steps=90_000,
        ),
    },
    "yolo_v8": {
        "small": Config(
            head="yolo_v8",
            options={"task": "detection", "image_size": 64},
            image_size=(64, 64),
            clipnorm=10.0,
            batch_size=8,
        ),
    },
}


def recipe(head: str, name: str, steps: int | None = None) -> dict[str, Any]:
    """Return the arguments of `Model.compile` for a head's recipe.

    Args:
        head: A key of `HEADS`.
        name: A key of `RECIPES[head]`.
        steps: Steps of the whole run. A cosine schedule needs them if the
            recipe counts epochs.

    Returns:
        A dict with `optimizer`, `l2` and `multipliers`. The model has its own
        loss and metrics.

    Raises:
        ValueError: If the recipe is unknown, or `steps` is missing.

    Example:

    >>> arguments = keras_jft.transfer.recipe("deeplab_aspp", "voc2012")
    >>> arguments["l2"], arguments["multipliers"]
    (0.0005, {'aspp': 10.0, 'aspp/bias': 20.0})
    """
    checks.one_of("head", head, RECIPES)
    checks.one_of("name", name, RECIPES[head])
    return trainer.compile_arguments(RECIPES[head][name], steps)
