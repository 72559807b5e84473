"""Describe a data set on one page, to read before training on it.

    python examples/describe.py
    python examples/describe.py --folder DIR --split train --hierarchy FILE
    python examples/describe.py --manifest FILE --images all

Without arguments it describes 20,000 images of the synthetic data set.
`--folder` holds one folder of images per class; `--manifest` is a CSV, JSON
Lines or Parquet file of images and labels. `--hierarchy`, a JSON file of names
and edges, adds the ancestors of each label. With `--checkpoint`, a
`backbone.keras` from `examples/pretrain.py`, the images of some classes are
sorted from typical to unusual. Writes `describe.html`, `describe.md` and
`describe.json`.
"""

import argparse
import json
import pathlib

import keras
import numpy as np

import keras_jft as jft
from keras_jft import checks


def load(arguments):
    """Return the data set that the command line names."""
    hierarchy = arguments.hierarchy and str(arguments.hierarchy)
    if arguments.folder:
        options = {"directory": arguments.folder, "hierarchy": hierarchy}
        return jft.data.load("image_folder", arguments.split, **options)
    if arguments.manifest:
        options = {"path": arguments.manifest, "hierarchy": hierarchy}
        return jft.data.load("manifest", arguments.split, **options)
    split = arguments.split or "train"
    return jft.data.load("synthetic", split, num_examples=20_000)


def embed(data, arguments):
    """Return an embedding per example; None without `--checkpoint`."""
    if arguments.checkpoint is None:
        return None
    backbone = keras.saving.load_model(arguments.checkpoint)
    folder = arguments.output / "embeddings"
    shards = jft.evaluation.duplicates.embed(backbone, data, folder)
    return np.concatenate([rows for _, rows in shards])


def count(text):
    """Return a number of images, or "all"."""
    return text if text == "all" else int(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--folder", type=pathlib.Path)
    source.add_argument("--manifest", type=pathlib.Path)
    parser.add_argument("--split")
    parser.add_argument("--hierarchy", type=pathlib.Path)
    parser.add_argument(
        "--images", default=200, type=count, help='a number, or "all"'
    )
    parser.add_argument("--checkpoint", type=pathlib.Path)
    parser.add_argument("--classes", nargs="+", help="classes to sort")
    parser.add_argument("--output", default="runs/describe", type=pathlib.Path)
    arguments = parser.parse_args()

    data = load(arguments)
    found = jft.data.describe(
        data,
        images=arguments.images,
        split=arguments.split,
        embeddings=embed(data, arguments),
        classes=arguments.classes,
    )
    print(found)
    page, text = found.save(arguments.output / "describe.html")
    numbers = page.with_suffix(".json")
    numbers.write_text(json.dumps(found.to_dict(), indent=1), encoding="utf-8")
    print(f"Page: {page} ({text.name}, {numbers.name})")


if __name__ == "__main__":
    with checks.on_command_line():
        main()
