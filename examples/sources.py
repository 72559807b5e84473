"""Read the same images from a manifest, Open Images, Parquet and records.

    python examples/sources.py

Writes 12 synthetic images in each format into a temporary folder, and makes
batches of each by one call. The function for a format shows what its files look
like. With `--output DIR` the files are kept.
"""

import argparse
import csv
import io
import json
import pathlib
import tempfile
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import keras_jft as jft
from keras_jft import checks

NUM = 12


def manifest(data, folder):
    """Write a CSV file with a row per image, and labels by name."""
    with open(folder / "images.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "labels"])
        for example in data.take(np.arange(len(data))):
            name = f"{example['ids']}.png"
            Image.fromarray(example["images"]).save(folder / name)
            labels = [data.info.label_names[k] for k in example["labels"]]
            rows.writerow([name, ";".join(labels)])
    return {
        "path": folder / "images.csv",
        "label_names": data.info.label_names,
    }


def open_images(data, folder):
    """Write CSV files of labels (a row each) and names, a hierarchy, JPEGs."""
    labels = data.info.hierarchy
    with open(folder / "labels.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["ImageID", "Source", "LabelName", "Confidence"])
        for example in data.take(np.arange(len(data))):
            name = f"{example['ids']:016x}"
            Image.fromarray(example["images"]).save(folder / f"{name}.jpg")
            for label in example["labels"]:
                rows.writerow([name, "machine", labels.keys[label], 0.9])
    with open(
        folder / "classes.csv", "w", newline="", encoding="utf-8"
    ) as file:
        rows = csv.writer(file)
        rows.writerow(["LabelName", "DisplayName"])
        rows.writerows(zip(labels.keys, labels.names, strict=True))
    edges = [
        [labels.keys[parent], labels.keys[label]]
        for label in range(len(labels))
        for parent in labels.parents(label)
    ]
    names = dict(zip(labels.keys, labels.names, strict=True))
    tree = {"names": names, "edges": edges}
    (folder / "hierarchy.json").write_text(json.dumps(tree), encoding="utf-8")
    return {
        "labels": folder / "labels.csv",
        "descriptions": folder / "classes.csv",
        "hierarchy": folder / "hierarchy.json",
        "directory": folder,
        "threshold": 0.7,
    }


def parquet(data, folder):
    """Write a Parquet file with rows of images, label ids, probabilities."""
    rows = []
    for example in data.take(np.arange(len(data))):
        encoded = io.BytesIO()
        Image.fromarray(example["images"]).save(encoded, "PNG")
        rows.append(
            {
                "image": encoded.getvalue(),
                "labels": example["labels"].tolist(),
                "label_probs": [0.9] * len(example["labels"]),
            }
        )
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, folder / "part-0.parquet", row_group_size=100)
    return {
        "path": folder,
        "label_names": data.info.label_names,
        "threshold": 0.7,
    }


def records(data, folder):
    """Write sharded TFRecord files, which also keep the data set's `info`."""
    jft.data.write_records(data, folder / "train@2", verbose=False)
    return {"directory": folder, "split": "train"}


SOURCES = {
    "manifest": manifest,
    "open_images": open_images,
    "parquet": parquet,
    "records": records,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path)
    arguments = parser.parse_args()
    world = jft.data.load("synthetic", num_examples=NUM)
    # With so few images, some classes never occur, as is expected here.
    warnings.filterwarnings("ignore", ".* classes occurs? in no ")
    with tempfile.TemporaryDirectory() as temporary:
        for name, write in SOURCES.items():
            folder = pathlib.Path(arguments.output or temporary, name)
            folder.mkdir(parents=True, exist_ok=True)
            options = write(world, folder)
            data = jft.data.load(name, **options)
            batches = jft.data.batches(data, batch_size=4)
            batch = next(iter(batches))
            print(
                f"{name}: {len(data)} images, {len(batches)} batches of "
                f"images {tuple(batch['images'].shape)} and labels "
                f"{tuple(batch['labels'].shape)}; "
                f"options {', '.join(options)}"
            )


if __name__ == "__main__":
    with checks.on_command_line():
        main()
