"""Do detection scores rise with log data size on real images? Figure 4, small.

Question: Sun et al. 2017 report that the AP of Faster R-CNN rises linearly
with the log of the number of pre-training images, frozen or fine-tuned. Does
it for blood cells (BCCD: 3 classes, 100 of its 292 training images, all 72 test
images, at 96x128 px), from 1,000 to 95,000 images of Tiny ImageNet at 32 px?
And can the detector overfit 8 images of COCO?

Command:

    python benchmarks/detection.py --tiny-imagenet DIR --bccd DIR
    python benchmarks/detection.py --coco DIR

The first shares its pre-training with `benchmarks/data_size.py` (in the cache
`.cache/backbones`), writes a row per run to results/detection.jsonl and the
curve of AP@.5 to figures/detection.png. The second overfits 8 images of a
COCO-format folder and prints AP@.5 on them, which must be above 0.9; `--smoke`
does quick runs of both on made-up images.

Result (seeds 0, 1, 2; each draws its backbone and its 100 training images;
means and standard deviations in points):

    AP@.5          random    1,000      3,000      10,000     30,000    95,000
    frozen        4.9 4.3  27.4 4.9   28.3 9.8   18.6 3.0   24.3 2.8  32.4 0.9
    fine-tuned    1.8 1.7  10.7 8.9  20.8 12.1  24.0 10.5   32.0 6.3  33.2 0.4
    COCO AP
    frozen        1.7 1.5  11.9 2.1   12.2 5.7    6.9 2.0   10.0 1.7  13.0 0.2
    fine-tuned    0.5 0.5   4.0 3.7    8.8 6.0   10.1 4.8   13.6 2.9  14.6 0.2

Fine-tuned, AP@.5 rises with every step of size, by 11 points per decade, as the
paper reports for COCO. Frozen it does not: any pre-training gains more than 20
points over none, and past 1,000 images the differences are those of seeds
(1 point per decade). So few steps (6 epochs of 100 images) favor a frozen net
that starts near its end; this says little about longer training. On 8 images
of COCO at 128x160 px the detector reaches an AP@.5 of 0.96 (500 epochs,
7 minutes).

Cost: 24 minutes beyond the pre-training, on 2 cores of an AMD EPYC (24 GB)
that other work shared.
"""

import argparse
import dataclasses
import json
import pathlib
import tempfile

import matplotlib

matplotlib.use("Agg")

import data_size
import numpy as np
from PIL import Image

import keras_jft as jft
from keras_jft.data import transforms

HERE = pathlib.Path(__file__).parent
IMAGE_SIZE = (96, 128)
# At this size platelets are about 8 px wide, red cells 21, white cells 40.
DETECTOR = {
    "anchor_base": 21,
    "anchor_scales": (0.4, 1.0, 1.9),
    "anchor_ratios": (0.7, 1.0, 1.4),
    "rpn_filters": 64,
    "rpn_samples": 64,
    "head_samples": 32,
    "num_proposals": 80,
    "max_detections": 80,
    "crop_size": 8,
}


def configs(arguments):
    """Yield a `jft.scaling.Run` for each size, mode and seed."""
    pretrain = data_size.pretraining(arguments.tiny_imagenet)
    options = {"directory": str(arguments.bccd)}
    for seed in arguments.seeds:
        for size in arguments.sizes:
            for mode in jft.transfer.MODES:
                yield jft.scaling.Run(
                    pretrain=dataclasses.replace(
                        pretrain, num_examples=size, seed=seed
                    ),
                    transfer=jft.transfer.Config(
                        head="faster_rcnn",
                        head_options=DETECTOR,
                        mode=mode,
                        dataset="voc",
                        options=options,
                        split="trainval",
                        num_examples=arguments.images,
                        seed=seed,
                        transforms=(
                            transforms.Resize(IMAGE_SIZE),
                            transforms.RandomFlip(),
                        ),
                        image_size=IMAGE_SIZE,
                        learning_rate=arguments.learning_rate,
                        clipnorm=10.0,
                        batch_size=4,
                        epochs=arguments.epochs,
                    ),
                    evaluation=jft.evaluation.Config(
                        task="detection",
                        dataset="voc",
                        options=options,
                        split="test",
                        transforms=(transforms.Resize(IMAGE_SIZE),),
                        batch_size=8,
                    ),
                )


def study(arguments, path):
    """Run the study, and draw the curve."""
    runner = jft.scaling.Runner(arguments.cache / "backbones", verbose=2)
    runs = jft.scaling.Study(configs(arguments), path, run=runner)
    rows = runs.run(arguments.executor)
    print(jft.scaling.table(rows))
    figures = path.parent.parent / "figures"
    figures.mkdir(exist_ok=True)
    plot(rows).savefig(figures / "detection.png", dpi=120)


def plot(rows):
    """Plot AP@.5 by size."""
    axes = jft.scaling.plot_data_size(rows, y="ap50")
    axes.set_ylabel("AP@.5 (%)")
    return axes.figure


