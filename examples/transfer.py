"""Transfer one small backbone to each task, and draw what each model sees.

    python examples/transfer.py --output docs/pictures

Pre-trains on 3,000 synthetic images with many noisy labels, then trains the
recipe "small" of four heads on the same backbone, and draws test images beside
the predictions. Takes about five minutes on one core.
"""

import argparse
import dataclasses
import pathlib
import shutil

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

import keras_jft as jft
from keras_jft import checks

PRETRAIN = jft.pretrain.Config(
    num_examples=3_000, batch_size=32, learning_rate=0.03
)
RECIPES = jft.transfer.RECIPES
TASKS = {
    "classification": dataclasses.replace(
        RECIPES["classification"]["small"],
        options={"task": "classification"},
        epochs=20,
    ),
    "detection": dataclasses.replace(
        RECIPES["faster_rcnn"]["small"],
        num_examples=400,
        learning_rate=0.05,
        epochs=30,
    ),
    "segmentation": dataclasses.replace(
        RECIPES["deeplab_aspp"]["small"],
        # At 32 px, features must be close (4 px) and atrous rates small.
        head_options={"output_stride": 4, "rates": (1, 2, 3, 4)},
        options={"task": "segmentation"},
        learning_rate=0.05,
        epochs=20,
    ),
    "pose": dataclasses.replace(
        RECIPES["pose"]["small"], num_examples=400, epochs=20
    ),
}


def draw(task, model, data):
    """Return a figure of the first test images, with what a model predicts."""
    count = 4 if task == "classification" else 2
    transforms = "pose_small" if task == "pose" else "none"
    batches = jft.data.batches(data, batch_size=count, transforms=transforms)
    batch = next(iter(batches.as_numpy_iterator()))
    images = batch["images"]
    found = model.predict(images, verbose=0)
    if task == "detection":
        return jft.evaluation.plot_detections(
            images, batch["bounding_boxes"], found, data.info.label_names
        )
    if task == "segmentation":
        return jft.evaluation.plot_segmentation(
            images, batch["segmentation_masks"], found, data.info.mask_names
        )
    if task == "pose":
        return jft.evaluation.plot_poses(
            images,
            found["keypoints"],
            data.info.keypoint_names,
            data.info.skeleton,
            truth=batch["keypoints"],
        )
    names = data.info.label_names
    figure, panels = plt.subplots(1, count, figsize=(9, 3))
    for i, axes in enumerate(panels):
        axes.imshow(images[i])
        axes.set_axis_off()
        axes.set_title(
            f"{names[batch['labels'][i]]}\n"
            f"predicted:\n{names[np.argmax(found[i])]}",
            fontsize=8,
        )
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="runs/transfer", type=pathlib.Path)
    parser.add_argument("--images", default=3_000, type=int)
    parser.add_argument("--tasks", default=list(TASKS), nargs="+")
    parser.add_argument("--epochs", type=int, help="of each transfer")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    pretrain = dataclasses.replace(PRETRAIN, num_examples=arguments.images)
    runs = arguments.output / "runs"  # A run that is killed goes on from here.
    backbone = jft.pretrain.run(
        pretrain,
        callbacks=jft.evaluation.run_callbacks(runs, pretrain),
        verbose=2,
    )
    for task in arguments.tasks:
        config = TASKS[task]
        if arguments.epochs is not None:
            config = dataclasses.replace(config, epochs=arguments.epochs)
        callbacks = jft.evaluation.run_callbacks(runs, (pretrain, config))
        model = jft.transfer.run(
            config, backbone, callbacks=callbacks, verbose=2
        )
        data = jft.data.load("synthetic", "test", **config.options)
        path = arguments.output / f"{task}.png"
        draw(task, model, data).savefig(path, dpi=80, bbox_inches="tight")
        print(path)
    shutil.rmtree(runs)


if __name__ == "__main__":
    with checks.on_command_line():
        main()
