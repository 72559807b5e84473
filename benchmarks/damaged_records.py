"""Are damaged records detected, named and skipped?

Question: of 5,000 records in TFRecord shards with eight kinds of damage, does a
pass detect all, and only these? Does anything crash or hang?

Command:

    python benchmarks/damaged_records.py --images DIR

DIR holds photographs as JPEG files. For each kind of damage, a set of 1,250
records in eight shards is written and half of it damaged; the layout of the
file tells, byte by byte, which records are affected. Rows go to
benchmarks/results/damaged_records.jsonl.

Result on thumbnails of the 100 photographs of tiny_coco (TensorFlow 2.21): all
5,006 damaged records are detected and named, and no others; nothing crashed or
hung.
"""

import argparse
import io
import pathlib
import tempfile
import time
import warnings

import numpy as np
from PIL import Image

import keras_jft as jft
from keras_jft.data.datasets.image_files import files_below
from keras_jft.data.transforms import Resize
from keras_jft.scaling.rows import rows

RESULTS = pathlib.Path(__file__).parent / "results" / "damaged_records.jsonl"
SHARDS, BATCH = 8, 32
# Of a TFRecord: 8 bytes of length, 4 of its checksum; data; 4 of theirs.
HEADER, FOOTER = 12, 4

# === Damage: functions that give the new bytes and the damaged records ===


def cut_short(data, places, rng):
    """Cut off the second half of each shard."""
    end = len(data) // 2
    return data[:end], {i for i, (_, stop) in enumerate(places) if stop > end}


def empty(data, places, rng):
    """Empty a shard."""
    return b"", set(range(len(places)))


def other_file(data, places, rng):
    """Replace a shard by a server's error page."""
    return b"<html>404: not found</html>" * 9, set(range(len(places)))


def lost_bytes(data, places, rng):
    """Remove some bytes, which moves all that follow."""
    start = len(data) // 2
    kept = {i for i, (_, stop) in enumerate(places) if stop <= start}
    damaged = data[:start] + data[start + 100 :]
    return damaged, set(range(len(places))) - kept


def one_bit(data, places, rng):
    """Flip a bit of every second record."""
    damaged = bytearray(data)
    for start, stop in places[::2]:
        damaged[rng.integers(start, stop)] ^= 1 << rng.integers(8)
    return bytes(damaged), set(range(0, len(places), 2))


def zeroed_run(data, places, rng):
    """Overwrite a part of every second record with zeros."""
    return _overwritten(data, places, rng, bytes)


def overwritten_run(data, places, rng):
    """Overwrite a part of every second record with noise."""
    return _overwritten(data, places, rng, rng.bytes)


def other_order(data, places, rng):
    """Reverse the order of the records of a shard."""
    records = [data[a - HEADER : b + FOOTER] for a, b in places]
    return b"".join(records[::-1]), set(range(len(places)))


def _overwritten(data, places, rng, fill):
    damaged = bytearray(data)
    for start, stop in places[::2]:
        length = int(min(rng.integers(16, 513), stop - start))
        at = int(rng.integers(start, stop - length + 1))
        damaged[at : at + length] = fill(length)
    return bytes(damaged), set(range(0, len(places), 2))


# `{kind: (damage, every)}`: done to every shard, or to every second one if it
# changes the whole shard.
DAMAGE = {
    "cut_short": (cut_short, 1),
    "empty": (empty, 2),
    "other_file": (other_file, 2),
    "lost_bytes": (lost_bytes, 1),
    "one_bit": (one_bit, 1),
    "zeroed_run": (zeroed_run, 1),
    "overwritten_run": (overwritten_run, 1),
    "other_order": (other_order, 2),
}


def places_of(data):
    """Return `(start, stop)` of the data of each record in a TFRecord file."""
    places, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 8], "little")
        places.append((at + HEADER, at + HEADER + length))
        at += HEADER + length + FOOTER
    return places


class Photographs(jft.data.Dataset):
    """Small photographs, repeated."""

    def __init__(self, images, count):
        self.images = images
        self.info = jft.data.Info(num_examples=count, label_names=("any",))

    def ids(self, positions):
        """Return the positions as ids."""
        return np.asarray(positions)

    def __getitem__(self, position):
        image = self.images[position % len(self.images)]
        return {"images": image, "labels": np.int32(0), "ids": int(position)}


def photographs(directory, most=100, side=96):
    """Return thumbnails of JPEG files; synthetic images without a folder."""
    if directory is None:
        world = jft.data.load("synthetic", num_examples=8)
        return [example["images"] for example in world]
    paths = files_below(directory, (".jpg", ".jpeg"))[:most]
    found = []
    for path in paths:
        image = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
        found.append(np.asarray(image.resize((side, side))))
    return found


def measure(images, kind, count):
    """Return the row of one kind of damage."""
    damage, every = DAMAGE[kind]
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        data = Photographs(images, count)
        jft.data.write_records(data, f"{folder}/x@{SHARDS}", verbose=False)
        expected, first = set(), 0
        shards = sorted(pathlib.Path(folder).glob("x.tfrecord-*"))
        for number, path in enumerate(shards):
            contents = path.read_bytes()
            places = places_of(contents)
            if number % every == 0:
                contents, records = damage(contents, places, rng)
                path.write_bytes(contents)
                expected |= {first + i for i in records}
            first += len(places)
        assert first == count
        data = jft.data.load("records", "x", directory=folder)
        began = time.perf_counter()
        batches = jft.data.iterate(
            data,
            BATCH,
            transforms=(Resize((8, 8)),),
            training=True,
            drop_remainder=False,
            tolerate=count - 1,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in batches:
                pass
        report = batches.report(most_names=count)
    found = {name for names in report["names"].values() for name in names}
    return {
        "kind": kind,
        "records": count,
        "damaged": len(expected),
        "noticed": len(found & expected),
        "false_alarms": len(found - expected),
        "seconds": round(time.perf_counter() - began, 2),
        "most_common_cause": max(report["causes"], key=report["causes"].get),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=1250, help="of each kind")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    images = photographs(arguments.images)
    for kind in DAMAGE:
        row = measure(images, kind, 40 if arguments.smoke else arguments.count)
        print(
            f"{kind:16s} damaged {row['damaged']:4d} of {row['records']}, "
            f"noticed {row['noticed']:4d}, false alarms {row['false_alarms']}: "
            f"{row['most_common_cause']}"
        )
        if not arguments.smoke:
            rows.append(RESULTS, row)


if __name__ == "__main__":
    main()
