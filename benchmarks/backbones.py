"""Does a better net beat three times the data?

Question: Sun et al. 2017 compare data with one family of nets. Before paying
for three times the images: would another net of the same size, pre-trained on
the images that are there for as many steps, bring as much?

Five small nets are pre-trained on Tiny ImageNet at 32 px (as in
`data_size.py`) for equal steps of AdamW whatever the number of images, then
transferred to the 10 classes held out, frozen before conv5. All but the ViT are
written below in a few lines of Keras, so that they fit images of 32 px, and
become backbones by `jft.backbones.adapt`.

Command (KerasHub is needed, for the ViT):

    python benchmarks/backbones.py --tiny-imagenet DIR

Rows go to results/backbones.jsonl, the figure to figures/backbones.png;
`--dry-run` says what is left to do, `--smoke` does a quick run on made-up
images.

Result (3 seeds; top-1 of frozen transfer, mean and standard deviation):

                     1,000      3,000     10,000 per decade
    ResNet       21.7 ±2.3  28.1 ±3.3  24.4 ±2.5       +2.6
    DenseNet     27.2 ±1.7  27.4 ±1.6  29.9 ±1.5       +2.7
    MobileNetV2  17.9 ±0.7  20.9 ±0.8  20.3 ±2.4       +2.4
    CSPNet       21.3 ±1.5  22.7 ±0.9  28.1 ±4.4       +6.8
    ViT          23.8 ±1.3  25.6 ±2.4  23.1 ±2.8       -0.7

    points that the ResNet gains by (mean and standard error)
                 another net   the next size
     1,000          +5.6 ±1.4      +6.4 ±1.3
     3,000          -0.7 ±1.6      -3.7 ±1.0
    10,000          +5.4 ±1.0

At 1,000 images the DenseNet brings as much as three times the images do; its
steps take 2.8 times as long. Beyond 3,000 images the study cannot tell: in 250
steps the ResNet makes nothing of them, and differences are those of seeds. It
shows how fast nets of 120,000 to 180,000 weights learn, not how they compare
when they are trained for as long as they need.

Cost: 36 minutes on one shared core of an AMD EPYC (24 GB); TensorFlow 2.21,
Keras 3.15.1.
"""

import argparse
import dataclasses
import itertools
import pathlib
import tempfile

import arms
import data_size
import keras
import pandas as pd

import keras_jft as jft

HERE = pathlib.Path(__file__).parent
SIZES = (1_000, 3_000, 10_000)
STEPS = 250
SIDE = 32
BASE = "ResNet"  # The net that data is compared on, and others with.


# === Nets ===


def _unit(x, filters, size=3, strides=1, activation="relu", depthwise=False):
    """Convolution, batch normalization, activation."""
    options = {"padding": "same", "use_bias": False, "strides": strides}
    if depthwise:
        x = keras.layers.DepthwiseConv2D(size, **options)(x)
    else:
        x = keras.layers.Conv2D(filters, size, **options)(x)
    x = keras.layers.BatchNormalization()(x)
    return keras.layers.Activation(activation)(x)


def _residual(x, filters, strides):
    """Return a basic block of He et al. 2016."""
    y = _unit(x, filters, strides=strides)
    y = _unit(y, filters, activation="linear")
    if x.shape != y.shape:
        x = _unit(x, filters, 1, strides, activation="linear")
    return keras.layers.Activation("relu")(keras.layers.Add()([x, y]))


def _dense(x, filters, strides, growth=16, count=3):
    """Return a dense block of Huang et al. 2017 behind its transition."""
    x = _unit(x, filters, 1)
    if strides > 1:
        x = keras.layers.AveragePooling2D(strides)(x)
    for _ in range(count):
        y = _unit(_unit(x, 4 * growth, 1), growth)
        x = keras.layers.Concatenate()([x, y])
    return x


def _inverted(x, filters, strides, expansion=4):
    """Return two inverted residuals of Sandler et al. 2018."""
    for stride in (strides, 1):
        width = expansion * x.shape[-1]
        y = _unit(x, width, 1)
        y = _unit(y, width, 3, stride, depthwise=True)
        y = _unit(y, filters, 1, activation="linear")
        x = keras.layers.Add()([x, y]) if x.shape == y.shape else y
    return x


def _cross_stage(x, filters, strides):
    """Return a cross-stage partial block of Wang et al. 2020."""
    x = _unit(x, filters, strides=strides, activation="leaky_relu")
    half = filters // 2
    kept = _unit(x, half, 1, activation="leaky_relu")
    y = _unit(x, half, 1, activation="leaky_relu")
    z = _unit(y, half, 1, activation="leaky_relu")
    z = _unit(z, half, activation="leaky_relu")
    y = keras.layers.Concatenate()([kept, keras.layers.Add()([y, z])])
    return _unit(y, filters, 1, activation="leaky_relu")


def _convolutional(stage, widths):
    """Return a backbone of four stages, with 16 to 2 features on a side."""
    images = keras.Input((SIDE, SIDE, 3), name="images")
    x = _unit(images, widths[0], strides=2)
    for i, width in enumerate(widths):
        x = stage(x, width, 1 if i == 0 else 2)
        x = keras.layers.Identity(name=f"stage{i + 2}")(x)
    levels = {f"P{i}": f"stage{i}" for i in range(2, 6)}
    net = keras.Model(images, x)
    return jft.backbones.adapt(net, scaling="jft", levels=levels, fused=True)


