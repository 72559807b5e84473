"""Predictions on image files: numbers for programs, pictures for people."""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from PIL import Image, ImageDraw

from keras_jft import data, transfer
from keras_jft.data.dataset import Dataset, Info
from keras_jft.data.datasets.image_files import files_below
from keras_jft.data.images import decode_image
from keras_jft.evaluation import evaluator
from keras_jft.files import check_local

_BATCH = 16
_TOP = 5  # Classes of an image that are named.


def predict_files(
    model: keras.Model,
    paths: Sequence[str | os.PathLike],
    names: Sequence[str] | None = None,
    *,
    threshold: float = 0.5,
    pictures: str | os.PathLike | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield what a model sees in each of some image files, as JSON holds it.

    Args:
        model: A classifier, detector or segmenter of this package.
        paths: Image files, and folders of them.
        names: One name per class; by default classes are numbers.
        threshold: Lowest score of the boxes, and of one label among many, that
            are named.
        pictures: Folder for a picture of each image with its boxes or its mask.

    Yields:
        A dict per image, with its path as `image`, and `classes` with the
        `probability` of each; or `boxes`, each a `box` x1, y1, x2, y2 in
        pixels, `class` and `score`; or the share of pixels of each class in
        `shares`, and the `mask`, a PNG file of class indices, if there are
        pictures.

    Raises:
        ValueError: There are no images, one cannot be read, or the model is
            for a task in which images alone do not do.
    """
    files = _Files(paths)
    task = _task_of(model)
    size = tuple(model.input_shape[1:3])
    is_fixed = None not in size
    config = evaluator.Config(
        task=task,
        transforms=(data.transforms.Resize(size),) if is_fixed else (),
        batch_size=_BATCH if is_fixed else 1,
    )
    label = _label(names)
    for originals, found in evaluator.predict(config, model, files):
        for i, original in enumerate(originals):
            record, picture = _RECORDS[task](
                original, _of_image(found, i), label, threshold
            )
            if pictures is not None and picture is not None:
                record |= _save(
                    original["ids"],
                    picture,
                    check_local("pictures", pictures, "found"),
                )
            yield {"image": original["ids"], **record}


def _task_of(model):
    heads = [
        h.task for h in transfer.HEADS.values() if isinstance(model, h.build)
    ]
    if not heads or heads[0] not in _RECORDS:
        raise ValueError(
            f"`model` must be for one of {list(_RECORDS)}, which need nothing "
            f"but images. Received: a {type(model).__name__}."
        )
    return heads[0]


class _Files(Dataset):
    """Image files without labels; ids are their paths."""

    def __init__(self, paths):
        found = []
        for path in map(pathlib.Path, paths):
            found += files_below(path) if path.is_dir() else [path]
        if not found:
            raise ValueError(
                f"There must be images. Received: {[*map(str, paths)]}."
            )
        self._paths = [str(path) for path in found]
        self.info = Info(num_examples=len(found))

    def ids(self, positions):
        """Return the paths."""
        return np.array([self._paths[p] for p in np.asarray(positions)])

    def __getitem__(self, position):
        path = self._paths[self._position(position)]
        return {"images": decode_image(path), "ids": path}


def _label(names):
    def label(number):
        is_named = names is not None and 0 <= number < len(names)
        return names[number] if is_named else int(number)

    return label


def _of_image(found, i):
    if isinstance(found, dict):
        return {key: np.asarray(values[i]) for key, values in found.items()}
    return np.asarray(found[i])


# === Tasks ===


def _classes(original, logits, label, threshold):
    odds = np.exp(logits - logits.max())
    chances = odds / odds.sum()
    top = np.argsort(-chances, kind="stable")[:_TOP]
    return {"classes": _named(top, chances, label)}, None


def _labels(original, logits, label, threshold):
    chances = 1 / (1 + np.exp(-np.float64(logits)))
    top = np.argsort(-chances, kind="stable")
    return {
        "classes": _named(top[chances[top] >= threshold], chances, label)
    }, None


def _named(places, chances, label):
    return [
        {"class": label(i), "probability": round(float(chances[i]), 4)}
        for i in places
    ]


def _boxes(original, found, label, threshold):
    kept = (found["labels"] >= 0) & (found["scores"] >= threshold)
    boxes = [
        {
            "box": [round(float(side), 1) for side in box],
            "class": label(number),
            "score": round(float(score), 4),
        }
        for box, number, score in zip(
            found["boxes"][kept],
            found["labels"][kept],
            found["scores"][kept],
            strict=True,
        )
    ]
    picture = Image.fromarray(original["images"])
    pen = ImageDraw.Draw(picture)
    for one in boxes:
        pen.rectangle(one["box"], outline=(255, 64, 0), width=2)
        place = one["box"][0] + 3, one["box"][1] + 1
        pen.text(place, f"{one['class']} {one['score']:.2f}", (255, 64, 0))
    return {"boxes": boxes}, {"": picture}


def _mask(original, mask, label, threshold):
    mask = np.asarray(mask).reshape(mask.shape[:2]).astype("uint8")
    values, counts = np.unique(mask, return_counts=True)
    shares = {
        str(label(value)): round(int(count) / mask.size, 4)
        for value, count in zip(values.tolist(), counts, strict=True)
    }
    palette = np.random.default_rng(0).integers(0, 256, (256, 3))
    blended = original["images"] // 2 + palette[mask].astype("uint8") // 2
    pictures = {"": Image.fromarray(blended), "_mask": Image.fromarray(mask)}
    return {"shares": shares}, pictures


def _save(name, pictures, folder):
    """Write the pictures of an image; return where its mask is."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = "_".join(pathlib.Path(name).with_suffix("").parts[-3:]).lstrip("/_")
    for ending, picture in pictures.items():
        picture.save(folder / f"{stem}{ending}.png")
    has_mask = "_mask" in pictures
    return {"mask": str(folder / f"{stem}_mask.png")} if has_mask else {}


_RECORDS = {
    "classification": _classes,
    "multi_label": _labels,
    "detection": _boxes,
    "segmentation": _mask,
}
