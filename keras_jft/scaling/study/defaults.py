"""Settings of a study that follow from its data.

They are starting points for small nets on few images, and each can be set.
"""

import numpy as np

from keras_jft import data as data_lib
from keras_jft.data.transforms import CropPerson, RandomFlip, Resize
from keras_jft.transfer import RECIPES

HEADS = {
    "classification": "classification",
    "multi_label": "multi_label",
    "detection": "faster_rcnn",
    "segmentation": "deeplab_aspp",
    "pose": "pose",
}
NUM_SIZES = 5  # Besides random initialization.
FEWEST = 80  # Images with which five sizes differ and fill batches.
_LARGEST = 32  # The largest size is so many times the smallest, at most 100.
_LOOKED_AT = 48  # Images whose sizes are looked at.
_SIDES = (32, 48, 64, 96, 128, 160, 192, 224)
# The most pixels of a side where there is no accelerator: of whole images, and
# of images with things in them.
_CPU = {"classification": 48, "detection": 96, "segmentation": 96}
_STEPS = 1_500  # Of pre-training on all images.
_TASK_STEPS = {"classification": 400, "detection": 400, "segmentation": 300}
_RATES = {"classification": 0.02, "multi_label": 0.02, "pose": 0.005}


def sizes_for(num_examples):
    """Return sizes from random initialization, 0, to all images.

    Args:
        num_examples: How many images there are.

    Raises:
        ValueError: There are too few.

    Example:

    >>> sizes_for(4_000)
    (0, 120, 300, 710, 1700, 4000)
    """
    if num_examples < FEWEST:
        raise ValueError(
            "A curve needs pre-training on five sizes of data, so at least "
            f"{FEWEST} images. Received: {num_examples}."
        )
    ratio = min(100, max(_LARGEST, num_examples / 10_000))
    least = max(16, num_examples / ratio)
    found = np.geomspace(least, num_examples, NUM_SIZES)
    return (0, *map(_rounded, found[:-1]), num_examples)


def _rounded(number):
    """Return a whole number of two digits and zeros."""
    return int(float(f"{number:.2g}"))


def image_sizes(data):
    """Return `(n, 2)` heights and widths of some images of a data set."""
    some = data_lib.subset(data, min(len(data), _LOOKED_AT), seed=0)
    return np.array([example["images"].shape[:2] for example in some])


def image_size_for(data, task, *, accelerator):
    """Return the `(H, W)` that a net should see, and why, in words.

    Args:
        data: A `Dataset`.
        task: A key of `jft.metrics.METRICS`.
        accelerator: Whether there is one.
    """
    if task == "pose":
        return (65, 49), "crops of people"
    found = image_sizes(data)
    height, width = np.median(found, axis=0)
    most = 224 if accelerator else _CPU.get(task, _CPU["classification"])
    side = max(s for s in _SIDES if s <= max(32, min(height, width, most)))
    # What is in an image keeps its shape; a whole image is made a square.
    shape = (height, width) if task in ("detection", "segmentation") else (1, 1)
    size = tuple(
        int(16 * max(2, int(side * part / min(shape) / 16 + 0.5)))
        for part in shape
    )
    why = f"images are about {width:.0f} x {height:.0f} pixels"
    if side < min(height, width) and side >= most and not accelerator:
        why += ", and there is no accelerator"
    return size, why


def pretraining(data, given, *, accelerator):
    """Return settings of the pre-training, and sentences on them.

    Args:
        data: The `Dataset`.
        given: Settings that the user has chosen, by name.
        accelerator: Whether there is one.
    """
    is_one = data.info.max_labels is None
    size, why = image_size_for(data, "classification", accelerator=accelerator)
    size = tuple(given.get("image_size", size))
    usual = 16 if len(data) < 2_000 else 32 if len(data) < 20_000 else 64
    batch_size = given.get("batch_size", usual)
    epochs = round(_STEPS * batch_size / len(data))
    settings = {
        "image_size": size,
        "batch_size": batch_size,
        "epochs": int(np.clip(epochs, 4, 30)),
        "learning_rate": 0.03,
        "transforms": (Resize(size), RandomFlip()),
        "loss": "softmax" if is_one else "logistic",
    }
    notes = [f"pre-training at {size[1]} x {size[0]} pixels: {why}"]
    if "steps" in given:
        settings["epochs"] = None
    if "backbone" in given:
        return settings, notes
    if accelerator and min(size) > 64:
        settings |= {"blocks": (3, 4, 6, 3), "width": 64, "block": "bottleneck"}
        settings["stem"] = "imagenet"
    return settings, notes


