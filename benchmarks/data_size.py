"""Do transfer scores rise with log data size on real images? Figure 4, small.

Question: Sun et al. 2017 report that transfer scores rise linearly with the log
of the number of pre-training images. Do they, from 1,000 to 95,000 images of
Tiny ImageNet at 32 px (190 of its 200 classes, with their ancestors in WordNet
as labels), for few-shot classification of the 10 classes held out (20 training
and 30 test images per class) and for CamVid segmentation, frozen and
fine-tuned?

Command:

    python benchmarks/data_size.py --tiny-imagenet DIR --camvid DIR

`--pretrain-only` fills the cache of backbones (`.cache/backbones`), which
later studies share; `--dry-run` says what is left to do and what it takes;
`--smoke` does a quick run on made-up images.

Result (seeds 0, 1, 2; each draws its subset, its few-shot or 120 CamVid
training images, and its weights; means and standard deviations in points):

    top-1          random    1,000    3,000    10,000   30,000   95,000
    frozen        28.0 1.5  29.9 2.0 28.8 3.2 33.3 1.5 42.8 2.0 49.8 2.0
    fine-tuned    30.1 3.4  30.6 2.5 31.6 4.2 35.3 1.8 41.4 1.8 49.4 1.4
    mIoU
    frozen        28.3 0.6  28.3 1.3 28.8 0.5 30.2 0.6 31.9 1.4 33.4 1.6
    fine-tuned    31.3 1.2  31.5 1.3 30.8 0.5 32.4 1.5 33.5 1.3 36.1 1.4

From 3,000 images on every curve of every seed rises with every step
(Spearman 1.0 within a seed). Over the pooled seeds it is 0.95 and 0.93 for
classification, 0.93 and 0.89 for segmentation (frozen, fine-tuned): which 120
images a seed draws moves its whole fine-tuned curve by as much as a step of
size does. Below 3,000 nothing rises above random initialization: a net that
has seen 1,000 images for 60 steps has little to transfer. The rise is steeper
at the end than a straight line, so the log-linear intervals are wide.

Cost: 49 minutes of pre-training and 35 of transfer on 2 cores of a Xeon with
AMX that other work shared (24 GB, TensorFlow 2.21, Keras 3.15.1).
"""

import argparse
import csv
import dataclasses
import json
import pathlib
import tempfile

import matplotlib

matplotlib.use("Agg")

import numpy as np
from PIL import Image

import keras_jft as jft

HERE = pathlib.Path(__file__).parent
SIZES = (0, 1_000, 3_000, 10_000, 30_000, 95_000)  # 0: random initialization
SHOTS, TEST_IMAGES = 20, 30  # images per held-out class
CAMVID_SIZE = (72, 96)


