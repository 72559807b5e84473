"""Train a pose estimator on COCO keypoints, and find people's poses.

    python examples/pose.py --coco DIR --split val2017 --boxes ground_truth

DIR has COCO's layout; `--annotations` and `--images` name other files in that
format instead, such as LSP's. Poses are estimated in the true boxes, in boxes
from a file in COCO's results format (`--boxes results.json`), or in those that
a `jft.FasterRCNN` detector finds (`--boxes detector.keras`).

With `--model` an estimator is loaded; without it one is trained first, on
`--train-split`, from `--checkpoint` or from random weights. Writes
`metrics.json` (COCO's ten numbers and PCK), `results.json` (COCO's results
format), `poses.png`, `heatmaps.png` and, after training, `model.keras`.
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
from keras_jft.evaluation import pictures


def detect(arguments, options):
    """Return the people that a detector finds, in COCO's detection format."""
    detector = keras.saving.load_model(arguments.boxes)
    images = jft.data.load("coco", arguments.split, **options)
    config = jft.evaluation.Config(
        task="detection",
        transforms=(transforms.ResizeShortest(*arguments.detector_size),),
        batch_size=1,
    )
    records = []
    found = jft.evaluation.predictions(config, detector, images)
    for name, (_, boxes) in zip(
        images.ids(range(len(images))), found, strict=True
    ):
        for (x1, y1, x2, y2), score, label in zip(
            *(np.asarray(boxes[k])[0] for k in ("boxes", "scores", "labels")),
            strict=True,
        ):
            # Class 0 is the person, as in COCO; -1 is padding.
            if label == 0 and x1 < x2 and y1 < y2:
                sides = x1, y1, x2 - x1, y2 - y1
                record = {"image_id": name.item(), "score": float(score)}
                record["category_id"] = images.info.category_ids[0]
                records.append({**record, "bbox": [*map(float, sides)]})
    return records


def people_of(arguments, options):
    """Return the people in the boxes that `--boxes` names."""
    detections = arguments.boxes
    if detections == "ground_truth":
        detections = None
    elif detections.endswith(".keras"):
        detections = detect(arguments, options)
    return jft.data.load(
        "coco_people",
        arguments.split,
        detections=detections,
        min_score=arguments.min_score,
        **options,
    )


def train(arguments, options, size):
    """Return an estimator trained on people in their true boxes."""
    keras.utils.set_random_seed(arguments.seed)
    people = jft.data.load("coco_people", arguments.train_split, **options)
    if arguments.checkpoint:
        backbone = keras.saving.load_model(arguments.checkpoint)
    else:
        backbone = jft.pretrain.backbone(jft.pretrain.Config())
    config = jft.transfer.Config(
        head="pose",
        mode=arguments.mode,
        head_options={
            "output_stride": arguments.output_stride,
            "radius": 25 * size[0] / 353,
            "keypoint_names": people.info.keypoint_names,
            "flip_pairs": people.info.flip_pairs,
        },
        dataset="coco_people",
        split=arguments.train_split,
        options=options,
        transforms=jft.data.transforms.presets.pose(
            True,
            people.info.keypoint_names,
            size,
            flip_pairs=people.info.flip_pairs,
        ),
        image_size=size,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
    )
    callbacks = jft.evaluation.run_callbacks(
        arguments.output / "checkpoints",
        (config, arguments.checkpoint),
        jft.evaluation.Config(
            task="pose",
            dataset="coco_people",
            split=arguments.split,
            options=options,
            transforms=(transforms.CropPerson(size),),
        ),
        tensorboard=arguments.tensorboard,
    )
    return jft.transfer.run(config, backbone, people, callbacks=callbacks)


def picture(arguments, model, people, poses):
    """Plot poses on the first images, and heat maps of the first crops."""
    order = list(people.info.people)
    shown, numbers = {}, []
    for number in range(len(people)):
        example = people[number]
        if example["image_ids"] not in shown:
            shown[example["image_ids"]] = example["images"]
            numbers.append(number)
        if len(shown) == arguments.pictures:
            break
    found = [poses[order.index(image)]["keypoints"] for image in shown]
    info = people.info
    pictures.plot_poses(
        [*shown.values()], found, info.keypoint_names, info.skeleton
    ).savefig(arguments.output / "poses.png", dpi=150)
    crop = transforms.CropPerson(model.image_size)
    crops = np.stack([crop(people[number])["images"] for number in numbers])
    pictures.plot_poses(
        crops,
        model.predict_on_batch(crops)["keypoints"],
        info.keypoint_names,
        info.skeleton,
        heatmaps=model.heatmaps(crops),
    ).savefig(arguments.output / "heatmaps.png", dpi=150)


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coco", type=pathlib.Path, help="COCO's layout")
    parser.add_argument("--annotations", help="a file; {split} is the split")
    parser.add_argument("--images", help="the folder of its images")
    parser.add_argument("--train-split", default="train2017")
    parser.add_argument("--split", default="val2017")
    parser.add_argument("--boxes", default="ground_truth")
    parser.add_argument("--min-score", type=float, default=0.05)
    parser.add_argument(
        "--detector-size", type=int, nargs=2, default=(600, 1024)
    )
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--checkpoint", type=pathlib.Path)
    parser.add_argument("--flip-test", action="store_true")
    parser.add_argument("--mode", default="fine_tuned")
    parser.add_argument("--image-size", type=int, nargs=2, default=(65, 49))
    parser.add_argument("--output-stride", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=0.005)
    parser.add_argument("--pictures", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tensorboard", action="store_true")
    parser.add_argument("--output", default="runs/pose", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.coco:
        file = "annotations/person_keypoints_{split}.json"
        arguments.annotations = str(arguments.coco / file)
        arguments.images = str(arguments.coco / "{split}")
    if not (arguments.annotations and arguments.images):
        parser.error("--coco, or --annotations and --images, are needed")
    return arguments


def main():
    arguments = parsed()
    options = {
        "annotations": arguments.annotations,
        "directory": arguments.images,
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.model:
        model = keras.saving.load_model(arguments.model)
    else:
        model = train(arguments, options, tuple(arguments.image_size))
        model.save(arguments.output / "model.keras")
    people = people_of(arguments, options)
    info = people.info
    if arguments.flip_test:
        model.keypoint_names = info.keypoint_names
        model.flip_pairs = info.flip_pairs
        model.flip_test = True
    config = jft.evaluation.Config(
        task="pose",
        transforms=(transforms.CropPerson(model.image_size),),
        batch_size=16,
    )
    ((everyone, poses),) = jft.evaluation.predictions(config, model, people)
    scores = jft.metrics.evaluate_pose(
        everyone,
        poses,
        sigmas=info.sigmas or None,
        keypoint_names=info.keypoint_names,
    )
    scores = {
        name: None if np.isnan(value) else value
        for name, value in scores.items()
        if np.ndim(value) == 0
    }
    path = arguments.output / "metrics.json"
    path.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
    jft.evaluation.poses.save_results(
        arguments.output / "results.json",
        info.people,
        poses,
        info.category_ids[0],
    )
    picture(arguments, model, people, poses)
    print(path.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    with checks.on_command_line():
        main()
