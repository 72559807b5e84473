"""Pre-train a backbone on noisy images with many labels.

    python examples/pretrain.py
    python examples/pretrain.py --images DIR --hierarchy FILE --recipe jft300m

Without `--images` it trains on the synthetic data set for a minute. Otherwise
DIR holds one folder of images per class, and FILE, a JSON file of names and
edges, adds the ancestors of each label. Writes `backbone.keras`, which
`examples/classification.py` takes as `--checkpoint`, and `log.csv`, with a line
per epoch; the same command goes on from `checkpoints` where it was interrupted.
"""

import argparse
import dataclasses
import pathlib

import keras

import keras_jft as jft
from keras_jft import checks


def config_of(arguments):
    """Return the recipe with the data that the command line names."""
    config = jft.pretrain.RECIPES[arguments.recipe]
    if arguments.images is None:
        options = {"num_examples": arguments.num_examples or 10_000}
        changes = {"dataset": "synthetic", "options": options}
    else:
        options = {"directory": str(arguments.images)}
        if arguments.hierarchy:
            options["hierarchy"] = str(arguments.hierarchy)
        changes = {"dataset": "image_folder", "options": options}
    if arguments.epochs is not None:
        changes.update(epochs=arguments.epochs, steps=None)
    for name in ("num_examples", "batch_size", "seed"):
        if getattr(arguments, name) is not None:
            changes[name] = getattr(arguments, name)
    return dataclasses.replace(config, **changes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=pathlib.Path)
    parser.add_argument("--hierarchy", type=pathlib.Path)
    parser.add_argument(
        "--recipe", default="small", choices=jft.pretrain.RECIPES
    )
    parser.add_argument("--num-examples", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--tensorboard", action="store_true")
    parser.add_argument("--initial", help="a backbone.keras to start from")
    parser.add_argument("--output", default="runs/pretrain", type=pathlib.Path)
    arguments = parser.parse_args()

    config = config_of(arguments)
    initial = arguments.initial and keras.saving.load_model(arguments.initial)
    arguments.output.mkdir(parents=True, exist_ok=True)
    backbone = jft.pretrain.run(
        config,
        initial=initial,
        callbacks=[
            keras.callbacks.CSVLogger(arguments.output / "log.csv"),
            *jft.evaluation.run_callbacks(
                arguments.output / "checkpoints",
                (config, arguments.initial),
                tensorboard=arguments.tensorboard,
            ),
        ],
    )
    backbone.save(arguments.output / "backbone.keras")
    print(f"Backbone: {arguments.output / 'backbone.keras'}")


if __name__ == "__main__":
    with checks.on_command_line():
        main()