def _vit():
    """Return a vision transformer of Dosovitskiy et al. 2021."""
    import keras_hub

    net = keras_hub.models.ViTBackbone(
        image_shape=(SIDE, SIDE, 3),
        patch_size=4,
        num_layers=4,
        num_heads=4,
        hidden_dim=64,
        mlp_dim=128,
    )
    return jft.backbones.adapt(net, scaling="jft")


NETS = {
    BASE: lambda: _convolutional(_residual, (16, 32, 48, 80)),
    "DenseNet": lambda: _convolutional(_dense, (32, 48, 56, 60)),
    "MobileNetV2": lambda: _convolutional(_inverted, (16, 24, 40, 80)),
    "CSPNet": lambda: _convolutional(_cross_stage, (24, 40, 64, 96)),
    "ViT": _vit,
}


# === Study ===


def configs(arguments):
    """Yield a `jft.scaling.Run` for each seed, size and net."""
    for seed in arguments.seeds:
        transfer, evaluation = data_size.few_shot(
            arguments.tiny_imagenet, arguments.cache, seed
        )
        for size, net in itertools.product(arguments.sizes, arguments.nets):
            yield jft.scaling.Run(
                arm=net,
                pretrain=dataclasses.replace(
                    data_size.pretraining(arguments.tiny_imagenet),
                    backbone=str(_file(arguments.cache, net)),
                    num_examples=size,
                    seed=seed,
                    # The one optimizer that trains transformers, too.
                    optimizer="adamw",
                    learning_rate=1e-3,
                    weight_decay=0.05,
                    batch_size=arguments.batch_size,
                    epochs=None,
                    steps=arguments.steps,
                ),
                transfer=dataclasses.replace(
                    transfer, mode="frozen", epochs=arguments.epochs
                ),
                evaluation=evaluation,
            )


def _file(cache, net):
    """Return the file of an untrained net; each run draws its weights anew."""
    path = cache / "nets" / f"{net.lower()}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        jft.backbones.save(NETS[net](), path)
    return path


# === What it says ===


def gains(rows):
    """Return what another net and what more images bring to `BASE`, in points.

    The other net is the one that is best at a size for the other seeds, so that
    no score is chosen by its own luck.

    Args:
        rows: Rows of several nets, sizes and seeds.

    Returns:
        A DataFrame with `num_examples`, `net` and `data`: the mean over seeds
        of the gain by another net, and by the next size, of which the largest
        has none, each as text with its standard error.
    """
    scores = arms.frame(rows).pivot_table(
        index=["num_examples", "seed"], columns="arm", values="score"
    )
    base, others = scores[BASE], scores.drop(columns=BASE)
    by_net = pd.Series(
        {
            (size, seed): others.loc[size, seed][
                others.loc[size].drop(seed).mean().idxmax()
            ]
            for size, seed in scores.index
        }
    )
    sizes = scores.index.unique("num_examples")
    found = []
    for i, size in enumerate(sizes):
        more = base[sizes[i + 1]] - base[size] if size < sizes[-1] else None
        found.append(
            {
                "images": f"{size:,}",
                "another net": _with_error((by_net - base)[size]),
                "the next size": "" if more is None else _with_error(more),
            }
        )
    return pd.DataFrame(found)


def _with_error(values):
    return f"{values.mean():+.1f} ±{values.sem():.1f}"


def costs(rows):
    """Return the weights of each net and its seconds of pre-training."""
    seconds = arms.frame(rows).groupby("arm", sort=False)["pretrain_seconds"]
    counts = {net: NETS[net]().count_params() for net in seconds.groups}
    return pd.DataFrame({"weights": counts, "seconds": seconds.median()})


# === Command ===


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny-imagenet", type=pathlib.Path)
    parser.add_argument("--cache", type=pathlib.Path, default=".cache")
    parser.add_argument("--executor", help="such as processes:2")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20, help="of transfer")
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=NETS)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if not arguments.smoke:
        if not arguments.tiny_imagenet:
            parser.error("--tiny-imagenet is needed, or --smoke")
        _study(arguments, HERE)
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data_size.make_up_classes(folder / "tiny")
        vars(arguments).update(
            tiny_imagenet=folder / "tiny",
            cache=folder / "cache",
            sizes=(32,),
            seeds=(0,),
            steps=2,
            batch_size=16,
            epochs=1,
            nets=[BASE, "ViT"],
        )
        _study(arguments, folder)


def _study(arguments, folder):
    runner = jft.scaling.Runner(
        arguments.cache / "backbones", verbose=2, threshold=None
    )
    study = jft.scaling.Study(
        list(configs(arguments)),
        folder / "results" / "backbones.jsonl",
        run=runner,
    )
    if arguments.dry_run:
        print(study.outlook())
        return
    rows = study.run(arguments.executor)
    print(arms.table(rows))
    print(costs(rows).rename_axis(None).to_string())
    if len(arguments.seeds) > 1:
        print(gains(rows).to_string(index=False))
    (folder / "figures").mkdir(exist_ok=True)
    arms.plot(rows).savefig(folder / "figures" / "backbones.png", dpi=120)


if __name__ == "__main__":
    main()
