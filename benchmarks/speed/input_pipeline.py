"""How fast are JPEG files turned into batches, compared with other pipelines?

Question: how many images per second and core are decoded, resized to 340,
randomly cropped to 299 and mirrored, from photographs of 500 pixels? This
package's presets are compared with plain tf.data, Pillow with PyTorch's
DataLoader, OpenCV, grain, and the limit, libjpeg-turbo that only decodes.

Command:

    python benchmarks/speed/input_pipeline.py

The files are synthetic: textures of all scales with noise, 500 x 375, quality
90. Every pipeline reads them from disk with one thread, in turn in one process.
A rate is images per second of processor time of all threads, so that other work
on the machine matters little; ratios are medians over the rounds. PyTorch,
OpenCV and grain take part if they are installed. Rows go to
benchmarks/results/input_pipeline.jsonl, the figure to
benchmarks/figures/input_pipeline.png.

Result, on 2 cores of an AMD EPYC that other work shared (TensorFlow 2.21,
OpenCV 5.0, simplejpeg 1.9, Pillow 13.0, torch 2.13, grain 0.2.18; 256 files of
63 kB, 7 rounds): images per second and core, and times tf.data and decoding,

    decoding alone                   1193   2.55   1.00
    keras_jft: imagenet               867   1.89   0.72
    keras_jft: jft                    789   1.72   0.68
    OpenCV                            770   1.70   0.65
    keras_jft: jft, as tf.data        712   1.56   0.59
    OpenCV + grain                    639   1.45   0.54
    tf.data                           460   1.00   0.39
    keras_jft: jft, anti-aliased      387   0.86   0.34
    Pillow + DataLoader               275   0.61   0.23
    keras_jft: jft, without extras    242   0.53   0.20
    keras_jft: modern                 172   0.38   0.14

So the paper's preset exceeds its target of 1.3 times tf.data, and narrowly
misses 0.70 of decoding alone; OpenCV's resizing takes half of the rest.
Anti-aliased resizing is Pillow's, and slower than plain tf.data. `modern` is
RandAugment: most of its time is in Keras's layers.
"""

import argparse
import functools
import pathlib
import tempfile
import time

import kept_memory

kept_memory.restart()

import matplotlib.pyplot as plt
import numpy as np
import simplejpeg
import tensorflow as tf
from PIL import Image

import keras_jft as jft
from keras_jft.data import jpeg
from keras_jft.data.transforms import presets, resampling
from keras_jft.scaling.rows import rows

try:
    import cv2
except ImportError:
    cv2 = None
try:
    import torch
except ImportError:
    torch = None
try:
    import grain
except ImportError:
    grain = None

BENCHMARKS = pathlib.Path(__file__).parent.parent
RESULTS = BENCHMARKS / "results" / "input_pipeline.jsonl"
FIGURE = BENCHMARKS / "figures" / "input_pipeline.png"
RESIZE, CROP, BATCH = 340, 299, 32
LIMIT, PEER = "decoding alone", "tf.data"


