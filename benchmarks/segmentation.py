"""Which classes gain from more pre-training images? Figure 6 and Table 12.

Question: Sun et al. 2017 report that segmentation rises with the log of the
number of pre-training images (Figure 6) and which classes gain (Table 12). Does
it on CamVid (11 classes), from backbones pre-trained on 1,000 to 95,000 images
of Tiny ImageNet at 32 px, frozen and fine-tuned?

Commands:

    python benchmarks/segmentation.py
    python benchmarks/segmentation.py --tiny-imagenet DIR --camvid DIR

The first makes the tables and the figure from the committed rows of
`benchmarks/data_size.py`. The second trains anew, on all 367 training images
and scored in the pixels of the original images (180 x 240); it has not been run
in full. Backbones come from `.cache/backbones` (`benchmarks/data_size.py
--pretrain-only`). `--smoke` does a quick run on made-up images.

Result of the rows of `benchmarks/data_size.py` (120 training images, scored at
72 x 96; seeds 0, 1, 2; means and standard deviations in points of IoU; the last
column is 95,000 images minus random initialization):

    fine tuned   random    1,000    3,000    10,000   30,000   95,000   gain
    mIoU        31.3 1.2  31.5 1.3 30.8 0.5 32.4 1.5 33.5 1.3 36.1 1.4  +4.8
    sky         84.7 0.3  84.7 0.4 84.8 0.2 83.9 0.9 84.3 0.6 84.1 0.2  -0.6
    building    60.3 0.7  59.9 0.9 59.7 3.1 61.8 0.8 62.3 0.8 63.9 2.1  +3.6
    pole         0.2 0.1   0.4 0.1  0.4 0.3  0.2 0.1  1.1 0.6  1.7 0.9  +1.5
    road        76.7 2.0  76.9 1.7 75.7 1.0 78.0 2.1 78.2 0.7 78.7 1.3  +2.0
    pavement    29.8 7.9  32.0 6.9 26.5 5.0 34.1 8.6 35.7 2.4 39.6 5.8  +9.8
    tree        39.3 2.0  40.2 2.2 40.8 0.8 41.9 2.4 45.3 2.5 47.8 2.0  +8.5
    sign         0.4 0.2   1.5 0.8  1.4 1.2  0.9 0.7  2.5 1.7 11.7 1.9 +11.4
    fence        3.3 2.4   4.2 1.4  3.7 2.2  3.9 1.7  5.4 4.2  5.1 2.4  +1.9
    car         48.3 1.8  45.1 0.4 44.9 0.3 49.2 1.8 45.6 1.2 50.3 3.2  +2.0
    pedestrian   1.5 1.5   1.9 2.0  0.6 0.3  1.9 0.7  6.2 1.5  9.6 1.8  +8.1
    cyclist      0.0 0.0   0.1 0.1  0.1 0.1  0.2 0.4  2.5 3.0  5.1 2.9  +5.0

Frozen, from random to 95,000: mIoU 28.3 to 33.4, most for pavement (+14.6),
sign (+11.4) and car (+6.8). Small and rare classes (sign, pedestrian, cyclist)
have scores close to 0 until 30,000 images and gain most, as boat and horse do
in the paper; sky, which its color gives away, gains nothing. At 72 x 96 poles
are thinner than a pixel.

Cost: the first command seconds; the second 36 runs of 15 s (frozen) to 30 s on
2 cores of a Xeon with AMX.
"""

import argparse
import dataclasses
import pathlib
import tempfile

import data_size
import matplotlib

matplotlib.use("Agg")


import keras_jft as jft
from keras_jft.data.datasets import mask_folder
from keras_jft.data.transforms import RandomFlip, Resize

HERE = pathlib.Path(__file__).parent
IMAGE_SIZE = (72, 96)  # Size of the model's inputs; scores are at 180 x 240.
NAMES = mask_folder.CAMVID_CLASSES


def configs(arguments):
    """Yield a `jft.scaling.Run` for each size, mode and seed."""
    pretrain = data_size.pretraining(arguments.tiny_imagenet)
    options = {"directory": str(arguments.camvid)}
    transfer = jft.transfer.Config(
        head="deeplab_aspp",
        head_options={"output_stride": 4, "rates": (1, 2, 4, 6)},
        dataset="camvid",
        options={**options, "image_size": IMAGE_SIZE},
        transforms=(RandomFlip(),),
        image_size=IMAGE_SIZE,
        learning_rate=0.03,
        batch_size=8,
        epochs=arguments.epochs,
    )
    evaluation = jft.evaluation.Config(
        task="segmentation",
        dataset="camvid",
        options=options,
        transforms=(Resize(IMAGE_SIZE),),
        batch_size=32,
    )
    for seed in arguments.seeds:
        for mode in jft.transfer.MODES:
            for size in arguments.sizes:
                yield jft.scaling.Run(
                    pretrain=dataclasses.replace(
                        pretrain, num_examples=size, seed=seed
                    ),
                    transfer=dataclasses.replace(
                        transfer, mode=mode, seed=seed
                    ),
                    evaluation=evaluation,
                )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny-imagenet", type=pathlib.Path)
    parser.add_argument("--camvid", type=pathlib.Path)
    parser.add_argument("--cache", type=pathlib.Path, default=".cache")
    parser.add_argument("--executor", help="such as processes:2")
    parser.add_argument("--sizes", type=int, nargs="+", default=data_size.SIZES)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--epochs", type=int, default=8, help="of transfer")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    results, figures = HERE / "results", HERE / "figures"
    if arguments.smoke:
        with tempfile.TemporaryDirectory() as folder:
            _smoke(arguments, pathlib.Path(folder))
    elif arguments.tiny_imagenet and arguments.camvid:
        _report(_rows(arguments, results / "segmentation.jsonl"), figures)
    else:
        rows = jft.scaling.read_rows(results / "data_size.jsonl")
        _report([r for r in rows if r["task"] == "segmentation"], figures)


def _rows(arguments, path):
    runner = jft.scaling.Runner(arguments.cache / "backbones", verbose=2)
    study = jft.scaling.Study(list(configs(arguments)), path, run=runner)
    return study.run(arguments.executor)


def _report(rows, figures):
    """Print the tables and draw the figure."""
    print(jft.scaling.table(rows))
    print("\nIoU of each class, points")
    print(jft.scaling.class_table(rows, NAMES))
    figures.mkdir(exist_ok=True)
    jft.scaling.plot_classes(rows, NAMES).savefig(
        figures / "segmentation.png", dpi=120
    )


def _smoke(arguments, folder):
    """Run the whole benchmark on a few made-up images."""
    data_size.make_up(folder)
    # Random initialization alone: data_size.py's smoke run pre-trains.
    small = {"sizes": (0,), "seeds": (0,), "epochs": 1}
    made_up = {
        "tiny_imagenet": folder / "tiny",
        "camvid": folder / "camvid",
        "cache": folder / "cache",
    }
    vars(arguments).update(small | made_up)
    path = folder / "results" / "rows.jsonl"
    _report(_rows(arguments, path), folder / "figures")


if __name__ == "__main__":
    main()
