"""Do pose scores rise with log data size? And can the estimator overfit?

Questions: (a) can `PoseEstimator` overfit 8 people of tiny_coco to an OKS-AP
above 0.9? (b) Do PCK@0.2 and OKS-AP on LSP-extended (800 people for training,
200 for testing, 14 keypoints) rise with the number of images of Tiny ImageNet
that the backbone was pre-trained on, frozen and fine-tuned?

Command:

    python benchmarks/pose.py --tiny-coco DIR --lsp DIR --tiny-imagenet DIR

Backbones are those of `data_size.py`, shared through `.cache/backbones`. Rows
of (b) go to benchmarks/results/pose.jsonl, the figure to
benchmarks/figures/pose.png; `--smoke` does a quick run on made-up people.

Result of (a), seed 0, crops of 177 x 129 px, 400 steps: OKS-AP 1.0 on the 8
people, PCK@0.2 1.0 (12 minutes on 2 cores of an AMD EPYC that other work
shared).

Result of (b) (seeds 0, 1, 2; each draws its backbone and its weights; means and
standard deviations in points):

    PCK@0.2        random    1,000     3,000     10,000    30,000    95,000
    frozen        12.3 1.1  13.0 1.9  12.4 0.3  15.4 0.4  18.4 1.1  21.5 1.1
    fine-tuned    25.6 0.9  25.5 0.3  25.2 0.6  26.7 2.1  27.9 1.0  29.1 0.1
    OKS-AP
    frozen         0.4 0.3   0.7 0.3   0.5 0.2   1.0 0.5   1.6 0.4   2.4 0.5
    fine-tuned     3.3 0.5   3.2 0.3   3.5 0.6   4.6 0.9   4.5 0.5   6.0 0.4

From 3,000 images on both scores rise with log data size, as the paper has it
for COCO: PCK by 4.6 points per decade frozen, 2.0 fine-tuned. Below, nothing is
better than random initialization. The scores are low: 12 epochs of 800 people
of 65 x 49 px.

Cost of (b): 55 minutes beyond the pre-training, on 2 cores of an AMD EPYC
(24 GB) that other work shared.
"""

import argparse
import dataclasses
import json
import pathlib
import tempfile

import matplotlib

matplotlib.use("Agg")

import data_size
import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

import keras_jft as jft
from keras_jft.data import transforms

HERE = pathlib.Path(__file__).parent
SIZES = (0, 1_000, 3_000, 10_000, 30_000, 95_000)  # 0: random initialization
CROP, RADIUS = (65, 49), 5.0  # 25 at 353 px, scaled down
HEAD = {"output_stride": 4, "radius": RADIUS}
SCORES = {"pck": "PCK@0.2 (%)", "ap": "OKS-AP (%)"}


# === (a) Overfitting ===


def overfit(tiny_coco, steps=400, crop=(177, 129)):
    """Return COCO's ten numbers on the 8 people used for training."""
    keras.utils.set_random_seed(0)
    people = jft.data.load("coco_people", "train2017", directory=tiny_coco)
    people = jft.data.cache(jft.data.subset(people, 8, seed=0))
    once = (transforms.CropPerson(crop),)
    with jft.training.dtype_policy("fastest"):
        backbone = jft.ResNet(
            (1, 1, 1, 1),
            width=16,
            block="basic",
            stem="small",
            bn_momentum=0.9,
            image_shape=(*crop, 3),
        )
        model = jft.PoseEstimator(
            backbone, output_stride=4, radius=25 * crop[0] / 353
        )
    rate = keras.optimizers.schedules.CosineDecay(0.005, steps)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9))
    batches = jft.data.batches(people, 8, transforms=once, training=True)
    model.fit(batches, epochs=steps, verbose=0)
    return jft.evaluation.run(
        jft.evaluation.Config(task="pose", transforms=once, batch_size=8),
        model,
        people,
    )


# === (b) LSP against pre-training images ===


def configs(arguments):
    """Yield a `jft.scaling.Run` for each size, mode and seed."""
    options = {
        "annotations": str(arguments.lsp / "person_keypoints_{split}.json"),
        "directory": str(arguments.lsp / "images"),
    }
    data = {"dataset": "coco_people", "options": options}
    transfer = jft.transfer.Config(
        **data,
        head="pose",
        head_options=HEAD,
        transforms="pose_small",
        image_size=CROP,
        learning_rate=arguments.learning_rate,
        batch_size=16,
        epochs=arguments.epochs,
    )
    evaluation = jft.evaluation.Config(
        **data,
        task="pose",
        split="val",
        transforms="pose_small",
        batch_size=40,
    )
    pretrain = data_size.pretraining(arguments.tiny_imagenet)
    for seed in arguments.seeds:
        for size in arguments.sizes:
            for mode in jft.transfer.MODES:
                yield jft.scaling.Run(
                    pretrain=dataclasses.replace(
                        pretrain, num_examples=size, seed=seed
                    ),
                    transfer=dataclasses.replace(
                        transfer, mode=mode, seed=seed
                    ),
                    evaluation=evaluation,
                )


