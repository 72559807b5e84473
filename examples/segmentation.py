"""Train a segmenter on any folder of images and masks, from any checkpoint.

    python examples/segmentation.py --images DIR --classes 3

DIR holds `train/images`, `train/masks`, `val/images` and `val/masks`; a mask is
a PNG of class indices with the name of its image, in which 255 is void.
`--dataset camvid` and `--dataset voc_segmentation` read those data sets as
published (`--train trainaug --sbd DIR` for VOC's augmented set).

The checkpoint is one that `examples/pretrain.py` wrote; without it the backbone
starts from random weights. `--mode frozen` only trains conv5 and the head;
`--every 5` evaluates after every fifth epoch, not after each. Writes
`metrics.json` (scores in original pixels, also of each class),
`predictions.png` (image, truth, prediction and errors) and `model.keras`; the
same command goes on from `checkpoints` where it was interrupted.
"""

import argparse
import json
import pathlib

import keras
import matplotlib

matplotlib.use("Agg")

import keras_jft as jft
from keras_jft import checks
from keras_jft.data.transforms import RandomFlip, Resize
from keras_jft.transfer.trainer import FIRST_TRAINED

HEADS = ("deeplab_aspp", "deeplab_v3_plus")


def head_options(arguments, backbone):
    """Return the paper's ASPP, or one scaled to the features of small nets."""
    if arguments.head != "deeplab_aspp":
        return {}
    if backbone.stem == "small":
        return {"output_stride": 4, "rates": (1, 2, 4, 6)}
    return {"bn_mode": "affine" if arguments.checkpoint else "batch"}


def data_options(arguments):
    """Return the arguments of `jft.data.load` for the data set."""
    options = {"directory": str(arguments.images)}
    if arguments.dataset == "mask_folder":
        names = arguments.classes
        options["classes"] = int(names[0]) if len(names) == 1 else names
    if arguments.sbd:
        options["sbd"] = str(arguments.sbd)
    return options


def load_backbone(arguments, size):
    """Return the backbone of the checkpoint, or a small random one."""
    if arguments.checkpoint:
        return keras.saving.load_model(arguments.checkpoint)
    config = jft.pretrain.Config(image_size=size, seed=arguments.seed)
    return jft.pretrain.backbone(config)


def predictions(model, data, size, count):
    """Return images, true masks and predicted masks of `count` examples."""
    drawn = jft.data.subset(data, num_examples=min(count, len(data)), seed=0)
    batches = jft.data.iterate(
        drawn, len(drawn), transforms=(Resize(size),), originals=True
    )
    batch = next(iter(batches))
    originals = batch["originals"]
    images = [example["images"] for example in originals]
    masks = jft.evaluation.original_pixels.masks(
        model.predict_on_batch(batch["images"], logits=True),
        batch["placements"],
        [image.shape[:2] for image in images],
        model.logits_stride,
    )
    return images, [e["segmentation_masks"] for e in originals], masks


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=pathlib.Path, required=True)
    parser.add_argument(
        "--dataset",
        default="mask_folder",
        choices=("mask_folder", "camvid", "voc_segmentation"),
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        default=["2"],
        help="their names, or their number",
    )
    parser.add_argument("--train", default="train", help="split")
    parser.add_argument("--val", default="val", help="split")
    parser.add_argument("--sbd", type=pathlib.Path)
    parser.add_argument("--checkpoint", type=pathlib.Path)
    parser.add_argument("--head", default=HEADS[0], choices=HEADS)
    parser.add_argument("--mode", default="fine_tuned", choices=FIRST_TRAINED)
    parser.add_argument(
        "--image-size", type=int, nargs=2, default=(96, 128), help="H W"
    )
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=0.03)
    parser.add_argument(
        "--every", type=int, default=1, help="epochs between two measurements"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tensorboard", action="store_true")
    parser.add_argument(
        "--output", default="runs/segmentation", type=pathlib.Path
    )
    return parser.parse_args()


def main():
    arguments = parse()
    size = tuple(arguments.image_size)
    source = {"dataset": arguments.dataset, "options": data_options(arguments)}
    backbone = load_backbone(arguments, size)
    data = jft.data.load(
        source["dataset"], split=arguments.val, **source["options"]
    )
    config = jft.evaluation.Config(
        **source,
        task="segmentation",
        split=arguments.val,
        transforms=(Resize(size),),
        batch_size=arguments.batch_size,
    )
    transfer = jft.transfer.Config(
        **source,
        split=arguments.train,
        head=arguments.head,
        head_options=head_options(arguments, backbone),
        mode=arguments.mode,
        transforms=(RandomFlip(), Resize(size)),
        image_size=size,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
    )
    callbacks = jft.evaluation.run_callbacks(
        arguments.output / "checkpoints",
        (transfer, arguments.checkpoint),
        config,
        data,
        every=arguments.every,
        tensorboard=arguments.tensorboard,
    )
    model = jft.transfer.run(transfer, backbone, callbacks=callbacks)
    scores = jft.evaluation.run(config, model, data)

    arguments.output.mkdir(parents=True, exist_ok=True)
    names = data.info.mask_names
    metrics = {name: scores[name] for name in ("miou", "pixel_accuracy")}
    # Classes that neither occur nor are predicted have no score.
    metrics["iou"] = {
        name: iou
        for name, iou in zip(names, scores["per_class"].tolist(), strict=True)
        if iou == iou
    }
    metrics |= {"mode": arguments.mode, "seed": arguments.seed}
    metrics["checkpoint"] = str(arguments.checkpoint or "random")
    path = arguments.output / "metrics.json"
    path.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    jft.evaluation.pictures.plot_segmentation(
        *predictions(model, data, size, 4), names
    ).savefig(arguments.output / "predictions.png", dpi=120)
    model.save(arguments.output / "model.keras")
    print(path.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    with checks.on_command_line():
        main()