def overfit(arguments):
    """Return AP@.5 on the images that a detector was trained on."""
    size = arguments.overfit_size
    options = {"directory": str(arguments.coco)}
    examples = jft.data.cache(
        jft.data.subset(
            jft.data.load("coco", "train", **options), arguments.overfit_images
        )
    )
    resized = (transforms.Resize(size),)
    config = jft.transfer.Config(
        head="faster_rcnn",
        head_options={
            "rpn_filters": 128,
            "rpn_samples": 64,
            "head_samples": 64,
            "anchor_base": 48,
            "num_proposals": 100,
            "crop_size": 8,
        },
        dataset="coco",
        options=options,
        transforms=resized,
        image_size=size,
        learning_rate=0.01,
        clipnorm=10.0,
        batch_size=2,
        epochs=arguments.overfit_epochs,
    )
    backbone = jft.ResNet(
        (1, 1, 1, 1),
        width=16,
        stem="small",
        bn_momentum=0.9,
        image_shape=(*size, 3),
    )
    model = jft.transfer.run(config, backbone, examples, verbose=2)
    scores = jft.evaluation.run(
        jft.evaluation.Config(
            task="detection", transforms=resized, batch_size=2
        ),
        model,
        examples,
    )
    print(f"AP@.5 on {len(examples)} training images: {scores['ap50']:.3f}")
    return scores["ap50"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny-imagenet", type=pathlib.Path)
    parser.add_argument("--bccd", type=pathlib.Path)
    parser.add_argument("--coco", type=pathlib.Path)
    parser.add_argument("--cache", type=pathlib.Path, default=".cache")
    parser.add_argument("--executor", help="such as processes:2")
    parser.add_argument("--sizes", type=int, nargs="+", default=data_size.SIZES)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--images", type=int, default=100, help="of BCCD")
    parser.add_argument("--epochs", type=int, default=6, help="on BCCD")
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--overfit-images", type=int, default=8)
    parser.add_argument("--overfit-epochs", type=int, default=500)
    parser.add_argument("--overfit-size", type=int, nargs=2, default=(128, 160))
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        with tempfile.TemporaryDirectory() as folder:
            _smoke(arguments, pathlib.Path(folder))
        return
    if not arguments.coco and not (arguments.tiny_imagenet and arguments.bccd):
        parser.error("--tiny-imagenet and --bccd, --coco or --smoke is needed")
    if arguments.coco:
        overfit(arguments)
    if arguments.bccd:
        study(arguments, HERE / "results" / "detection.jsonl")


# === Made-up images ===


def _smoke(arguments, folder):
    """Run the whole benchmark on a few made-up images."""
    rng = np.random.default_rng(0)
    _write_voc(rng, folder / "bccd")
    _write_coco(rng, folder / "coco")
    arguments.tiny_imagenet = folder / "tiny"
    names = [f"class{i}" for i in range(20)]
    for name in names:
        _picture(rng, folder / "tiny" / "train" / name / "0.png")
    (folder / "tiny" / "hierarchy.json").write_text(
        json.dumps(
            {
                "names": {name: name for name in ("root", *names)},
                "edges": [["root", name] for name in names],
            }
        ),
        encoding="utf-8",
    )
    arguments.bccd, arguments.coco = folder / "bccd", folder / "coco"
    arguments.cache = folder / "cache"
    # Random initialization alone: data_size.py's smoke run pre-trains.
    arguments.sizes, arguments.seeds = (0,), (0,)
    arguments.images, arguments.epochs = 4, 1
    arguments.overfit_size, arguments.overfit_epochs = (32, 32), 1
    arguments.overfit_images = 2
    (folder / "results").mkdir()
    study(arguments, folder / "results" / "rows.jsonl")
    overfit(arguments)


def _write_voc(rng, folder):
    lists = folder / "ImageSets" / "Main"
    for path in (lists, folder / "Annotations"):
        path.mkdir(parents=True)
    for split in ("trainval", "test"):
        names = [f"{split}{i}" for i in range(4)]
        (lists / f"{split}.txt").write_text("\n".join(names), encoding="utf-8")
        for name in names:
            _picture(rng, folder / "JPEGImages" / f"{name}.png")
            (folder / "Annotations" / f"{name}.xml").write_text(
                "<annotation><size><width>64</width><height>48</height></size>"
                "<object><name>cell</name><bndbox><xmin>9</xmin><ymin>9</ymin>"
                "<xmax>30</xmax><ymax>30</ymax></bndbox></object></annotation>",
                encoding="utf-8",
            )


def _write_coco(rng, folder):
    (folder / "annotations").mkdir(parents=True)
    images = [
        {"id": i, "file_name": f"{i}.png", "width": 64, "height": 48}
        for i in range(8)
    ]
    boxes = [
        {"id": i, "image_id": i, "category_id": 7, "bbox": [9, 9, 30, 30]}
        for i in range(8)
    ]
    for image in images:
        _picture(rng, folder / "train" / image["file_name"])
    path = folder / "annotations" / "instances_train.json"
    path.write_text(
        json.dumps(
            {
                "images": images,
                "annotations": boxes,
                "categories": [{"id": 7, "name": "cell"}],
            }
        ),
        encoding="utf-8",
    )


def _picture(rng, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (48, 64, 3)).astype("uint8")
    Image.fromarray(pixels).save(path)


if __name__ == "__main__":
    main()