def study(arguments, path):
    runner = jft.scaling.Runner(arguments.cache / "backbones", verbose=2)
    rows = jft.scaling.Study(configs(arguments), path, run=runner).run(
        arguments.executor
    )
    figures = path.parent.parent / "figures"
    figures.mkdir(exist_ok=True)
    plot(rows).savefig(figures / "pose.png", dpi=120)
    table = pd.DataFrame(rows).groupby(["mode", "num_examples"])
    print((100 * table[list(SCORES)].agg(["mean", "std"])).round(1))


def plot(rows):
    """Plot both scores by size."""
    figure, axes = plt.subplots(
        ncols=2, figsize=(7.2, 3.7), layout="constrained"
    )
    for axis, (score, title) in zip(axes, SCORES.items(), strict=True):
        jft.scaling.plot_data_size(rows, axis, y=score)
        axis.set_ylabel(title)
        axis.set_title("LSP-extended")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny-coco", type=pathlib.Path)
    parser.add_argument("--lsp", type=pathlib.Path)
    parser.add_argument("--tiny-imagenet", type=pathlib.Path)
    parser.add_argument("--cache", type=pathlib.Path, default=".cache")
    parser.add_argument("--executor", help="such as processes:2")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--learning-rate", type=float, default=0.005)
    parser.add_argument("--results", type=pathlib.Path, default=HERE)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        with tempfile.TemporaryDirectory() as folder:
            _smoke(pathlib.Path(folder), arguments)
        return
    if not (arguments.tiny_coco or arguments.lsp and arguments.tiny_imagenet):
        parser.error(
            "--tiny-coco, or --lsp and --tiny-imagenet, are needed, or --smoke"
        )
    if arguments.tiny_coco:
        print("overfit:", overfit(arguments.tiny_coco))
    if arguments.lsp:
        study(arguments, arguments.results / "results" / "pose.jsonl")


# === The whole path on made-up people ===


def _smoke(folder, arguments):
    figures = jft.data.load("synthetic", task="pose", num_examples=16)
    for split in ("train", "val", "train2017"):
        _people(figures, folder / "people", split)
    coco = folder / "people" / "annotations"
    coco.mkdir()
    file = "person_keypoints_train2017.json"
    (coco.parent / file).rename(coco / file)
    (coco.parent / "images").rename(coco.parent / "train2017")
    print("overfit:", overfit(coco.parent, steps=2, crop=(33, 25)))
    (coco.parent / "train2017").rename(coco.parent / "images")

    rng = np.random.default_rng(0)
    names = [f"class{i}" for i in range(20)]
    for i, name in enumerate(names * 4):
        path = folder / "tiny/train" / name / f"images/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), "uint8")).save(path)
    edges = [["root", name] for name in names]
    (folder / "tiny" / "hierarchy.json").write_text(
        json.dumps({"names": {n: n for n in ("root", *names)}, "edges": edges}),
        encoding="utf-8",
    )
    arguments.tiny_imagenet, arguments.lsp = folder / "tiny", coco.parent
    # Random initialization alone: data_size.py's smoke run pre-trains.
    arguments.sizes, arguments.seeds, arguments.epochs = (0,), (0,), 1
    arguments.cache, arguments.results = folder / "cache", folder
    study(arguments, folder / "results" / "pose.jsonl")


def _people(figures, folder, split):
    """Write images of stick figures and a file of their keypoints."""
    records = {"images": [], "annotations": []}
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for example in figures.take(range(len(figures))):
        name, keypoints = int(example["ids"]), example["keypoints"]
        Image.fromarray(example["images"]).save(folder / f"images/{name}.png")
        height, width = example["images"].shape[:2]
        records["images"].append(
            {
                "id": name,
                "file_name": f"{name}.png",
                "height": height,
                "width": width,
            }
        )
        x1, y1, x2, y2 = map(float, example["bounding_boxes"]["boxes"][0])
        records["annotations"].append(
            {
                "id": name,
                "image_id": name,
                "category_id": 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "keypoints": keypoints.astype(float).ravel().tolist(),
            }
        )
    names = figures.info.keypoint_names
    category = {"id": 1, "name": "person", "keypoints": names}
    records["categories"] = [category]
    path = folder / f"person_keypoints_{split}.json"
    path.write_text(json.dumps(records), encoding="utf-8")


if __name__ == "__main__":
    main()
