"""Fine-tune a classifier on a folder of images, from any checkpoint.

    python examples/classification.py --images DIR --checkpoint backbone.keras

DIR holds `train` and `val`, each with one folder of images per class. The
checkpoint is one that `examples/pretrain.py` wrote; without it the backbone
starts from random weights. `--mode probe` only trains the head, `--mode frozen`
conv5 and the head. Writes `metrics.json` (single-crop top-1 and top-5),
`model.keras` and, for serving, the SavedModel `served`; the same command goes
on from `checkpoints` where it was interrupted.
"""

import argparse
import json
import pathlib

import keras

import keras_jft as jft
from keras_jft import checks
from keras_jft.data import transforms
from keras_jft.transfer.trainer import FIRST_TRAINED


def transforms_of(size):
    """Return the paper's transforms, for training and for evaluation."""
    resized = transforms.Resize((round(size * 340 / 299),) * 2)
    crop = (size, size)
    return (
        (resized, transforms.RandomCrop(crop), transforms.RandomFlip()),
        (resized, transforms.CenterCrop(crop)),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=pathlib.Path, required=True)
    parser.add_argument("--checkpoint", type=pathlib.Path)
    parser.add_argument("--mode", default="fine_tuned", choices=FIRST_TRAINED)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=0.02)
    parser.add_argument("--label-smoothing", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tensorboard", action="store_true")
    parser.add_argument(
        "--output", default="runs/classification", type=pathlib.Path
    )
    arguments = parser.parse_args()

    size = (arguments.image_size, arguments.image_size)
    training, evaluation = transforms_of(arguments.image_size)
    data = {
        "dataset": "image_folder",
        "options": {"directory": str(arguments.images)},
    }
    if arguments.checkpoint:
        backbone = keras.saving.load_model(arguments.checkpoint)
    else:
        backbone = jft.pretrain.backbone(
            jft.pretrain.Config(image_size=size, seed=arguments.seed)
        )
    config = jft.transfer.Config(
        **data,
        split="train",
        mode=arguments.mode,
        head_options={"label_smoothing": arguments.label_smoothing},
        transforms=training,
        image_size=size,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
    )
    measured = jft.evaluation.Config(
        **data, task="classification", split="val", transforms=evaluation
    )
    callbacks = jft.evaluation.run_callbacks(
        arguments.output / "checkpoints",
        (config, arguments.checkpoint),
        measured,
        tensorboard=arguments.tensorboard,
    )
    model = jft.transfer.run(config, backbone, callbacks=callbacks)
    scores = jft.evaluation.run(measured, model)

    arguments.output.mkdir(parents=True, exist_ok=True)
    metrics = {
        name: scores[name] for name in ("top1", "top5") if name in scores
    }
    metrics |= {"mode": arguments.mode, "seed": arguments.seed}
    metrics["checkpoint"] = str(arguments.checkpoint or "random")
    path = arguments.output / "metrics.json"
    path.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    model.save(arguments.output / "model.keras")
    model.export(arguments.output / "served", verbose=False)
    print(path.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    with checks.on_command_line():
        main()