def write_photos(folder, count, size=(375, 500)):
    """Write JPEG files, textures of all scales with noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        photo = rng.normal(0, 7, (*size, 3))
        for scale in (4, 8, 16, 32, 64, 128):
            coarse = rng.normal(0, 1, (size[0] // scale + 2,) * 2 + (3,))
            texture = np.stack(
                [
                    Image.fromarray(channel.astype("float32")).resize(
                        size[::-1]
                    )
                    for channel in np.moveaxis(coarse, -1, 0)
                ],
                axis=-1,
            )
            photo += texture * scale**0.8
        photo = np.clip(128 + 1.3 * photo, 0, 255).astype("uint8")
        Image.fromarray(photo).save(folder / f"{i:04}.jpg", quality=90)


# === Pipelines: functions from files to one pass of batches ===


def decoding(files):
    for file in files:
        simplejpeg.decode_jpeg(file.read_bytes())
        yield 1


def ours(files, transforms, feed=jft.data.iterate):
    for batch in _batches(files[0].parent.parent, transforms, feed):
        yield len(batch["images"])


@functools.cache
def _batches(folder, transforms, feed):
    """Made once: what is timed is a pass."""
    data = jft.data.load("image_folder", directory=str(folder), split=None)
    if callable(transforms):
        transforms = transforms(training=True)
    return feed(
        data,
        BATCH,
        transforms=transforms,
        training=True,
        drop_remainder=False,
        workers=1,
    )


def without_extras(files):
    """Run our pipeline as if neither simplejpeg nor OpenCV were installed."""
    found = jpeg._simplejpeg, resampling._opencv
    jpeg._simplejpeg = resampling._opencv = lambda: None
    try:
        yield from ours(files, "jft")
    finally:
        jpeg._simplejpeg, resampling._opencv = found


def tf_data(files):
    def read(name):
        image = tf.io.decode_jpeg(tf.io.read_file(name), channels=3)
        image = tf.image.resize(image, (RESIZE, RESIZE))
        image = tf.image.random_crop(image, (CROP, CROP, 3))
        return tf.image.random_flip_left_right(image) / 127.5 - 1

    names = tf.data.Dataset.from_tensor_slices([str(file) for file in files])
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    dataset = names.shuffle(len(files)).map(read).batch(BATCH)
    for batch in dataset.with_options(options):
        yield len(batch)


def _pillow(file, rng):
    image = Image.open(file).convert("RGB")
    image = image.resize((RESIZE, RESIZE), Image.Resampling.BILINEAR)
    left, top = rng.integers(RESIZE - CROP + 1, size=2)
    image = image.crop((left, top, left + CROP, top + CROP))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(image)


def _opencv(file, rng):
    image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    image = cv2.resize(image, (RESIZE, RESIZE))
    left, top = rng.integers(RESIZE - CROP + 1, size=2)
    image = image[top : top + CROP, left : left + CROP]
    return cv2.flip(image, 1) if rng.random() < 0.5 else image


def data_loader(files):
    rng = np.random.default_rng(0)

    class Files(torch.utils.data.Dataset):
        def __len__(self):
            return len(files)

        def __getitem__(self, i):
            pixels = torch.from_numpy(_pillow(files[i], rng).copy())
            return pixels.permute(2, 0, 1).float() / 127.5 - 1

    torch.set_num_threads(1)
    loader = torch.utils.data.DataLoader(Files(), BATCH, shuffle=True)
    for batch in loader:
        yield len(batch)


def opencv(files):
    rng = np.random.default_rng(0)
    order = rng.permutation(len(files))
    for start in range(0, len(files), BATCH):
        chosen = order[start : start + BATCH]
        yield len(np.stack([_opencv(files[i], rng) for i in chosen]))


def grain_pipeline(files):
    dataset = grain.MapDataset.source(files).seed(0).shuffle()
    dataset = dataset.random_map(_opencv).batch(BATCH)
    for batch in dataset.to_iter_dataset(grain.ReadOptions(num_threads=1)):
        yield len(batch)


def pipelines():
    """Return `{name: pipeline}` of the installed libraries."""
    smooth = functools.partial(presets.jft, antialias=True)
    found = {
        LIMIT: decoding,
        PEER: tf_data,
        "keras_jft: jft": functools.partial(ours, transforms="jft"),
        "keras_jft: jft, as tf.data": functools.partial(
            ours, transforms="jft", feed=jft.data.batches
        ),
        "keras_jft: jft, anti-aliased": functools.partial(
            ours, transforms=smooth
        ),
        "keras_jft: jft, without extras": without_extras,
        "keras_jft: imagenet": functools.partial(ours, transforms="imagenet"),
        "keras_jft: modern": functools.partial(ours, transforms="modern"),
    }
    if cv2 is not None:
        cv2.setNumThreads(1)
        found["OpenCV"] = opencv
    if torch is not None:
        found["Pillow + DataLoader"] = data_loader
    if grain is not None and cv2 is not None:
        found["OpenCV + grain"] = grain_pipeline
    return found


# === Measuring ===


def rate(pipeline, files):
    """Return the images per second of processor time."""
    began = time.process_time()
    seen = sum(pipeline(files))
    assert seen == len(files), (pipeline, seen)
    return seen / (time.process_time() - began)


def measure(files, rounds):
    """Return a row for each pipeline."""
    found = pipelines()
    rates = {name: [] for name in found}
    for i in range(rounds + 1):
        for name, pipeline in found.items():
            reached = rate(pipeline, files)
            if i:  # The first one warms up.
                rates[name].append(reached)
    rates = {name: np.array(values) for name, values in rates.items()}
    kilobytes = np.mean([file.stat().st_size for file in files]) / 1e3
    for name, values in rates.items():
        yield {
            "pipeline": name,
            "images_per_second": round(float(np.median(values)), 1),
            "of_decoding": _median(values / rates[LIMIT]),
            "of_tf_data": _median(values / rates[PEER]),
            "images": len(files),
            "kilobytes": round(float(kilobytes), 1),
            "rounds": rounds,
        }


def _median(ratios):
    return round(float(np.median(ratios)), 3)


def plot(found):
    """Plot a bar per pipeline, beside the limit."""
    found = sorted(found, key=lambda row: row["images_per_second"])
    names = [row["pipeline"] for row in found]
    colors = ["C0" if "keras_jft" in name else "0.6" for name in names]
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    bars = axes.barh(
        names, [row["images_per_second"] for row in found], color=colors
    )
    axes.bar_label(bars, [f"{row['of_tf_data']:.2f}x" for row in found])
    axes.margins(x=0.1)
    axes.set_xlabel("images per second and core; beside them, times tf.data")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    images = 4 if arguments.smoke else arguments.images
    rounds = 1 if arguments.smoke else arguments.rounds
    with tempfile.TemporaryDirectory() as folder:
        photos = pathlib.Path(folder, "photos")
        write_photos(photos, images)
        found = list(measure(sorted(photos.iterdir()), rounds))
    for row in found:
        print(
            f"{row['pipeline']:32s} {row['images_per_second']:8.0f} a second "
            f"{row['of_tf_data']:5.2f} of tf.data {row['of_decoding']:5.2f} of "
            "decoding"
        )
        if not arguments.smoke:
            rows.append(RESULTS, row)
    if not arguments.smoke:
        plot(found).savefig(FIGURE, dpi=150)


if __name__ == "__main__":
    main()