def transfer(data, task, given, *, accelerator, small):
    """Return settings of a transfer, transforms to evaluate, and sentences.

    Args:
        data: The `Dataset` to train on.
        task: A key of `jft.metrics.METRICS`.
        given: Settings that the user has chosen, by name.
        accelerator: Whether there is one.
        small: Whether the backbone is a `jft.ResNet` for small images, whose
            features are close together.
    """
    size, why = image_size_for(data, task, accelerator=accelerator)
    size = tuple(given.get("image_size", size))
    few = {"segmentation": 8, "pose": 16}
    few |= dict.fromkeys(("classification", "multi_label"), 32)
    batch_size = given.get("batch_size", min(few.get(task, 4), len(data)))
    epochs = round(_TASK_STEPS.get(task, 400) * batch_size / len(data))
    head = given.get("head", HEADS[task])
    settings = {
        "head": head,
        "image_size": size,
        "batch_size": batch_size,
        "epochs": None if "steps" in given else int(np.clip(epochs, 2, 40)),
        "learning_rate": _RATES.get(task, 0.03),
        "transforms": (Resize(size), RandomFlip()),
        "head_options": {},
    }
    shown = (Resize(size),)
    if task == "pose":
        settings["transforms"] = "pose_small"
        if small:
            settings["head_options"] = {"output_stride": 4, "radius": 5.0}
        shown = "pose_small"
        if size != (65, 49):
            shown = (CropPerson(size),)
            settings["transforms"] = (CropPerson(size, scales=(1.0, 1.5)),)
    elif head == "multi_label":
        settings["head_options"] = {"label_prior": _label_prior(data)}
    elif head == "deeplab_aspp" and small:
        options = {"output_stride": 4, "rates": (1, 2, 4, 6)}
        settings["head_options"] = options
    elif head == "faster_rcnn":
        small = RECIPES["faster_rcnn"]["small"].head_options
        settings |= {"learning_rate": 0.01, "clipnorm": 10.0}
        settings["head_options"] = {**small, **_anchors(data, size)}
    elif head in ("retinanet", "yolo_v8"):
        settings |= {"learning_rate": 0.01, "clipnorm": 10.0}
    settings["head_options"] |= given.get("head_options", {})
    note = f"{size[1]} x {size[0]} pixels: {why}"
    return settings, shown, [note]


def _label_prior(data):
    """Return the share of the labels that an image has."""
    rows = data.annotations(np.arange(min(len(data), 1_000)))
    counts = [int((np.asarray(row["labels"]) >= 0).sum()) for row in rows]
    share = np.mean(counts) / len(data.info.label_names)
    return round(float(np.clip(share, 1e-4, 0.5)), 4)


def _anchors(data, size):
    """Return anchors of the sizes and shapes that the boxes of images have."""
    sides = []
    for example in data_lib.subset(
        data, min(len(data), 4 * _LOOKED_AT), seed=0
    ):
        if "bounding_boxes" not in example:
            raise ValueError(
                "`head` 'faster_rcnn' needs images with boxes. Received: "
                f"images with {sorted(example.keys() - {'images'})}."
            )
        boxes = example["bounding_boxes"]["boxes"].reshape(-1, 2, 2)
        scale = np.array(size[::-1]) / example["images"].shape[1::-1]
        sides.append((boxes[:, 1] - boxes[:, 0]) * scale)
    sides = np.concatenate(sides)
    if not len(sides):
        return {}
    lengths = np.sqrt(sides.prod(axis=1))
    base = max(8, round(float(np.median(lengths))))
    scales = np.quantile(lengths, (0.1, 0.5, 0.9)) / base
    ratios = np.quantile(sides[:, 0] / sides[:, 1], (0.1, 0.5, 0.9))
    return {
        "anchor_base": base,
        "anchor_scales": _distinct(scales),
        "anchor_ratios": _distinct(ratios),
    }


def _distinct(numbers):
    return tuple(sorted({max(0.1, round(float(n), 1)) for n in numbers}))


def modes_for(task):
    """Return the modes of a task: where it takes long, the paper's alone."""
    return (
        ("frozen",)
        if task in ("detection", "pose")
        else (
            "frozen",
            "fine_tuned",
        )
    )
