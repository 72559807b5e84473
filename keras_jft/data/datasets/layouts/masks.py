"""Layouts of images and masks."""

import itertools

import numpy as np

from keras_jft.data.dataset import spread
from keras_jft.data.datasets.image_files import files_below
from keras_jft.data.datasets.layouts.layout import (
    IMAGES,
    MASKS,
    Layout,
    class_list,
    image_below,
    split_folders,
    splits_of,
)
from keras_jft.data.images import decode_image, decode_mask
from keras_jft.files import folders_in
from keras_jft.text import number_of

_PROBES = 1_000  # Masks whose values are looked at.


def masks(path):
    """A folder of images and one of masks, or CamVid's folders."""
    names = [folder.name for folder in folders_in(path)]
    if {"train", "trainannot"} <= set(names):
        splits = [n for n in names if f"{n}annot" in names]
        return [
            Layout(
                dataset="camvid",
                options={"directory": str(path)},
                task="segmentation",
                splits=splits_of(splits) or {},
                text="CamVid's folders, 11 classes",
            )
        ]
    if "ImageSets" in names:  # Pascal VOC's own folders.
        return []
    splits = split_folders(path)
    for images, other in itertools.product(IMAGES, MASKS):
        patterns, part = (images, other), splits
        if splits:
            patterns = tuple(f"{{split}}/{name}" for name in patterns)
        elif (path / images).is_dir():
            part = split_folders(path / images)
            if part:
                patterns = tuple(f"{name}/{{split}}" for name in patterns)
        first = part.get("train")
        here = [path / name.format(split=first) for name in patterns]
        if all(image_below(folder) for folder in here):
            return [_masks(path, patterns, part, here[1])]
    return []


def _masks(path, patterns, splits, folder):
    values, looked, total = _mask_values(folder)
    names, extra = class_list(path), {}
    is_binary = values <= {0, 255} and 255 in values
    if is_binary:
        names = names if names and len(names) == 2 else ["background", "object"]
        extra = {"colors": [[0, 0, 0], [255, 255, 255]]}
        kind = "0 and 255, background and object"
    else:
        least = max(values - {255}, default=-1) + 1
        names = names if names and len(names) >= least else least
        number = len(names) if isinstance(names, list) else names
        kind = number_of(number, "class", "classes")
        if looked < total:
            kind += f" in {looked:,} of {total:,} masks"
    return Layout(
        dataset="mask_folder",
        options={
            "directory": str(path),
            "images": patterns[0],
            "masks": patterns[1],
            "classes": names,
            **extra,
        },
        task="segmentation",
        splits=splits,
        text=f"images and masks: {kind}",
    )


def _mask_values(folder):
    """Return the values of masks, and of how many of them."""
    files = files_below(folder)
    places = spread(len(files), _PROBES)
    values = set()
    for place in places:
        try:
            values |= set(np.unique(decode_mask(str(files[place]))).tolist())
        except ValueError as error:
            pixels = decode_image(str(files[place])).reshape(-1, 3)
            colors = np.unique(pixels, axis=0)[:9].tolist()
            raise ValueError(
                f"{error} For colored masks give `classes` and `colors`, the "
                f"color of each. The first here: {colors}."
            ) from None
    return values, len(places), len(files)
