"""Fine-tune a detector on a folder in COCO's or VOC's format.

    python examples/detection.py --images DIR --checkpoint backbone.keras

DIR holds `annotations/instances_train*.json` and the folders of images (COCO),
or `Annotations`, `JPEGImages` and `ImageSets` (`--format voc`). The checkpoint
is a backbone that `examples/pretrain.py` wrote, or "imagenet" for a ResNet of
`--depth` from keras.applications; without it the backbone starts from random
weights. `--mode frozen` only trains conv5 and the heads, as the paper does.
Writes `metrics.json`, `model.keras`, `detections.png` and, if images have COCO
ids, `results.json` for COCO's evaluation server; the same command goes on from
`checkpoints` where it was interrupted.
"""

import argparse
import json
import pathlib

import keras
import matplotlib

matplotlib.use("Agg")

import numpy as np

import keras_jft as jft
from keras_jft import checks
from keras_jft.data import transforms
from keras_jft.transfer.trainer import FIRST_TRAINED

SPLITS = {"coco": ("train", "val"), "voc": ("trainval", "test")}


def backbone_of(arguments, image_shape):
    if arguments.checkpoint == "imagenet":
        return jft.ResNet.from_depth(
            arguments.depth, weights="imagenet", image_shape=image_shape
        )
    if arguments.checkpoint:
        return keras.saving.load_model(arguments.checkpoint)
    return jft.pretrain.backbone(
        jft.pretrain.Config(image_size=image_shape[:2], seed=arguments.seed)
    )


def configs(arguments, size):
    """Return the configs of the transfer and the evaluation."""
    splits = arguments.splits or SPLITS[arguments.format]
    data = {
        "dataset": arguments.format,
        "options": {
            "directory": str(arguments.images),
            "on_error": "drop",
        },
    }
    resized = transforms.Resize(size)
    options = json.loads(arguments.head_options)
    transfer = jft.transfer.Config(
        **data,
        head=arguments.head,
        head_options=options,
        split=splits[0],
        mode=arguments.mode,
        transforms=(resized, transforms.RandomFlip()),
        image_size=size,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        clipnorm=10.0,
        seed=arguments.seed,
    )
    evaluation = jft.evaluation.Config(
        **data,
        task="detection",
        split=splits[1],
        transforms=(resized,),
        batch_size=arguments.batch_size,
    )
    return transfer, evaluation


def picture(config, model, examples, count, threshold):
    """Plot the first test images: true boxes beside detections."""
    some = examples.take(range(min(count, len(examples))))
    shown = [config.transforms[0](example) for example in some]
    found = model.predict(
        np.stack([example["images"] for example in shown]),
        batch_size=1,
        verbose=0,
    )
    return jft.evaluation.plot_detections(
        [example["images"] for example in shown],
        [example["bounding_boxes"] for example in shown],
        found,
        examples.info.label_names,
        threshold=threshold,
    )


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=pathlib.Path, required=True)
    parser.add_argument("--format", default="coco", choices=SPLITS)
    parser.add_argument("--splits", nargs=2, help="training and test split")
    parser.add_argument("--checkpoint", help='a file, or "imagenet"')
    parser.add_argument("--depth", type=int, default=101)
    heads = [n for n, h in jft.transfer.HEADS.items() if h.task == "detection"]
    parser.add_argument("--head", default="faster_rcnn", choices=heads)
    parser.add_argument("--head-options", default="{}", help="JSON")
    parser.add_argument("--mode", default="fine_tuned", choices=FIRST_TRAINED)
    parser.add_argument("--image-size", type=int, nargs=2, default=(96, 128))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--pictures", type=int, default=3)
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tensorboard", action="store_true")
    parser.add_argument("--output", default="runs/detection", type=pathlib.Path)
    return parser.parse_args()


def main():
    arguments = parse()
    size = tuple(arguments.image_size)
    transfer, evaluation = configs(arguments, size)
    examples = jft.data.load(
        evaluation.dataset, split=evaluation.split, **evaluation.options
    )
    callbacks = jft.evaluation.run_callbacks(
        arguments.output / "checkpoints",
        (transfer, arguments.checkpoint),
        evaluation,
        examples,
        tensorboard=arguments.tensorboard,
    )
    model = jft.transfer.run(
        transfer, backbone_of(arguments, (*size, 3)), callbacks=callbacks
    )
    scores = jft.evaluation.run(evaluation, model, examples)

    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    metrics = {
        name: None if np.isnan(value) else value
        for name, value in scores.items()
        if np.ndim(value) == 0
    }
    names = examples.info.label_names
    metrics["ap50_by_class"] = {
        name: None if np.isnan(value) else value
        for name, value in zip(
            names, scores["per_class_ap50"].tolist(), strict=True
        )
    }
    metrics |= {"mode": arguments.mode, "seed": arguments.seed}
    metrics["checkpoint"] = arguments.checkpoint or "random"
    path = output / "metrics.json"
    path.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    model.save(output / "model.keras")
    picture(
        evaluation, model, examples, arguments.pictures, arguments.threshold
    ).savefig(output / "detections.png", dpi=100)
    if examples.info.category_ids is not None:
        jft.evaluation.save_detections(
            output / "results.json", evaluation, model, examples
        )
    print(path.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    with checks.on_command_line():
        main()