def held_out(tiny_imagenet):
    """Return ten class folders, spread over the sorted list of 200."""
    folders = sorted(p.name for p in (tiny_imagenet / "train").iterdir())
    return folders[:: max(1, len(folders) // 10)][:10]


def pretraining(tiny_imagenet):
    """Return the pre-training that studies share; they vary size and seed."""
    return jft.pretrain.Config(
        dataset="image_folder",
        options={
            "directory": str(tiny_imagenet),
            "hierarchy": str(tiny_imagenet / "hierarchy.json"),
            "exclude": held_out(tiny_imagenet),
        },
    )


def configs(arguments):
    """Yield a `jft.scaling.Run` for each size, task, mode and seed."""
    tiny_imagenet = arguments.tiny_imagenet
    pretrain = pretraining(tiny_imagenet)
    for seed in arguments.seeds:
        tasks = {
            "classification": few_shot(tiny_imagenet, arguments.cache, seed),
            "segmentation": _camvid(arguments, seed),
        }
        for size in arguments.sizes:
            for transfer, evaluation in tasks.values():
                for mode in jft.transfer.MODES:
                    yield jft.scaling.Run(
                        pretrain=dataclasses.replace(
                            pretrain, num_examples=size, seed=seed
                        ),
                        transfer=dataclasses.replace(
                            transfer, mode=mode, epochs=arguments.epochs
                        ),
                        evaluation=evaluation,
                    )


def few_shot(tiny_imagenet, cache, seed):
    """Return a transfer to the held-out classes; each seed draws images."""
    classes = held_out(tiny_imagenet)
    rng = np.random.default_rng(seed)
    path = cache / f"few_shot_{seed}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "labels", "split"))
        for name in classes:
            folder = tiny_imagenet / "train" / name / "images"
            images = sorted(p.name for p in folder.iterdir())
            drawn = rng.permutation(len(images))[: SHOTS + TEST_IMAGES]
            for place, i in enumerate(drawn):
                split = "train" if place < SHOTS else "test"
                writer.writerow((f"{name}/images/{images[i]}", name, split))
    options = {
        "path": str(path),
        "directory": str(tiny_imagenet / "train"),
        "label_names": classes,
        "many": False,
    }
    return (
        jft.transfer.Config(
            dataset="manifest",
            options=options,
            learning_rate=0.03,
            seed=seed,
        ),
        jft.evaluation.Config(
            task="classification", dataset="manifest", options=options
        ),
    )


def _camvid(arguments, seed):
    """Return a transfer to CamVid's 11 classes; each seed draws images."""
    options = {
        "directory": str(arguments.camvid),
        "image_size": CAMVID_SIZE,
    }
    return (
        jft.transfer.Config(
            head="deeplab_aspp",
            head_options={"output_stride": 4, "rates": (1, 2, 4, 6)},
            dataset="camvid",
            options=options,
            num_examples=arguments.camvid_images,
            image_size=CAMVID_SIZE,
            learning_rate=0.03,
            batch_size=8,
            seed=seed,
        ),
        jft.evaluation.Config(
            task="segmentation",
            dataset="camvid",
            options=options,
            batch_size=32,
        ),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny-imagenet", type=pathlib.Path)
    parser.add_argument("--camvid", type=pathlib.Path)
    parser.add_argument("--cache", type=pathlib.Path, default=".cache")
    parser.add_argument("--executor", help="such as processes:2")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--camvid-images", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=20, help="of transfer")
    parser.add_argument("--pretrain-only", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        with tempfile.TemporaryDirectory() as folder:
            _smoke(pathlib.Path(folder), arguments.dry_run)
        return
    if not (arguments.tiny_imagenet and arguments.camvid):
        parser.error("--tiny-imagenet and --camvid are needed, or --smoke")
    _study(arguments, HERE / "results" / "data_size.jsonl")


def _study(arguments, path):
    runs = list(configs(arguments))
    runner = jft.scaling.Runner(arguments.cache / "backbones", verbose=2)
    if arguments.pretrain_only:
        for run in runs:
            runner.backbone(run.pretrain)
        return
    study = jft.scaling.Study(runs, path, run=runner)
    if arguments.dry_run:
        print(study.outlook())
        return
    rows = study.run(arguments.executor)
    print(jft.scaling.table(rows))
    figures = path.parent.parent / "figures"
    figures.mkdir(exist_ok=True)
    jft.scaling.plot_data_sizes(rows).savefig(
        figures / "data_size.png", dpi=120
    )


def _smoke(folder, dry_run):
    """Run the whole benchmark on a few made-up images."""
    make_up(folder)
    arguments = argparse.Namespace(
        executor=None,
        tiny_imagenet=folder / "tiny",
        camvid=folder / "camvid",
        camvid_images=8,
        cache=folder / "cache",
        sizes=(0, 64),
        seeds=(0,),
        epochs=1,
        pretrain_only=False,
        dry_run=dry_run,
    )
    (folder / "results").mkdir()
    _study(arguments, folder / "results" / "rows.jsonl")


def make_up(folder):
    """Write images of noise in the layouts of Tiny ImageNet and CamVid."""
    make_up_classes(folder / "tiny")
    rng = np.random.default_rng(1)
    for split in ("train", "test"):
        for i in range(8):
            _picture(rng, folder / f"camvid/{split}/{i}.png", CAMVID_SIZE)
            mask = rng.integers(0, 12, CAMVID_SIZE).astype("uint8")
            _save(mask, folder / f"camvid/{split}annot/{i}.png")


def make_up_classes(folder):
    """Write images of noise, 24 in each of 20 classes, and a hierarchy."""
    rng = np.random.default_rng(0)
    names = [f"class{i}" for i in range(20)]
    for name in names:
        for i in range(SHOTS + 4):
            _picture(rng, folder / "train" / name / f"images/{i}.png")
    edges = [["root", name] for name in names]
    (folder / "hierarchy.json").write_text(
        json.dumps({"names": {n: n for n in ("root", *names)}, "edges": edges}),
        encoding="utf-8",
    )


def _picture(rng, path, size=(32, 32)):
    _save(rng.integers(0, 256, (*size, 3)).astype("uint8"), path)


def _save(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


if __name__ == "__main__":
    main()
