"""Which classes gain from more pre-training images? Figure 6 and Table 12.

Question: Sun et al. 2017 report that segmentation rises with the log of the
number of pre-training images (Figure 6) and which classes gain (Table 12). Does
it on CamVid (11 classes, 180 x 240), from the backbones that
`benchmarks/data_size.py` pre-trains on 1,000 to 95,000 images of Tiny ImageNet
at 32 px, frozen and fine-tuned?

Command:

    python benchmarks/segmentation.py --tiny-imagenet DIR --camvid DIR

Backbones come from `.cache/backbones`; what is missing is pre-trained first
(`benchmarks/data_size.py --pretrain-only`). `--redraw` makes tables and figure
from the committed rows; `--smoke` goes the whole way on made-up images.

"""

import argparse
import dataclasses
import pathlib
import tempfile

import data_size
import matplotlib

matplotlib.use("Agg")


import keras_jft as jft
from keras_jft.data.transforms import RandomFlip, Resize

HERE = pathlib.Path(__file__).parent
IMAGE_SIZE = (72, 96)  # That the model sees; scores are at 180 x 240.
NAMES = jft.data.datasets.camvid.CLASSES


def configs(arguments):
    """One `jft.scaling.Run` for each size, mode and seed."""
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
    parser.add_argument("--sizes", type=int, nargs="+", default=data_size.SIZES)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--epochs", type=int, default=8, help="of transfer")
    parser.add_argument("--redraw", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    path = HERE / "results" / "segmentation.jsonl"
    if arguments.smoke:
        with tempfile.TemporaryDirectory() as folder:
            _smoke(arguments, pathlib.Path(folder))
    elif arguments.redraw:
        _report(jft.scaling.read_rows(path), path)
    elif arguments.tiny_imagenet and arguments.camvid:
        _report(_rows(arguments, path), path)
    else:
        parser.error("--tiny-imagenet and --camvid are needed, or --smoke")


def _rows(arguments, path):
    runner = jft.scaling.Runner(arguments.cache / "backbones", verbose=2)
    return jft.scaling.Study(list(configs(arguments)), path, run=runner).run()


def _report(rows, path):
    """Prints the tables, draws the figure."""
    print(jft.scaling.table(rows))
    print("\nIoU of each class, points")
    print(jft.scaling.class_table(rows, NAMES))
    figures = path.parent.parent / "figures"
    figures.mkdir(exist_ok=True)
    jft.scaling.plot_classes(rows, NAMES).savefig(
        figures / "segmentation.png", dpi=120
    )


def _smoke(arguments, folder):
    """The whole path on a few made-up images."""
    data_size.make_up(folder)
    small = {"sizes": (0, 64, 128, 256), "seeds": (0,), "epochs": 1}
    made_up = {
        "tiny_imagenet": folder / "tiny",
        "camvid": folder / "camvid",
        "cache": folder / "cache",
    }
    vars(arguments).update(small | made_up)
    path = folder / "results" / "rows.jsonl"
    _report(_rows(arguments, path), path)


if __name__ == "__main__":
    main()
